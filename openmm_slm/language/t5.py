"""Encoder-decoder over structure tokens (the S-T5 family).

p(z|c) = prod_l p(z_l | z_<l, c, k). The encoder is the trunk of masked diffusion; it reads each
amino acid with the known token k_l there, or MASK. The decoder's step l receives the token before
it, the encoder's state of position l, attends to the encoder, and to the tokens before it with the
trunk's pairwise biases (those of position l and the position whose token it is).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

from ..networks.transformer import Block, attention, rotary, rotary_angles
from .causal import Cache, attend, causal_bias, init_known, previous_tokens
from .structure_context import StructureContext
from .trunk import SequenceTrunk, TrunkConfig, padding_bias


@dataclass(frozen=True)
class T5Config(TrunkConfig):
    """Sizes of a `T5` network."""


class CrossAttention(nn.Module):
    """Attention of a decoder's positions to an encoder's, with rotary positions.

    Parameters
    ----------
    width, heads : int
        Of the decoder.
    encoder_width : int
    """

    def __init__(self, width: int, heads: int, encoder_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(encoder_width, 2 * width, bias=False)
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def read(self, x: torch.Tensor, angles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values [B, H, L, C] of encoder states [B, L, W]."""
        b, length, _ = x.shape
        key, value = self.kv(x).view(b, length, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        return rotary(key, angles), value

    def query(self, x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
        """Queries [B, H, L, C]."""
        q = self.q(self.norm(x)).unflatten(-1, (self.heads, -1))
        return rotary(q.transpose(1, 2), angles)

    def update(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """x [B, L, D] after the attended values y [B, H, L, C]."""
        return x + self.out(y.transpose(1, 2).flatten(2))


@dataclass
class Memory:
    """What the encoder says of B sequences.

    Attributes
    ----------
    state : Tensor [B, L, D]
        Added to the decoder's input, position by position.
    cross : list of (Tensor, Tensor) [B, H, L, C]
        Keys and values of each decoder layer.
    pair : tuple of Tensor [layers, B, H, L, pair]
        Factors of the biases of the decoder's self-attention.
    padding : Tensor [B, 1, 1, L]
        Attention bias that hides the encoder's padding.
    angles : Tensor [B, L, C/2]
    """

    state: torch.Tensor
    cross: list[tuple[torch.Tensor, torch.Tensor]]
    pair: tuple[torch.Tensor, torch.Tensor]
    padding: torch.Tensor
    angles: torch.Tensor


class T5(SequenceTrunk):
    """Sequence encoder and token decoder.

    Parameters
    ----------
    config : T5Config
    """

    kind = "t5"
    config_class = T5Config

    def __init__(self, config: T5Config | None = None) -> None:
        super().__init__(config or T5Config())
        c = self.config
        self.known_token = nn.Embedding(c.vocabulary + 1, c.trunk_width)
        self.token = nn.Embedding(c.vocabulary + 1, c.width)
        self.cross = nn.ModuleList(
            CrossAttention(c.width, c.heads, c.trunk_width) for _ in range(c.layers)
        )
        self.decoder = nn.ModuleList(Block(c.width, c.heads) for _ in range(c.layers))
        self.head = nn.Sequential(nn.LayerNorm(c.width), nn.Linear(c.width, c.vocabulary))
        nn.init.normal_(self.token.weight, std=0.5)
        init_known(self.known_token)

    def read(
        self,
        amino_acids: torch.Tensor,
        mask: torch.Tensor,
        index: torch.Tensor,
        known: torch.Tensor,
        condition: torch.Tensor | None = None,
        context: StructureContext | None = None,
    ) -> Memory:
        """Encode amino acids, mask, residue index, known tokens (-1: none) [B, L], condition.

        `context`: what is known of the structure.
        """
        c = self.config
        padding = padding_bias(mask)
        known = torch.where(known < 0, c.vocabulary, known)
        extra = self.known_token(known)
        x = self.read_sequence(amino_acids, padding, index, extra, condition, context)
        angles = rotary_angles(index, c.width // c.heads)
        q, k = (y.unflatten(1, (c.layers, c.heads)).transpose(0, 1) for y in self.pair_factors(x))
        # The decoder's slot m holds the token of position m - 1 (none: no bias).
        k = F.pad(k, (0, 0, 1, 0))[..., :-1, :]
        cross = [cross.read(x, angles) for cross in self.cross]
        return Memory(self.to_state(x), cross, (q, k), padding, angles)

    def hidden(self, memory: Memory, tokens: torch.Tensor) -> torch.Tensor:
        """States [B, L, D], each from the tokens before it; `head` turns them into logits.

        tokens int64 [B, L], -1 where there is none; a memory of one sequence serves all rows.
        """
        x = self.token(previous_tokens(tokens, self.config.vocabulary)) + memory.state
        later = causal_bias(x.shape[1], x.device)
        for cross, block, (key, value), q, k in zip(
            self.cross, self.decoder, memory.cross, *memory.pair, strict=True
        ):
            query = cross.query(x, memory.angles)
            key, value = (y.expand(len(x), -1, -1, -1) for y in (key, value))
            x = cross.update(x, attention(query, key, value, memory.padding))
            bias = q @ k.transpose(-1, -2) + later
            x = block.update(x, attention(*block.project(x, memory.angles), bias))
        return x

    def begin(self, memory: Memory, rows: int) -> Cache:
        """Room for the keys and values of `rows` sequences of tokens."""
        c = self.config
        shape = (rows, c.heads, memory.state.shape[1], c.width // c.heads)
        return Cache(c.layers, shape, memory.state.device)

    def step(
        self, memory: Memory, cache: Cache, position: int, previous: torch.Tensor
    ) -> torch.Tensor:
        """Logits [B, V] of a position from the tokens int64 [B] before it (V: none)."""
        x = self.token(previous).unsqueeze(1) + memory.state[:, position : position + 1]
        angles = memory.angles[:, position : position + 1]
        for layer, (cross, block) in enumerate(zip(self.cross, self.decoder, strict=True)):
            x = cross.update(x, attend(cross.query(x, angles), memory.cross[layer]))
            query, key, value = block.project(x, angles)
            q, k = (factor[layer] for factor in memory.pair)
            bias = torch.einsum("bhc,bhmc->bhm", q[:, :, position], k[:, :, : position + 1])
            passed = cache.extend(layer, position, key, value)
            x = block.update(x, attend(query, passed, bias=bias))
        return self.head(x[:, 0])
