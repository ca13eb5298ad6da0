"""Encoder of q(z|x): message passing on a neighbour graph of backbone coordinates.

Each residue sees its k nearest residues (CA-CA) in its own frame, then exchanges messages with
them `layers` times. A token therefore depends on at most `layers + 1` hops of the graph, not on
the whole chain, and is invariant to rotation and translation.
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
    """Neighbour graph of the R residues of a batch, without padding.

    Attributes
    ----------
    neighbours : Tensor, int64 [R, k]
        Row numbers among the R residues.
    weight : Tensor, float32 [R, k]
        1 for an edge; 0 for the filler where a chain has fewer than k residues.
    features : Tensor, float32 [R, k, F]
        Geometry of the neighbour in the frame of the residue.
    offset : Tensor, int64 [R, k]
        Sequence offset, clamped to -33..33, plus 33.
    """

    neighbours: torch.Tensor
    weight: torch.Tensor
    features: torch.Tensor
    offset: torch.Tensor


@torch.no_grad()
def neighbour_graph(
    backbone: torch.Tensor, mask: torch.Tensor, index: torch.Tensor, k: int
) -> Graph:
    """Graph of backbones [B, L, 4, 3] (nm; any finite value where `mask` [B, L] is False)."""
    neighbours, weight = nearest_residues(backbone[:, :, 1], mask, k)
    with full_precision(backbone):
        atoms = backbone[mask]
        rotation, origin = frames_from_backbone(atoms)
        r, width = neighbours.shape
        near = atoms.flatten(1).index_select(0, neighbours.flatten()).view(r, width * 4, 3)
        local = to_local((rotation, origin), near).view(r, width, 4, 3)
        theirs = rotation.flatten(1).index_select(0, neighbours.flatten()).view(r, width, 3, 3)
        relative = rotation.transpose(-1, -2).unsqueeze(1) @ theirs
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
    """Map the environment of each residue to the input of the quantizer.

    Parameters
    ----------
    width : int
        Width of the residue and edge states.
    layers : int
        Rounds of message passing.
    neighbours : int
        Number of neighbours of a residue, itself included.
    out : int
        Dimension of the quantizer.
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
        """Encode backbones [B, L, 4, 3] (mask, index [B, L]) to [R, out], R = mask.sum()."""
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
        # Project R rows before gathering R x k. index_select has a cheap backward pass.
        other = self.to_other(state).index_select(0, neighbours.flatten()).view(edges.shape)
        message = F.gelu(self.to_self(state).unsqueeze(1) + other + self.to_edge(edges))
        state = self.norms[0](state + self.out(mean(message)))
        return self.norms[1](state + self.feed_forward(state))
