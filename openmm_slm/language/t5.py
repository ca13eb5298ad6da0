"""Encoder-decoder network over structure tokens (the S-T5 family).

p(z|c) = prod_l p(z_l | z_<l, c, k). The encoder is the trunk of masked diffusion; its input at each
position is the amino acid and the known token k_l, or MASK. Step l of the decoder gets the previous
token and the encoder state of position l. It attends to the encoder, and to the previous tokens
with pairwise biases from the trunk (between position l and the position of the token).
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
    """Attention of decoder positions to encoder positions, with rotary embedding.

    Parameters
    ----------
    width, heads : int
        Width and heads of the decoder.
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
        """Queries [B, H, L, C] of decoder states [B, L, D]."""
        q = self.q(self.norm(x)).unflatten(-1, (self.heads, -1))
        return rotary(q.transpose(1, 2), angles)

    def update(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Add the attention output y [B, H, L, C] to x [B, L, D]."""
        return x + self.out(y.transpose(1, 2).flatten(2))


@dataclass
class Memory:
    """Output of the encoder for B sequences.

    Attributes
    ----------
    state : Tensor [B, L, D]
        Added to the decoder input at each position.
    cross : list of (Tensor, Tensor) [B, H, L, C]
        Cross-attention keys and values of each decoder layer.
    pair : tuple of Tensor [layers, B, H, L, pair]
        Factors of the attention biases of the decoder (see `SequenceTrunk.pair_factors`).
    padding : Tensor [B, 1, 1, L]
        Attention bias that masks the encoder's padding.
    angles : Tensor [B, L, C/2]
        Rotary angles.
    """

    state: torch.Tensor
    cross: list[tuple[torch.Tensor, torch.Tensor]]
    pair: tuple[torch.Tensor, torch.Tensor]
    padding: torch.Tensor
    angles: torch.Tensor

    def repeated(self, times: int) -> Memory:
        """Each row so many times."""
        return Memory(
            self.state.repeat_interleave(times, 0),
            [tuple(x.repeat_interleave(times, 0) for x in pair) for pair in self.cross],
            tuple(x.repeat_interleave(times, 1) for x in self.pair),
            self.padding.repeat_interleave(times, 0),
            self.angles.repeat_interleave(times, 0),
        )


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
        """Encode amino acids, mask, residue index, known tokens (-1: unknown), all [B, L].

        The condition is [B, L, size], or None; `context` is the known structure, or None.
        """
        c = self.config
        padding = padding_bias(mask)
        known = torch.where(known < 0, c.vocabulary, known)
        extra = self.known_token(known)
        x = self.read_sequence(amino_acids, padding, index, extra, condition, context)
        angles = rotary_angles(index, c.width // c.heads)
        q, k = (y.unflatten(1, (c.layers, c.heads)).transpose(0, 1) for y in self.pair_factors(x))
        # Slot m of the decoder holds the token of position m - 1; slot 0 has no bias.
        k = F.pad(k, (0, 0, 1, 0))[..., :-1, :]
        cross = [cross.read(x, angles) for cross in self.cross]
        return Memory(self.to_state(x), cross, (q, k), padding, angles)

    def hidden(
        self, memory: Memory, tokens: torch.Tensor, cache: Cache | None = None
    ) -> torch.Tensor:
        """Hidden states [B, N, D]; `head` maps them to logits.

        The state of a position depends on the tokens before it. Tokens int64 [B, N] of the first N
        positions are -1 where absent. A memory of batch size 1 is shared by all rows. Keys and
        values of these positions are stored in the `cache`.
        """
        length = tokens.shape[1]
        x = self.token(previous_tokens(tokens, self.config.vocabulary)) + memory.state[:, :length]
        later, angles = causal_bias(length, x.device), memory.angles[:, :length]
        for layer, (cross, block, memory_kv, q, k) in enumerate(
            zip(self.cross, self.decoder, memory.cross, *memory.pair, strict=True)
        ):
            query = cross.query(x, angles)
            key, value = (y.expand(len(x), -1, -1, -1) for y in memory_kv)
            x = cross.update(x, attention(query, key, value, memory.padding))
            bias = q[:, :, :length] @ k[:, :, :length].transpose(-1, -2) + later
            query, key, value = block.project(x, angles)
            if cache is not None:
                cache.fill(layer, key, value)
            x = block.update(x, attention(query, key, value, bias))
        return x

    def begin(self, memory: Memory, rows: int) -> Cache:
        """Empty key-value cache for `rows` token sequences."""
        c = self.config
        shape = (rows, c.heads, memory.state.shape[1], c.width // c.heads)
        return Cache(c.layers, shape, memory.state.device)

    def step(
        self, memory: Memory, cache: Cache, position: int, previous: torch.Tensor
    ) -> torch.Tensor:
        """Logits [B, V] of a position, given the previous tokens int64 [B] (V: no token)."""
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
