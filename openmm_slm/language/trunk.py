"""The sequence trunk that language models share: one reads its weights from another."""

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
    """Sizes of a `SequenceTrunk` and of the light network that follows it."""

    vocabulary: int = 512
    trunk_width: int = 256
    trunk_layers: int = 6
    trunk_heads: int = 8
    width: int = 160
    layers: int = 3
    heads: int = 5
    pair: int = 16
    use_sequence: bool = True
    condition: int | None = None  # numbers of each residue (see `condition`)
    structure: int = 0  # rounds of messages between residues near in space; 0: sees no structure
    edge: int = 128  # width of these messages
    neighbours: int = 28
    frames: bool = True  # False: told distances of CA only


class SequenceTrunk(nn.Module):
    """Deep self-attention over a sequence; a light network of `width` x `layers` reads it.

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
        """States [B, L, W] of amino acids and residue index [B, L].

        `padding` [B, 1, 1, L] is an additive attention bias (`padding_bias`); `extra` [B, L, W] is
        added to the embedded amino acids, and so is what a `condition` [B, L, size] says. Rounds of
        messages about a `context` are spread evenly over the blocks, the first before the first.
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
        for number, block in enumerate(self.trunk):
            # Round r of n comes before the first block b with b / blocks >= r / n.
            for r in range(c.structure if edges is not None else 0):
                if -(-r * c.trunk_layers // c.structure) == number:
                    x = self.structure.update(r, x, edges)
            x = block(x, angles, padding)
        return self.trunk_norm(x)

    def pair_factors(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Factors [B, layers * heads, L, pair] of pairwise attention biases of states x.

        The bias of positions l and m is the product of row l of the first, which is scaled, with
        row m of the second.
        """
        c = self.config
        b, length, _ = x.shape
        q, k = self.to_pair(x).view(b, length, 2, c.layers * c.heads, c.pair).permute(2, 0, 3, 1, 4)
        return q * c.pair**-0.5, k


def padding_bias(mask: torch.Tensor) -> torch.Tensor:
    """Additive attention bias float32 [B, 1, 1, L] that hides what is not in `mask` [B, L]."""
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
