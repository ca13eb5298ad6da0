"""Decoder-only network over sequence and structure tokens (the S-GPT family).

p([c, z]) = prod_l p(c_l | c_<l) prod_l p(z_l | z_<l, c, k) over 2L + 1 slots [c, SEP, z] of one
causal network. Slots 0 (start) to L - 1 predict the amino acids, slots L + 1 (SEP) to 2L the
tokens. A slot of the second half also gets the amino acid and the rotary position of its residue,
which aligns the halves. For infilling, the first half carries the known tokens k_l, or MASK; it
predicts amino acids only if no token is known.

A condition is added to the amino acids in both halves. Embeddings of a sequence reveal the amino
acids, so a network with a condition has no p(c).

The halves run one after the other: the second attends to the keys and values of the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn as nn

from ..networks.transformer import Block, attention, rotary_angles
from .causal import Cache, attend, causal_bias, init_known, previous_tokens, sum_of_nats
from .condition_input import condition_input
from .trunk import padding_bias


@dataclass(frozen=True)
class GPTConfig:
    """Sizes of a `GPT` network."""

    vocabulary: int = 512
    width: int = 192
    layers: int = 8
    heads: int = 6
    use_sequence: bool = True
    condition: int | None = None  # numbers per residue (see `condition`)


@dataclass
class Memory:
    """Output of the first half for B sequences, as the second half needs it.

    Attributes
    ----------
    amino_acid : Tensor [B, L, D]
        Embedded amino acids, added to the input of the second half.
    keys, values : list of Tensor [B, H, L + 1, C]
        Keys and values of each layer.
    padding : Tensor [B, 1, 1, L + 1]
        Attention bias that masks the padding of the first half.
    angles : Tensor [B, L, C/2]
        Rotary angles of the residues.
    states : Tensor [B, L, D]
        Input of `amino_acid_head`, which predicts the amino acids.
    """

    amino_acid: torch.Tensor
    keys: list[torch.Tensor]
    values: list[torch.Tensor]
    padding: torch.Tensor
    angles: torch.Tensor
    states: torch.Tensor

    def repeated(self, times: int) -> Memory:
        """Each row so many times."""
        return Memory(
            self.amino_acid.repeat_interleave(times, 0),
            [x.repeat_interleave(times, 0) for x in self.keys],
            [x.repeat_interleave(times, 0) for x in self.values],
            self.padding.repeat_interleave(times, 0),
            self.angles.repeat_interleave(times, 0),
            self.states.repeat_interleave(times, 0),
        )


class GPT(nn.Module):
    """Causal transformer over [c, SEP, z].

    Parameters
    ----------
    config : GPTConfig
    """

    kind = "gpt"
    config_class = GPTConfig

    def __init__(self, config: GPTConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or GPTConfig()
        self.start = nn.Parameter(torch.zeros(c.width))
        self.amino_acid = nn.Embedding(21, c.width)
        self.condition_input = condition_input(c.condition, c.width)
        self.known_token = nn.Embedding(c.vocabulary + 1, c.width)
        self.token = nn.Embedding(c.vocabulary + 1, c.width)
        # Named as the trunk of the other families, so that their weights can initialise it.
        self.trunk = nn.ModuleList(Block(c.width, c.heads) for _ in range(c.layers))
        self.amino_acid_head = nn.Sequential(nn.LayerNorm(c.width), nn.Linear(c.width, 20))
        self.head = nn.Sequential(nn.LayerNorm(c.width), nn.Linear(c.width, c.vocabulary))
        nn.init.normal_(self.token.weight, std=0.5)
        init_known(self.known_token)

    def embed(self, amino_acids: torch.Tensor) -> torch.Tensor:
        """Embed amino acids [B, L] as [B, L, D]; a network without sequence sees only X."""
        if not self.config.use_sequence:
            amino_acids = torch.full_like(amino_acids, 20)
        return self.amino_acid(amino_acids)

    def first_half(self, embedded: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Input [B, L + 1, D]: embedded amino acids [B, L, D] plus known tokens (-1: unknown)."""
        x = embedded + self.known_token(torch.where(known < 0, self.config.vocabulary, known))
        return torch.cat([self.start.expand(len(x), 1, -1), x], 1)

    def first_angles(self, index: torch.Tensor) -> torch.Tensor:
        """Rotary angles [B, L + 1, C/2] of the first half; the start precedes residue 0."""
        position = torch.cat([index[:, :1] - 1, index], 1)
        return rotary_angles(position, self.config.width // self.config.heads)

    def read(
        self,
        amino_acids: torch.Tensor,
        mask: torch.Tensor,
        index: torch.Tensor,
        known: torch.Tensor,
        condition: torch.Tensor | None = None,
    ) -> Memory:
        """Run the first half.

        Parameters
        ----------
        amino_acids, mask, index : Tensor [B, L]
        known : Tensor, int64 [B, L]
            Known tokens; -1 where unknown.
        condition : Tensor [B, L, size], optional
            With a condition, `Memory.states` do not give probabilities of amino acids.
        """
        embedded = self.embed(amino_acids)
        if condition is not None:
            embedded = embedded + self.condition_input(condition)
        x, angles = self.first_half(embedded, known), self.first_angles(index)
        later = causal_bias(x.shape[1], x.device)
        keys, values = [], []
        for block in self.trunk:
            q, k, v = block.project(x, angles)
            keys.append(k)
            values.append(v)
            x = block.update(x, attention(q, k, v, later))
        padding = padding_bias(torch.cat([mask[:, :1], mask], 1))
        return Memory(embedded, keys, values, padding, angles[:, 1:], x[:, :-1])

    def hidden(
        self, memory: Memory, tokens: torch.Tensor, cache: Cache | None = None
    ) -> torch.Tensor:
        """Hidden states [B, N, D] of the second half; `head` maps them to logits.

        The state of a position depends on the tokens before it. Tokens int64 [B, N] of the first N
        positions are -1 where absent. A memory of batch size 1 is shared by all rows. Keys and
        values of these positions are stored in the `cache`.
        """
        rows, length = tokens.shape
        before = previous_tokens(tokens, self.config.vocabulary)
        x = self.token(before) + memory.amino_acid[:, :length]
        later = causal_bias(length, x.device)
        bias = torch.cat(
            [
                memory.padding.expand(rows, -1, length, -1),
                later.expand(rows, -1, -1, -1),
            ],
            -1,
        )
        for layer, (block, first_k, first_v) in enumerate(
            zip(self.trunk, memory.keys, memory.values, strict=True)
        ):
            q, k, v = block.project(x, memory.angles[:, :length])
            if cache is not None:
                cache.fill(layer, k, v)
            k = torch.cat([first_k.expand(rows, -1, -1, -1), k], 2)
            v = torch.cat([first_v.expand(rows, -1, -1, -1), v], 2)
            x = block.update(x, attention(q, k, v, bias))
        return x

    def amino_acid_nats(
        self, memory: Memory, amino_acids: torch.Tensor, counted: torch.Tensor
    ) -> torch.Tensor:
        """Sum, float32 [B], of -log p of the amino acids [B, L] where `counted` [B, L]."""
        return sum_of_nats(self.amino_acid_head(memory.states[counted]), amino_acids, counted)

    def begin(self, memory: Memory, rows: int) -> Cache:
        """Empty key-value cache for the second half of `rows` sequences."""
        return self._cache(rows, memory.amino_acid.shape[1])

    def _cache(self, rows: int, slots: int) -> Cache:
        c = self.config
        return Cache(c.layers, (rows, c.heads, slots, c.width // c.heads), self.start.device)

    def step(
        self, memory: Memory, cache: Cache, position: int, previous: torch.Tensor
    ) -> torch.Tensor:
        """Logits [B, V] of a position, given the previous tokens int64 [B] (V: no token)."""
        here = slice(position, position + 1)
        x = self.token(previous).unsqueeze(1) + memory.amino_acid[:, here]
        for layer, block in enumerate(self.trunk):
            q, k, v = block.project(x, memory.angles[:, here])
            first = memory.keys[layer], memory.values[layer]
            x = block.update(x, attend(q, first, cache.extend(layer, position, k, v)))
        return self.head(x[:, 0])

    def draw_sequence(
        self, index: torch.Tensor, choose: Callable[[int, torch.Tensor], torch.Tensor]
    ) -> Memory:
        """Run the first half one amino acid at a time, without known tokens.

        Parameters
        ----------
        index : Tensor, int64 [B, L]
            Residue index.
        choose : callable (position, logits [B, 20]) -> amino acids int64 [B]
            Samples the amino acid of a position.
        """
        rows, length = index.shape
        cache, angles = self._cache(rows, length + 1), self.first_angles(index)
        none = torch.full_like(index, -1)
        embedded, states = [], []
        for slot in range(length + 1):
            if slot == 0:
                x = self.start.expand(rows, 1, -1)
            else:
                amino_acid = choose(slot - 1, self.amino_acid_head(states[-1])[:, 0])
                embedded.append(self.embed(amino_acid.unsqueeze(1)))
                x = self.first_half(embedded[-1], none[:, :1])[:, 1:]
            for layer, block in enumerate(self.trunk):
                q, k, v = block.project(x, angles[:, slot : slot + 1])
                x = block.update(x, attend(q, cache.extend(layer, slot, k, v)))
            states.append(x)
        padding = torch.zeros(rows, 1, 1, length + 1, device=index.device)
        return Memory(
            torch.cat(embedded, 1),
            cache.keys,
            cache.values,
            padding,
            angles[:, 1:],
            torch.cat(states[:-1], 1),
        )
