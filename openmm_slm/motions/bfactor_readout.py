"""Profile of the B-factors of a crystal: a linear readout of a structure and of springs."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from .residue_graph import NODE_FEATURES, ResidueGraph

_LETTERS = 21
_PACKING = 8
_BASE = NODE_FEATURES + _PACKING + 1 + _LETTERS
_AROUND = (0.6, 1.0)  # nm, widths of the Gaussians that weight residues around one
_ALONG = ((1,), (2,), (3, 4))  # separations of neighbours along the chain
_CLOSEST = 0.3  # nm: closer residues count as at this distance
_NEAR = 0.65  # nm, width of the Gaussian that counts neighbours
_TOUCH = 0.8  # nm, contacts
_DISTANT = 8  # residues: contacts that are further apart are counted
_SPREAD = 0.3  # typical SD of the B-factors of a chain, relative to their mean
_MOST = 4.0  # SD

#: Number of features of a residue.
FEATURES = _BASE * (1 + len(_AROUND) + len(_ALONG))


class BFactorReadout(nn.Module):
    """Linear function of `crystal_features`.

    The weights come from a regression (`openmm_slm.training.fit_readout`), not from gradients.
    """

    weight: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(FEATURES))

    def forward(self, graph: ResidueGraph, square: torch.Tensor) -> torch.Tensor:
        """Profile [N] of B-factors, from the mean squares of the springs for B-factors."""
        level = crystal_features(graph, square) @ self.weight
        return (_SPREAD * level.clamp(-_MOST, _MOST)).exp().double()


@torch.no_grad()
def crystal_features(graph: ResidueGraph, square: torch.Tensor) -> torch.Tensor:
    """Features [N, FEATURES] of residues, less their means over the structure.

    Of each residue: those of the graph, its packing, the logarithm of its mean square `square` by
    the springs for B-factors, and its amino acid; their means over the residues around it, in
    Gaussians of two widths; and their means over its neighbours along the chain, at three
    separations.
    """
    level = (square / square.mean()).log().float().unsqueeze(1)
    letters = F.one_hot(graph.amino_acids, _LETTERS).float()
    base = torch.cat([graph.nodes, _packing(graph), level, letters], 1)
    parts = [base]
    for width in _AROUND:
        parts.append(_mean(graph, base, torch.exp(-((graph.distance / width) ** 2)), 1.0))
    for apart in _ALONG:
        there = torch.isin(graph.separation, torch.tensor(apart, device=base.device)).float()
        parts.append(_mean(graph, base, there, 1e-3))
    found = torch.cat(parts, 1)
    return found - found.mean(0)


def _mean(
    graph: ResidueGraph, values: torch.Tensor, weight: torch.Tensor, own: float
) -> torch.Tensor:
    """Weighted mean [N, D] of values [N, D] over the residues joined to each, and its `own`."""
    used = weight.nonzero().squeeze(1)
    i, j, weight = graph.source[used], graph.target[used], weight[used].unsqueeze(1)
    total = (own * values).index_add(0, i, weight * values[j])
    return total / torch.full_like(values[:, :1], own).index_add(0, i, weight)


def _packing(graph: ResidueGraph) -> torch.Tensor:
    """Packing [N, 8].

    Weighted contact number (Lin et al., Proteins 2008), also relative to its mean; neighbours in a
    Gaussian; squared distance from the centre relative to its mean, and distance; mean separation
    of contacts along the chain, and contacts of distant residues; distance from the middle of the
    sequence.
    """
    ca = (graph.ca - graph.ca.mean(0)).float()
    place = torch.arange(len(ca), device=ca.device)
    apart = torch.cdist(ca, ca, compute_mode="donot_use_mm_for_euclid_dist")
    weighted = (1 / apart.clamp(min=_CLOSEST) ** 2).fill_diagonal_(0).sum(1) / 100
    near = torch.exp(-((apart / _NEAR) ** 2)).fill_diagonal_(0).sum(1) / 8
    far = (ca**2).sum(-1)
    touch = (apart < _TOUCH).float().fill_diagonal_(0)
    along = (place.unsqueeze(1) - place).abs().float()
    order = (touch * along.clamp(max=60)).sum(1) / touch.sum(1).clamp(min=1) / 30
    features = [
        weighted, weighted / weighted.mean() - 1, near, far / far.mean() - 1, far.sqrt() / 2,
        order, (touch * (along > _DISTANT)).sum(1) / 8,
        (place / max(1, len(ca) - 1) - 0.5).abs() * 2,
    ]  # fmt: skip
    return torch.stack(features, -1)
