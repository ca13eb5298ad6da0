"""Building blocks of autoregressive networks: causal mask, key-value cache, cross entropy."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F


class Cache:
    """Key-value cache: keys and values [B, H, N, C] of the previous positions, for each layer."""

    def __init__(self, layers: int, shape: tuple[int, int, int, int], device: torch.device) -> None:
        self.keys = [torch.empty(shape, device=device) for _ in range(layers)]
        self.values = [torch.empty(shape, device=device) for _ in range(layers)]

    def extend(
        self, layer: int, position: int, key: torch.Tensor, value: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store key and value [B, H, 1, C]; return all up to `position`: [B, H, N, C]."""
        keys, values = self.keys[layer], self.values[layer]
        keys[:, :, position] = key[:, :, 0]
        values[:, :, position] = value[:, :, 0]
        return keys[:, :, : position + 1], values[:, :, : position + 1]

    def fill(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> None:
        """Store keys and values [b, H, N, C] of the first N positions.

        Each of the b rows is of B / b consecutive rows of the cache.
        """
        for stored, given in ((self.keys[layer], key), (self.values[layer], value)):
            times = len(stored) // len(given)
            stored[:, :, : given.shape[2]] = given.repeat_interleave(times, 0)


def attend(
    query: torch.Tensor,
    *sources: tuple[torch.Tensor, torch.Tensor],
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attention of one position, query [B, H, 1, C], to keys and values [B or 1, H, M, C].

    A source with batch size 1 (a sequence without known tokens) is shared by all rows without
    copies. `bias` [B or 1, H, M] is added to the scores of the first source.
    """
    q = query[:, :, 0] * query.shape[-1] ** -0.5
    scores = [_product("bhc", "mc", "bhm", q, keys) for keys, _ in sources]
    if bias is not None:
        scores[0] = scores[0] + bias
    shares = torch.cat(scores, -1).softmax(-1).split([s.shape[-1] for s in scores], -1)
    parts = [
        _product("bhm", "mc", "bhc", share, values)
        for share, (_, values) in zip(shares, sources, strict=True)
    ]
    return sum(parts[1:], parts[0]).unsqueeze(2)


def _product(rows: str, matrix: str, out: str, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Einsum of x [B, H, .] and y [B or 1, H, M, C]."""
    if len(y) == 1:
        return torch.einsum(f"{rows},h{matrix}->{out}", x, y[0])
    return torch.einsum(f"{rows},bh{matrix}->{out}", x, y)


def causal_bias(length: int, device: torch.device) -> torch.Tensor:
    """Additive attention bias [1, 1, L, L] that hides later positions."""
    return torch.full((1, 1, length, length), -1e4, device=device).triu(1)


def previous_tokens(tokens: torch.Tensor, start: int) -> torch.Tensor:
    """Tokens [B, L] shifted right by one; `start` at the first position and for -1."""
    moved = F.pad(tokens, (1, 0), value=start)[:, :-1]
    return torch.where(moved < 0, start, moved)


@torch.no_grad()
def init_known(embedding: nn.Embedding) -> None:
    """Initialise the embedding of known tokens: random codes, zero for MASK (the last row).

    With zero for MASK, a trunk trained without known tokens is unchanged at first. Zero codes
    would get no gradient while the branches that carry them are also zero.
    """
    nn.init.normal_(embedding.weight, std=0.5)
    embedding.weight[-1] = 0


def sum_of_nats(logits: torch.Tensor, targets: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Cross entropy of logits [counted.sum(), V] and targets [B, L], summed over each row: [B]."""
    each = F.cross_entropy(logits.float(), targets[counted], reduction="none")
    total = torch.zeros(len(targets), device=targets.device)
    return total.index_add(0, counted.nonzero()[:, 0], each)
