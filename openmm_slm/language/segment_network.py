"""Network that tells how far a sampled segment of a protein is from its true structure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

from ..networks.backbone_features import ideal_cb, torsion_features
from ..networks.rigid_frames import frames_from_backbone, full_precision

#: nm: residues whose CA are closer than this to a residue of the segment are its surroundings.
CUTOFF = 1.4
_SEQUENCE = 9  # residues this far apart in sequence, or further, count alike
_RANGES = (  # nm, from and to, and number of Gaussians: CA-CA, CB-CB, N-O, O-N, CA-CB, CB-CA
    (0.3, CUTOFF, 16), (0.3, CUTOFF, 16), (0.2, 0.8, 10), (0.2, 0.8, 10), (0.3, 1.0, 6),
    (0.3, 1.0, 6),
)  # fmt: skip
_SIDE_CHAIN = (0.2, 0.8, 8)  # the same: CA, CB, N and O to the nearest atom of a side chain
_NODES, _EDGES = 10, sum(number for _, _, number in _RANGES) + 15 + 4 * _SIDE_CHAIN[2]
_NEIGHBOURS = (0.8, 1.0, 1.3)  # nm, radii within which CB are counted
_ABSENT = 100.0  # nm: where absent atoms are
#: nm, added to a deviation before its logarithm is taken.
LEAST = 0.03


@dataclass(frozen=True)
class SegmentConfig:
    """Sizes of a `SegmentNetwork`."""

    width: int = 64
    layers: int = 3
    dropout: float = 0.1


class SegmentNetwork(nn.Module):
    """Expected deviation of each residue of a segment, from its backbone and its surroundings.

    Messages go from all residues near the segment to those of the segment. They depend on
    distances, and on directions and rotations in the axes of the residues, so nothing depends on
    position or orientation.
    """

    kind = "segments"
    config_class = SegmentConfig

    def __init__(self, config: SegmentConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SegmentConfig()
        width, layers = config.width, range(config.layers)
        self.amino_acid = nn.Embedding(21, 24)
        self.separation = nn.Embedding(2 * _SEQUENCE + 1, 16)
        self.node = nn.Linear(_NODES + 24 + 1, width)
        self.edge = nn.Linear(_EDGES + 16, width)
        self.hears = nn.ModuleList(nn.Linear(width, width) for _ in layers)
        self.tells = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in layers)
        self.between = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in layers)
        self.together = nn.ModuleList(nn.Linear(width, width) for _ in layers)
        self.update = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(2 * width), nn.Linear(2 * width, 2 * width), nn.GELU(),
                nn.Dropout(config.dropout), nn.Linear(2 * width, width),
            )
            for _ in layers
        )  # fmt: skip
        self.out = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1)
        )
        self.closure = nn.Linear(2, 1)
        nn.init.zeros_(self.closure.weight)

    def forward(
        self,
        backbone: torch.Tensor,
        letters: torch.Tensor,
        index: torch.Tensor,
        rows: torch.Tensor,
        strain: torch.Tensor,
        sidechains: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Expected logarithms of deviations.

        Parameters
        ----------
        backbone : Tensor, float32 [B, M, 4, 3]
            N, CA, C and O of the segment and of residues near it; nm, finite.
        letters : Tensor, int64 [B, M]
            Amino acid numbers, 20 for unknown.
        index : Tensor, int64 [B, M]
            Residue index: steps of 1 between bonded residues.
        rows : Tensor, int64 [B, K]
            Which of the M residues are the segment; -1 is padding.
        strain : Tensor, float32 [B, 2]
            How far the closure of the chain moved an atom (nm), and clashing pairs of atoms.
        sidechains : Tensor, float32 [B, M, 10, 3]
            Heavy atoms of side chains, slots 4 to 13 of atom14; nm, NaN where absent or unknown, as
            those of the segment are.

        Returns
        -------
        residues : Tensor [B, K]
            ln(d + 0.03 nm) for the deviation d of each CA; any value for padding.
        whole : Tensor [B]
            The same for the RMSD of N, CA and C of the segment.
        """
        real = rows >= 0
        rows = rows.clamp(min=0)
        with full_precision(backbone), torch.no_grad():
            seen, edges, taper = _geometry(backbone, sidechains, index, rows)
        which = torch.zeros_like(index).scatter_add(1, rows, real.long()) > 0
        nodes = torch.cat([seen, self.amino_acid(letters), which.unsqueeze(-1).float()], -1)
        nodes = self.node(nodes)
        apart = _picked(index, rows).unsqueeze(-1) - index.unsqueeze(1)
        apart = apart.clamp(-_SEQUENCE, _SEQUENCE)
        taper = (taper * (apart != 0)).unsqueeze(-1)
        edges = F.gelu(self.edge(torch.cat([edges, self.separation(apart + _SEQUENCE)], -1)))
        place = rows.unsqueeze(-1).expand(-1, -1, nodes.shape[-1])
        layers = self.hears, self.tells, self.between, self.together, self.update
        for hears, tells, between, together, update in zip(*layers, strict=True):
            mine = nodes.gather(1, place)
            sent = hears(mine).unsqueeze(2) + tells(nodes).unsqueeze(1) + between(edges)
            heard = together((F.gelu(sent) * taper).sum(2) / 8)
            change = update(torch.cat([mine, heard], -1)) * real.unsqueeze(-1)
            nodes = nodes.scatter_add(1, place, change)
        residues = self.out(nodes.gather(1, place)).squeeze(-1)
        mean = (residues * real).sum(1) / real.sum(1)
        strain = torch.stack([strain[:, 0].clamp(max=1), strain[:, 1].clamp(max=10) / 5], -1)
        return residues, mean + self.closure(strain).squeeze(-1)


