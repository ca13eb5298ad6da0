"""Packer network q(chi | backbone, sequence): predicts side-chain torsions on a neighbour graph.

Each residue sees its k nearest residues (by CB) in its own frame: their backbone, and their
side-chain atoms if these are predicted or known. chi1..chi4 are binned, each conditional on the
earlier ones. The network is applied again to the side chains built from its own prediction
(recycling, as in PIPPack; Randolph & Kuhlman, Proteins 2024), so that it learns to pack residues
against each other. Known side chains are input in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

from ..networks.nearest_residues import nearest_residues
from ..networks.rigid_frames import frames_from_backbone, full_precision, to_local, torsion_angle
from .builder import AtomBuilder, place_atom
from .rotamers import chi_period

_CACHED = 48  # residues per part; 0.6 MB of messages with 24 neighbours fit in a CPU cache
OFFSET = 32  # sequence offsets beyond this are "far"
ABSENT, GUESSED, KNOWN = 0, 1, 2  # state of a side chain
# Probe points for side chains: CB, the three staggered positions of CG, and 0.35 nm along CA-CB.
_PROBES = 5
_CENTRES = (0.25, 0.325, 0.4, 0.5, 0.65, 0.8)  # nm
_CB = (0.1532, math.radians(110.1), math.radians(122.7))
_CG = (0.152, math.radians(113.9))
# Ranges of atom14 slots computed together: most residues have no atoms after the first range.
_SLOT_RANGES = ((4, 8), (8, 11), (11, 14))
_SMALLEST = -80.0  # least exponent: exp is six times slower where its result is subnormal


@dataclass(frozen=True)
class PackerConfig:
    """Sizes of a `PackerNetwork`."""

    width: int = 256
    edge_width: int = 128
    layers: int = 3
    neighbours: int = 24
    bins: int = 36


@dataclass
class EncodedBackbones:
    """Backbone features of the R residues of a batch, without side chains (see `encode`).

    Attributes
    ----------
    atoms : Tensor, float32 [R, 4, 3]
    amino_acids : Tensor, int64 [R]
    frames : (rotation [R, 3, 3], origin [R, 3])
    probes : Tensor, float32 [R, P, 3]
        Probe points in the frame of the residue, nm.
    neighbours : Tensor, int64 [R, k]
        See `nearest_residues`.
    weight : Tensor, float32 [R, k]
        See `nearest_residues`.
    nodes : Tensor [R, D]
        Residue features.
    edges : Tensor [R, k, E]
        Features of residue pairs.
    """

    atoms: torch.Tensor
    amino_acids: torch.Tensor
    frames: tuple[torch.Tensor, torch.Tensor]
    probes: torch.Tensor
    neighbours: torch.Tensor
    weight: torch.Tensor
    nodes: torch.Tensor
    edges: torch.Tensor


class PackerNetwork(nn.Module):
    """Predict chi1..chi4 as distributions over bins of width 2 pi / bins.

    Parameters
    ----------
    config : PackerConfig
    """

    kind = "packer"
    config_class = PackerConfig

    def __init__(self, config: PackerConfig) -> None:
        super().__init__()
        self.config = config
        width, edge = config.width, config.edge_width
        self.builder = AtomBuilder()
        self.amino_acid = nn.Embedding(21, width)
        self.torsion = nn.Linear(9, width)
        self.state = nn.Embedding(3, width)
        self.own_chi = nn.Linear(8, width, bias=False)
        radial = _PROBES * len(_CENTRES)
        # For positions, rotations and distances; separate layers avoid joining large arrays.
        self.edge_in = nn.ModuleList(
            nn.Linear(size, edge, bias=False) for size in (5 * 3, 9, 5 * radial)
        )
        self.context_in = nn.ModuleList(
            nn.Linear(size, edge, bias=False) for size in (10 * 3, 10 * radial)
        )
        self.offset = nn.Embedding(2 * OFFSET + 3, edge)
        self.edge_mix = nn.Sequential(nn.GELU(), nn.Linear(edge, edge))
        self.layers = nn.ModuleList(_Message(width, edge) for _ in range(config.layers))
        self.earlier = nn.ModuleList(nn.Linear(6, width, bias=False) for _ in range(3))
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, width),
                nn.GELU(),
                nn.Linear(width, config.bins),
            )
            for _ in range(4)
        )
        period = torch.as_tensor(chi_period, dtype=torch.float32)
        self.register_buffer("period", period, persistent=False)

    def encode(
        self,
        backbone: torch.Tensor,
        amino_acids: torch.Tensor,
        mask: torch.Tensor,
        index: torch.Tensor,
    ) -> EncodedBackbones:
        """Encode backbones [B, L, 4, 3] (nm) with amino acids, mask and residue index [B, L]."""
        dtype = _product_dtype(backbone)
        with torch.no_grad(), full_precision(backbone):
            frames = frames_from_backbone(backbone)
            probes, cb = _probes(backbone, frames)
            neighbours, weight = nearest_residues(cb, mask, self.config.neighbours)
            atoms = torch.cat([backbone, cb.unsqueeze(-2)], -2)[mask]
            rotation, origin = (x[mask] for x in frames)
            probes = probes[mask]
            near = _local_atoms(atoms, (rotation, origin), neighbours)
            theirs = _gather(rotation.flatten(1), neighbours).unflatten(-1, (3, 3))
            relative = rotation.transpose(-1, -2).unsqueeze(1) @ theirs
            features = (
                near.flatten(2) / 0.8,
                relative.flatten(2),
                _radial(_distances(probes, near), dtype).flatten(2),
            )
            position = index[mask]
            offset = position[neighbours] - position.unsqueeze(-1)
            offset = offset.clamp(-OFFSET - 1, OFFSET + 1) + OFFSET + 1
            torsions = _torsions(backbone, mask, index)[mask]
        aa = amino_acids[mask]
        nodes = self.amino_acid(aa) + self.torsion(torsions)
        edges = self.offset(offset)
        for layer, values in zip(self.edge_in, features, strict=True):
            edges = edges + layer(values)
        return EncodedBackbones(
            atoms[:, :4], aa, (rotation, origin), probes, neighbours, weight, nodes, edges
        )

    def environments(
        self, backbones: EncodedBackbones, side_chains: torch.Tensor | None, state: torch.Tensor
    ) -> torch.Tensor:
        """Residue states [R, D], from which `choose` predicts the chi angles.

        Parameters
        ----------
        backbones : EncodedBackbones
        side_chains : (chi [R, 4], atom14 [R, 14, 3]) or None
            Used where `state` is not `ABSENT`.
        state : Tensor, int64 [R]
            `ABSENT`, `GUESSED` or `KNOWN`.
        """
        nodes, edges = backbones.nodes + self.state(state), backbones.edges
        if side_chains is not None:
            chi, atom14 = side_chains
            available = state != ABSENT
            atoms = (self.builder.present.sum(1)[backbones.amino_acids] * available)[
                backbones.neighbours
            ].flatten()
            added = edges.new_zeros(edges.shape).flatten(0, 1)
            for first, last in _SLOT_RANGES:
                rows = torch.nonzero(atoms > first).squeeze(1)
                if len(rows):
                    context = self._context(backbones, atom14, rows, first, last)
                    added = added.index_add(0, rows, context.to(edges.dtype))
            edges = edges + added.view(edges.shape)
            angles = torch.cat([chi.cos(), chi.sin()], -1) * available.unsqueeze(-1)
            nodes = nodes + self.own_chi(angles)
        edges = torch.cat([self.edge_mix(part) for part in _in_parts(edges)])
        weight = backbones.weight / backbones.weight.sum(1, keepdim=True)
        for layer in self.layers:
            nodes = layer(nodes, edges, backbones.neighbours, weight)
        return nodes

    def _context(self, backbones, atom14, rows, first: int, last: int) -> torch.Tensor:
        """Features of neighbour atoms in slots `first` to `last`, for the edges `rows`."""
        dtype = _product_dtype(atom14)
        with torch.no_grad(), full_precision(atom14):
            near = _local_atoms(atom14[:, first:last], backbones.frames, backbones.neighbours)
            distance = _distances(backbones.probes, near).flatten(0, 1)[rows]
            kind = backbones.amino_acids[backbones.neighbours.flatten()[rows]]
            present = self.builder.present[:, first:last][kind].unsqueeze(-1)
            near = near.flatten(0, 1)[rows].mul_(present / 0.8).flatten(1)
            radial = _radial(distance, dtype).mul_(present.unsqueeze(-1)).flatten(1)
        out = None
        for layer, values in zip(self.context_in, (near, radial), strict=True):
            weight = layer.weight.unflatten(1, (10, -1))[:, first - 4 : last - 4].flatten(1)
            part = F.linear(values, weight)
            out = part if out is None else out + part
        return out

    def logits(self, nodes: torch.Tensor, earlier: torch.Tensor) -> torch.Tensor:
        """Logits [R, bins] of the next chi, given `earlier` [R, n] (n = 0..3, radians)."""
        n = earlier.shape[1]
        for number in range(n):
            angle = earlier[:, number].unsqueeze(-1) * torch.arange(1, 4, device=earlier.device)
            nodes = nodes + self.earlier[number](torch.cat([angle.cos(), angle.sin()], -1))
        return self.heads[n](nodes).float()

    def choose(
        self, nodes: torch.Tensor, uniform: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Choose chi1..chi4 in turn: the most probable bin, or a sample at `uniform` [R, 4].

        Returns
        -------
        chi : Tensor [R, 4]
            Radians: mean angle of the chosen bin and its two neighbours.
        log_prob : Tensor [R, 4]
            Log probability of the chosen bins.
        """
        chi = nodes.new_zeros((len(nodes), 0), dtype=torch.float32)
        log_prob = chi
        for number in range(4):
            probability = self.logits(nodes, chi).softmax(-1)
            if uniform is None:
                chosen = probability.argmax(-1)
            else:
                level = uniform[:, number : number + 1]
                chosen = (probability.cumsum(-1) < level).sum(-1).clamp(max=self.config.bins - 1)
            chi = torch.cat([chi, self._refine(probability, chosen).unsqueeze(-1)], 1)
            value = probability.gather(1, chosen.unsqueeze(1)).clamp(min=1e-9).log()
            log_prob = torch.cat([log_prob, value], 1)
        return chi, log_prob

    def _refine(self, probability: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """Mean angle [R] of the chosen bins and their two neighbours."""
        around = torch.arange(-1, 2, device=probability.device)
        near = probability.gather(1, (chosen.unsqueeze(1) + around) % self.config.bins)
        step = 2 * math.pi / self.config.bins
        shift = (near * around).sum(-1) / near.sum(-1).clamp(min=1e-9)
        return -math.pi + step * (chosen + 0.5 + shift)

    def target(self, chi: torch.Tensor, amino_acids: torch.Tensor) -> torch.Tensor:
        """Training target [R, 4, bins] of chi [R, 4]: von Mises densities 9 degrees wide.

        Angles with a period of pi have two peaks.
        """
        step = 2 * math.pi / self.config.bins
        centres = -math.pi + step * (torch.arange(self.config.bins, device=chi.device) + 0.5)
        symmetric = (self.period[amino_acids] < 4).unsqueeze(-1)
        cosine = (chi.unsqueeze(-1) - centres).cos()
        density = torch.exp(40 * (cosine - 1)) + symmetric * torch.exp(40 * (-cosine - 1))
        return density / density.sum(-1, keepdim=True)


class _Message(nn.Module):
    """One round of message passing, then a feed-forward."""

    def __init__(self, width: int, edge: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.to_self = nn.Linear(width, edge)
        self.to_other = nn.Linear(width, edge, bias=False)
        self.to_edge = nn.Linear(edge, edge, bias=False)
        self.mix = nn.Linear(edge, edge)
        self.out = nn.Linear(edge, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
        )

    def forward(self, nodes, edges, neighbours, weight):
        state = self.norm(nodes)
        # Project R rows before gathering R x k. index_select has a cheap backward pass.
        other, own = self.to_other(state), self.to_self(state).unsqueeze(1)
        parts = zip(*(_in_parts(x) for x in (edges, neighbours, own, weight)), strict=True)
        pooled = torch.cat([self._pooled(other, *part) for part in parts])
        nodes = nodes + self.out(pooled)
        return nodes + self.feed_forward(nodes)

    def _pooled(self, other, edges, neighbours, own, weight):
        """Mean message [R, E] to each residue of a part."""
        message = self.to_edge(edges).add_(_gather(other, neighbours))
        message = F.gelu(message.add_(own))
        message = F.gelu(self.mix(message))
        return (weight.to(message.dtype).unsqueeze(1) @ message).squeeze(1)


def _in_parts(values: torch.Tensor) -> Sequence[torch.Tensor]:
    """Split rows into parts that fit in the CPU cache; one part on a GPU and in training."""
    if values.device.type != "cpu" or not torch.is_inference_mode_enabled():
        return (values,)  # not a view: the hooks that count training FLOPs fail on views
    return values.split(_CACHED)


def _gather(values: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
    """Rows [R, k, C] of values [R, C]."""
    return values.index_select(0, neighbours.flatten()).view(*neighbours.shape, values.shape[1])


def _local_atoms(atoms: torch.Tensor, frames, neighbours: torch.Tensor) -> torch.Tensor:
    """Neighbours' atoms in the frame of each residue, [R, k, A, 3], from atoms [R, A, 3]."""
    near = _gather(atoms.flatten(1), neighbours)
    r, k, _ = near.shape
    rotation, origin = frames
    # One matrix product; here it is faster than the broadcast product of `to_local`.
    return ((near.view(r, -1, 3) - origin.unsqueeze(1)) @ rotation).view(r, k, -1, 3)


def _distances(probes: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Distances [R, k, A, P] from probes [R, P, 3] to points [R, k, A, 3]."""
    flat = points.flatten(1, 2)
    distance = torch.cdist(flat, probes, compute_mode="donot_use_mm_for_euclid_dist")
    return distance.view(*points.shape[:3], -1)


def _radial(distance: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Gaussians [..., C] of distances [...]."""
    centres = torch.tensor(_CENTRES, device=distance.device)
    # In place, because these are the largest arrays.
    scaled = (distance.unsqueeze(-1) - centres).mul_(1 / (0.2 * centres)).to(dtype)
    return scaled.square_().neg_().clamp_(min=_SMALLEST).exp_()


def _product_dtype(tensor: torch.Tensor) -> torch.dtype:
    """Data type of matrix products in the current autocast context."""
    kind = tensor.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32


def _probes(backbone: torch.Tensor, frames) -> tuple[torch.Tensor, torch.Tensor]:
    """Probe points [B, L, P, 3] in the residue frames, and CB [B, L, 3] in global coordinates."""
    n, ca, c = backbone[..., 0, :], backbone[..., 1, :], backbone[..., 2, :]

    def place(x, y, z, length, angle, torsion):
        values = (torch.full(x.shape[:-1], v, device=x.device) for v in (length, angle, torsion))
        return place_atom(x, y, z, *values)

    cb = place(n, c, ca, *_CB)
    points = [cb]
    points += [place(n, ca, cb, *_CG, math.radians(t)) for t in (-60, 60, 180)]
    points.append(ca + 0.35 * F.normalize(cb - ca, dim=-1))
    return to_local(frames, torch.stack(points, -2)), cb


def _torsions(backbone: torch.Tensor, mask: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """cos, sin and presence of phi, psi, omega: [B, L, 9].

    In float64: functions of float32 differ in the last digit with their place in an array, and
    products in bfloat16 would amplify that.
    """
    n, ca, c = backbone.double()[:, :, :3].unbind(2)
    bonded = mask[:, 1:] & mask[:, :-1] & (index[:, 1:] - index[:, :-1] == 1)

    def features(a, b, c, d, last: bool) -> torch.Tensor:
        angle = torsion_angle(a, b, c, d)
        values = torch.stack([angle.cos(), angle.sin(), torch.ones_like(angle)], -1).float()
        return F.pad(values * bonded.unsqueeze(-1), (0, 0, 0, 1) if last else (0, 0, 1, 0))

    before, after = (slice(None), slice(None, -1)), (slice(None), slice(1, None))
    return torch.cat(
        [
            features(c[before], n[after], ca[after], c[after], False),
            features(n[before], ca[before], c[before], n[after], True),
            features(ca[before], c[before], n[after], ca[after], False),
        ],
        -1,
    )
