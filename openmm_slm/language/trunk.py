"""Sequence trunk shared by the language models, so that one can be initialised from another."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn as nn

from ..networks.transformer import Block, rotary_angles
from ..protein.sequence import parse_sequence, sequence_layout
from .condition_input import condition_input
from .structure_context import StructureContext
from .structure_input import StructureInput


@dataclass(frozen=True)
class TrunkConfig:
    """Sizes of a `SequenceTrunk` and of the light network after it."""

    vocabulary: int = 512
    trunk_width: int = 256
    trunk_layers: int = 6
    trunk_heads: int = 8
    width: int = 160
    layers: int = 3
    heads: int = 5
    pair: int = 16
    use_sequence: bool = True
    condition: int | None = None  # numbers per residue (see `condition`)
    structure: int = 0  # message rounds of the structure input; 0: no structure input
    edge: int = 128  # width of its edges
    neighbours: int = 28  # edges per residue
    frames: bool = True  # False: CA distances only
    disorder: bool = False  # the structure input has labels of disordered residues


class SequenceTrunk(nn.Module):
    """Deep self-attention over the sequence, followed by a light network (`width`, `layers`).

    Parameters
    ----------
    config : TrunkConfig
    """

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        self.config = c = config
        self.amino_acid = nn.Embedding(21, c.trunk_width)
        self.condition_input = condition_input(c.condition, c.trunk_width)
        self.trunk = nn.ModuleList(
            Block(c.trunk_width, c.trunk_heads) for _ in range(c.trunk_layers)
        )
        self.trunk_norm = nn.LayerNorm(c.trunk_width)
        self.structure = None
        if c.structure:
            sizes = (c.structure, c.edge, c.neighbours, c.frames)
            self.structure = StructureInput(c.trunk_width, *sizes)
        self.disordered = None
        if c.disorder:  # zero: a pretrained network starts with unchanged predictions
            self.disordered = nn.Parameter(torch.zeros(c.trunk_width))
        self.to_state = nn.Linear(c.trunk_width, c.width)
        self.to_pair = nn.Linear(c.trunk_width, 2 * c.layers * c.heads * c.pair, bias=False)
        nn.init.normal_(self.to_pair.weight, std=0.02)

    def read_sequence(
        self,
        amino_acids: torch.Tensor,
        padding: torch.Tensor,
        index: torch.Tensor,
        extra: torch.Tensor | None = None,
        condition: torch.Tensor | None = None,
        context: StructureContext | None = None,
    ) -> torch.Tensor:
        """Hidden states [B, L, W] of amino acids and residue index [B, L].

        `padding` [B, 1, 1, L] is an additive attention bias (`padding_bias`). `extra` [B, L, W]
        and the mapped `condition` [B, L, size] are added to the embedded amino acids. The message
        rounds of a structure `context` are spread evenly over the blocks; one precedes the first.
        """
        c = self.config
        if not c.use_sequence:
            amino_acids = torch.full_like(amino_acids, 20)
        x = self.amino_acid(amino_acids)
        if extra is not None:
            x = x + extra
        if condition is not None:
            x = x + self.condition_input(condition)
        angles = rotary_angles(index, c.trunk_width // c.trunk_heads)
        edges = None
        if context is not None and self.structure is not None:
            edges = self.structure.edges(context, index)
            x = self.structure.anchors(x, context, index)
        if context is not None and self.disordered is not None:
            x = x + context.disordered.unsqueeze(-1) * self.disordered
        for number, block in enumerate(self.trunk):
            # Round r of n comes before the first block b with b / blocks >= r / n.
            for r in range(c.structure if edges is not None else 0):
                if -(-r * c.trunk_layers // c.structure) == number:
                    x = self.structure.update(r, x, edges)
            x = block(x, angles, padding)
        return self.trunk_norm(x)

    def pair_factors(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Factors q, k [B, layers * heads, L, pair] of the pairwise attention biases of states x.

        The bias of positions l and m is q_l . k_m; q includes the scaling.
        """
        c = self.config
        b, length, _ = x.shape
        q, k = self.to_pair(x).view(b, length, 2, c.layers * c.heads, c.pair).permute(2, 0, 3, 1, 4)
        return q * c.pair**-0.5, k


def padding_bias(mask: torch.Tensor) -> torch.Tensor:
    """Additive attention bias float32 [B, 1, 1, L] that masks padding (`mask` [B, L] False)."""
    return torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, -1e4)[:, None, None]


def sequence_tensors(
    sequence: str, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Amino acids, mask and residue index [1, L] of a sequence (``:`` between chains)."""
    amino_acids, _, index = (
        torch.as_tensor(values, device=device).unsqueeze(0)
        for values in sequence_layout(parse_sequence(sequence))
    )
    return amino_acids, torch.ones_like(index, dtype=torch.bool), index