def _picked(values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """`values` [B, M, ...] of `rows` [B, K]: [B, K, ...]."""
    return values[torch.arange(len(values), device=values.device).unsqueeze(1), rows]


def _geometry(
    x: torch.Tensor, sidechains: torch.Tensor, index: torch.Tensor, rows: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features of residues [B, M, 10] and pairs [B, K, M, E], and weight [B, K, M] of the pairs."""
    x, sidechains = x - x[:, :1, 1:2], sidechains - x[:, :1, 1:2]
    rotation, ca = frames_from_backbone(x.flatten(0, 1))
    rotation, ca = rotation.view(*index.shape, 3, 3), ca.view(*index.shape, 3)
    cb = ideal_cb(x)
    near = torch.cdist(cb, cb, compute_mode="donot_use_mm_for_euclid_dist")
    counts = torch.stack([(near < radius).sum(-1) / 20.0 for radius in _NEIGHBOURS], -1)
    present = sidechains.isfinite().all(-1)
    whole = present.any(-1, keepdim=True).float()
    nodes = torch.cat([torsion_features(x, index), counts, whole], -1)

    mine, turns = _picked(x, rows), _picked(rotation, rows)
    here = {"CA": mine[:, :, 1], "CB": ideal_cb(mine), "N": mine[:, :, 0], "O": mine[:, :, 3]}
    there = {"CA": ca, "CB": cb, "N": x[:, :, 0], "O": x[:, :, 3]}
    pairs = (("CA", "CA"), ("CB", "CB"), ("N", "O"), ("O", "N"), ("CA", "CB"), ("CB", "CA"))
    features = []
    for (one, other), (low, high, number) in zip(pairs, _RANGES, strict=True):
        length = (there[other].unsqueeze(1) - here[one].unsqueeze(2)).norm(dim=-1)
        features.append(_gaussians(length, (low, high, number)))
    line = ca.unsqueeze(1) - here["CA"].unsqueeze(2)
    distance = line.norm(dim=-1)
    line = line / distance.clamp(min=1e-3).unsqueeze(-1)
    features += [
        torch.einsum("bkmx,bkxy->bkmy", line, turns),
        torch.einsum("bkmx,bmxy->bkmy", -line, rotation),
        torch.einsum("bkxy,bmxz->bkmyz", turns, rotation).flatten(-2),
    ]
    atoms = torch.where(present.unsqueeze(-1), sidechains, _ABSENT).flatten(1, 2)
    for name in ("CA", "CB", "N", "O"):
        length = torch.cdist(here[name], atoms, compute_mode="donot_use_mm_for_euclid_dist")
        nearest = length.unflatten(-1, sidechains.shape[1:3]).amin(-1)
        features.append(_gaussians(nearest, _SIDE_CHAIN))
    taper = 0.5 * (1 + torch.cos(math.pi * (distance / CUTOFF).clamp(max=1)))
    return nodes, torch.cat(features, -1), taper


def _gaussians(length: torch.Tensor, shape: tuple[float, float, int]) -> torch.Tensor:
    """Gaussians [..., n] of lengths [...]; `shape` is where they begin and end, and n."""
    low, high, number = shape
    centres = torch.linspace(low, high, number, device=length.device)
    return torch.exp(-(((length.unsqueeze(-1) - centres) * number / (high - low)) ** 2))
