"""q(z|x), first half: an invariant neighbour graph that sees backbone coordinates only.

Each residue looks at its k nearest residues (CA-CA) in its own frame, twice more at what those
saw. A token therefore depends on at most `layers + 1` hops of the graph, not on the whole chain,
and on nothing that turns with the molecule.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

from ..networks.nearest_residues import nearest_residues
from ..networks.rigid_frames import frames_from_backbone, full_precision, to_local

OFFSET = 32  # sequence offsets beyond this are "far"


@dataclass
class Graph:
    """Neighbours of the R present residues of a batch, flat.

    Attributes
    ----------
    neighbours : Tensor, int64 [R, k]
        Row numbers among the R residues.
    weight : Tensor, float32 [R, k]
        1 for a real edge, 0 where a chain has fewer than k residues.
    features : Tensor, float32 [R, k, F]
    offset : Tensor, int64 [R, k]
        Clamped sequence offset + 32 + 1.
    """

    neighbours: torch.Tensor
    weight: torch.Tensor
    features: torch.Tensor
    offset: torch.Tensor


@torch.no_grad()
def neighbour_graph(
    backbone: torch.Tensor, mask: torch.Tensor, index: torch.Tensor, k: int
) -> Graph:
    """Graph of backbones [B, L, 4, 3] (nm; anything finite where `mask` [B, L] is False)."""
    neighbours, weight = nearest_residues(backbone[:, :, 1], mask, k)
    with full_precision(backbone):
        atoms = backbone[mask]
        rotation, origin = frames_from_backbone(atoms)
        r, width = neighbours.shape
        near = atoms.flatten(1).index_select(0, neighbours.flatten()).view(r, width * 4, 3)
        local = to_local((rotation, origin), near).view(r, width, 4, 3)
        turned = rotation.flatten(1).index_select(0, neighbours.flatten()).view(r, width, 3, 3)
        relative = rotation.transpose(-1, -2).unsqueeze(1) @ turned
        centres = torch.linspace(0.2, 2.0, 16, device=mask.device)
        spread = local.norm(dim=-1).unsqueeze(-1) - centres
        features = torch.cat(
            [
                local.flatten(2) / 0.8,
                relative.flatten(2),
                torch.exp(-((spread / 0.12) ** 2)).flatten(2),
            ],
            -1,
        )
        position = index[mask]
        offset = position[neighbours] - position.unsqueeze(-1)
    return Graph(neighbours, weight, features, offset.clamp(-OFFSET - 1, OFFSET + 1) + OFFSET + 1)


class Encoder(nn.Module):
    """Residue environments to a few numbers each, ready for the quantizer.

    Parameters
    ----------
    width : int
    layers : int
        Rounds of messages after the first look at the neighbours.
    neighbours : int
    out : int
        Dimensions of the quantizer.
    """

    def __init__(self, width: int = 128, layers: int = 2, neighbours: int = 16, out: int = 3):
        super().__init__()
        self.neighbours = neighbours
        self.edge = nn.Sequential(nn.Linear(12 + 9 + 64, width), nn.GELU(), nn.Linear(width, width))
        self.offset = nn.Embedding(2 * OFFSET + 3, width)
        self.layers = nn.ModuleList(_Message(width) for _ in range(layers))
        self.out = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, out),
        )

    def forward(
        self, backbone: torch.Tensor, mask: torch.Tensor, index: torch.Tensor
    ) -> torch.Tensor:
        """Backbones [B, L, 4, 3], mask and index [B, L] -> float32 [R, out], R = mask.sum()."""
        graph = neighbour_graph(backbone, mask, index, self.neighbours)
        edges = self.edge(graph.features) + self.offset(graph.offset)
        count = graph.weight.sum(1, keepdim=True)

        def mean(values: torch.Tensor) -> torch.Tensor:
            weight = (graph.weight / count).to(values.dtype)
            return (weight.unsqueeze(1) @ values).squeeze(1)

        state = mean(edges)
        for layer in self.layers:
            state = layer(state, edges, graph.neighbours, mean)
        return self.out(state).float()


class _Message(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.to_self = nn.Linear(width, width)
        self.to_other = nn.Linear(width, width)
        self.to_edge = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, state, edges, neighbours, mean):
        # Project before gathering: R rows instead of R x k. index_select has a flat gradient.
        other = self.to_other(state).index_select(0, neighbours.flatten()).view(edges.shape)
        message = F.gelu(self.to_self(state).unsqueeze(1) + other + self.to_edge(edges))
        state = self.norms[0](state + self.out(mean(message)))
        return self.norms[1](state + self.feed_forward(state))
