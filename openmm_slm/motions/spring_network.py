"""Network that gives the springs between residues of a structure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn as nn

from .bfactor_readout import BFactorReadout
from .network_covariance import mean_square, network_covariance
from .residue_graph import CUTOFF, NODE_FEATURES, SEPARATIONS, ResidueGraph

_RADIAL = 16  # Gaussians between 0.3 nm and the cutoff
_NEIGHBOUR = 0.38  # nm, CA to CA along a chain
_CHAIN = 10.0  # stiffness between chain neighbours before training, relative to packed residues
_SCALE = 45.0  # 1 / nm^2: stiffness at contact before training, in units of kT at 300 K
#: Stiffness across a spring, relative to that along it, before training. At 0.3, the differences
#: between conformers are predicted much worse, and training does not find the way back.
_ACROSS = 0.01
_ACROSS_CRYSTAL = 0.3  # the same for the springs of B-factors
_HEARD = 1.0  # nm: messages come from residues closer than this
_RANGE = 5.0  # largest change of the logarithm of a stiffness by the network


@dataclass(frozen=True)
class SpringConfig:
    """Sizes of a `SpringNetwork`.

    `crystal` is whether it has a second network for B-factors, `readout` whether it has a
    `BFactorReadout`. `loosest` is the largest fall of the logarithm of a stiffness between residues
    at most three apart in a chain.
    """

    width: int = 64
    layers: int = 2
    edge_width: int = 64
    dropout: float = 0.0
    readout: bool = False
    crystal: bool = False
    loosest: float = _RANGE


class SpringNetwork(nn.Module):
    """Stiffness of the springs between the residues of a structure.

    Springs resist being stretched, and less so being turned. Before training their stiffness is
    that of `openmm_slm.protein.elastic_network.packed_stiffness` times a factor. Messages
    between neighbours tell each residue about its surroundings; a spring then depends on both of
    its residues and on how they lie to each other. Nothing depends on position or orientation.

    B-factors of crystals have another profile than thermal motion. With ``config.crystal``, a
    second network of the same size gives springs for them alone.
    """

    kind = "motions"
    config_class = SpringConfig

    def __init__(self, config: SpringConfig | None = None, across: float = _ACROSS) -> None:
        super().__init__()
        self.config = config = config or SpringConfig()
        width, edge = config.width, config.edge_width
        self.register_buffer("centres", torch.linspace(0.35, CUTOFF, _RADIAL))
        self.amino_acid = nn.Embedding(21, 16)
        self.separation = nn.Embedding(SEPARATIONS + 1, 16)
        self.node = nn.Linear(NODE_FEATURES + 16, width)
        self.edge = nn.Linear(2 * _RADIAL + 3 + 3 + 9 + 2 + 16, edge)
        self.messages = nn.ModuleList(_Pairs(width, edge) for _ in range(config.layers))
        self.updates = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(2 * width), nn.Linear(2 * width, 2 * width), nn.GELU(),
                nn.Linear(2 * width, width), nn.Dropout(config.dropout),
            )
            for _ in range(config.layers)
        )  # fmt: skip
        self.spring = _Pairs(width, edge)
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Linear(width, 2)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        nn.init.constant_(self.out.bias[1:], math.log(across / (1 - across)))
        self.scale = nn.Parameter(torch.tensor(math.log(_SCALE)))
        self.readout = BFactorReadout() if config.readout else None
        alone = replace(config, readout=False, crystal=False, loosest=_RANGE)
        self.crystal_network = SpringNetwork(alone, _ACROSS_CRYSTAL) if config.crystal else None

    def forward(self, graph: ResidueGraph) -> torch.Tensor:
        """Stiffness [2, N, N] in kT / nm^2 at 300 K, float64: symmetric, 0 beyond the cutoff.

        The first is that along the line between two residues, the second that across it, which is
        smaller.
        """
        i, j = graph.source, graph.target
        nodes = self.node(torch.cat([graph.nodes, self.amino_acid(graph.amino_acids)], -1))
        edges = self._edges(graph)
        near = (graph.distance < _HEARD).nonzero().squeeze(1)
        heard_from, there, beside = i[near], j[near], edges[near]
        taper = 0.5 * (1 + torch.cos(math.pi * graph.distance[near] / _HEARD))
        for message, update in zip(self.messages, self.updates, strict=True):
            sent = message(nodes, beside, heard_from, there) * taper.unsqueeze(-1)
            heard = torch.zeros_like(nodes).index_add(0, heard_from, sent) / 4
            nodes = nodes + update(torch.cat([nodes, heard], -1))
        pair = self.out(self.dropout(self.spring(nodes, edges, i, j)))
        change, ratio = ((pair + pair[graph.reverse]) / 2).double().unbind(-1)
        loosened = (change < 0) & (graph.separation <= 3)
        most = torch.where(loosened, self.config.loosest, _RANGE).double()
        log = most * torch.tanh(change / most) + self.scale.double()
        along = packed_springs(graph.distance, graph.separation) * log.exp()
        both = torch.stack([along, along * ratio.sigmoid()])
        size = len(graph.ca)
        flat = both.new_zeros(2, size * size).index_copy(1, i * size + j, both)
        return flat.view(2, size, size)

    def crystal_springs(self, graph: ResidueGraph) -> torch.Tensor:
        """Stiffness as from `forward`, of the springs for B-factors."""
        return (self.crystal_network or self)(graph)

    def crystal(self, graph: ResidueGraph, square: torch.Tensor) -> torch.Tensor:
        """Mean squares [N] with the profile of B-factors, and the mean of those of the springs."""
        found = square
        if self.crystal_network is not None:
            found = mean_square(network_covariance(graph.ca, self.crystal_network(graph)))
        if self.readout is not None:
            found = self.readout(graph, found)  # of any scale
        return found * (square.mean() / found.mean())

    def _edges(self, graph: ResidueGraph) -> torch.Tensor:
        width = CUTOFF / _RADIAL
        radial = [
            torch.exp(-(((d.unsqueeze(-1) - self.centres) / width) ** 2))
            for d in (graph.distance, graph.beta)
        ]
        features = [
            *radial, graph.direction, graph.direction[graph.reverse], graph.turn, graph.bonds,
            self.separation(graph.separation),
        ]  # fmt: skip
        return nn.functional.gelu(self.edge(torch.cat(features, -1)))


class _Pairs(nn.Module):
    """A layer on (node i, node j, edge ij). Nodes are projected before they are gathered."""

    def __init__(self, width: int, edge: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width, bias=False)
        self.edge = nn.Linear(edge, width, bias=False)

    def forward(
        self, nodes: torch.Tensor, edges: torch.Tensor, i: torch.Tensor, j: torch.Tensor
    ) -> torch.Tensor:
        one, two = self.first(nodes), self.second(nodes)
        return nn.functional.gelu(
            one.index_select(0, i) + two.index_select(0, j) + self.edge(edges)
        )


def packed_springs(distance: torch.Tensor, separation: torch.Tensor) -> torch.Tensor:
    """Stiffness [E] as in `packed_stiffness`, which goes to zero at the cutoff."""
    distance = distance.double()
    stiffness = (_NEIGHBOUR / distance.clamp(min=_NEIGHBOUR)) ** 6
    along = _CHAIN / separation.clamp(min=1).double() ** 2
    stiffness = torch.where(separation <= 3, stiffness.maximum(along), stiffness)
    return stiffness * (1 - (distance / CUTOFF) ** 4)
