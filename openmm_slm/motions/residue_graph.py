"""Graph of the residues of a structure: what the spring network reads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ..networks.backbone_features import ideal_cb, torsion_features
from ..networks.rigid_frames import frames_from_backbone, full_precision

#: nm: residues whose CA are closer than this are joined.
CUTOFF = 1.5
_CONTACT = (0.8, 1.0, 1.3)  # nm, radii within which neighbours are counted
_COUNTED = 20.0  # neighbours: brings counts to about 1
_N_H = 0.101  # nm
_SEQUENCE = 8  # residues further apart than this in sequence count alike

NODE_FEATURES = 14
SEPARATIONS = _SEQUENCE + 1


@dataclass(frozen=True)
class ResidueGraph:
    """N residues and E directed edges between them.

    Attributes
    ----------
    nodes : Tensor, float32 [N, NODE_FEATURES]
        Neighbours, exposure, torsions, hydrogen bonds, and distance from chain ends.
    amino_acids : Tensor, int64 [N]
    ca : Tensor, float64 [N, 3]
        nm.
    source, target : Tensor, int64 [E]
        Residues i and j of each edge, sorted by i. Every edge has its reverse.
    reverse : Tensor, int64 [E]
        Number of the edge from j to i.
    distance, beta : Tensor, float32 [E]
        CA-CA and CB-CB distances, nm.
    direction : Tensor, float32 [E, 3]
        Unit vector from i to j in the frame of i.
    turn : Tensor, float32 [E, 9]
        Rotation from the frame of i to that of j.
    bonds : Tensor, float32 [E, 2]
        Hydrogen bonds NH(i)-OC(j) and NH(j)-OC(i), 0 (none) to 1.
    separation : Tensor, int64 [E]
        Residues between i and j along the chain plus 1, at most 9 (also between chains).
    """

    nodes: torch.Tensor
    amino_acids: torch.Tensor
    ca: torch.Tensor
    source: torch.Tensor
    target: torch.Tensor
    reverse: torch.Tensor
    distance: torch.Tensor
    beta: torch.Tensor
    direction: torch.Tensor
    turn: torch.Tensor
    bonds: torch.Tensor
    separation: torch.Tensor


@torch.no_grad()
def residue_graph(
    backbone: torch.Tensor, amino_acids: torch.Tensor, index: torch.Tensor
) -> ResidueGraph:
    """Graph of residues with complete backbones.

    Parameters
    ----------
    backbone : Tensor [N, 4, 3]
        N, CA, C, O; nm, finite.
    amino_acids : Tensor, int64 [N]
    index : Tensor, int64 [N]
        Residue index: steps of 1 between bonded residues.
    """
    with full_precision(backbone):
        exact = backbone[:, 1].double()
        backbone = (backbone - backbone[:, 1].mean(0)).float()
        rotation, ca = frames_from_backbone(backbone)
        apart = torch.cdist(ca, ca, compute_mode="donot_use_mm_for_euclid_dist")
        beta = ideal_cb(backbone)
        near = (apart < CUTOFF).fill_diagonal_(False)
        source, target = near.nonzero(as_tuple=True)
        number = torch.zeros_like(near, dtype=torch.long)
        number[source, target] = torch.arange(len(source), device=ca.device)
        along = F.normalize(ca[target] - ca[source], dim=-1)
        bond = _hydrogen_bonds(backbone, index)
        nodes = torch.cat(
            [
                torch.stack([(apart < r).sum(1) / _COUNTED for r in _CONTACT], -1),
                _exposure(ca, beta, apart),
                torsion_features(backbone, index)[:, :4],
                torch.stack([bond.sum(1), bond.sum(0)], -1).clamp(max=1.5),
                _ends(index),
                torch.full((len(ca), 1), len(ca), device=ca.device).log() / 5,
            ],
            -1,
        )
        return ResidueGraph(
            nodes,
            amino_acids,
            exact,
            source,
            target,
            number[target, source],
            apart[source, target],
            (beta[source] - beta[target]).norm(dim=-1),
            (along.unsqueeze(1) @ rotation[source]).squeeze(1),
            (rotation[source].mT @ rotation[target]).flatten(1),
            torch.stack([bond[source, target], bond[target, source]], -1),
            (index[source] - index[target]).abs().clamp(max=SEPARATIONS),
        )


def _exposure(ca: torch.Tensor, beta: torch.Tensor, apart: torch.Tensor) -> torch.Tensor:
    """Neighbours [N, 2] on the side of CB and on the other side (Hamelryck, Proteins 2005)."""
    side = torch.einsum("ijc,ic->ij", ca[None] - ca[:, None], beta - ca)
    near = (apart < _CONTACT[2]) & (apart > 0)
    return torch.stack([(near & (side > 0)).sum(1), (near & (side <= 0)).sum(1)], -1) / _COUNTED


def _hydrogen_bonds(backbone: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Strength [N, N] of hydrogen bonds from NH of the row to CO of the column, 0 to 1.

    The energy of DSSP (Kabsch and Sander, Biopolymers 1983) over -3 kcal/mol. Proline is not told
    apart: its amino acid is an input of its own.
    """
    n, _, c, o = backbone.unbind(1)
    hydrogen = n.clone()
    hydrogen[1:] += _N_H * F.normalize(c[:-1] - o[:-1], dim=-1)
    step = index.diff()
    has_hydrogen = F.pad(step == 1, (1, 0))

    def inverse(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return 1 / torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").clamp(min=0.05)

    energy = inverse(n, o) + inverse(hydrogen, c) - inverse(hydrogen, o) - inverse(n, c)
    energy = 2.7888 * energy  # kcal/mol, distances in nm: 0.42 * 0.2 * 332 / 10
    strength = (-energy / 3).clamp(0, 1) * has_hydrogen.unsqueeze(1)
    close = (index.unsqueeze(1) - index.unsqueeze(0)).abs() < 2
    return strength.masked_fill(close, 0)


def _ends(index: torch.Tensor) -> torch.Tensor:
    """Closeness [N, 2] to the first and the last residue of a piece of chain, 0 to 1."""
    length = len(index)
    place = torch.arange(length, device=index.device)
    starts = F.pad(index.diff() != 1, (1, 0), value=True)
    first = torch.where(starts, place, 0).cummax(0).values
    last = (torch.where(F.pad(starts[1:], (0, 1), value=True), place, length)).flip(0)
    last = last.cummin(0).values.flip(0)
    return torch.stack([torch.exp(-(place - first) / 3.0), torch.exp(-(last - place) / 3.0)], -1)
