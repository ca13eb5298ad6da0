"""Parts of networks that go from left to right: causal mask, cache of keys and values, nats."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F


class Cache:
    """Keys and values of the positions passed so far, a pair of [B, H, N, C] for each layer."""

    def __init__(self, layers: int, shape: tuple[int, int, int, int], device: torch.device) -> None:
        self.keys = [torch.empty(shape, device=device) for _ in range(layers)]
        self.values = [torch.empty(shape, device=device) for _ in range(layers)]

    def extend(
        self, layer: int, position: int, key: torch.Tensor, value: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store key and value [B, H, 1, C] of a position; all up to it [B, H, position + 1, C]."""
        keys, values = self.keys[layer], self.values[layer]
        keys[:, :, position] = key[:, :, 0]
        values[:, :, position] = value[:, :, 0]
        return keys[:, :, : position + 1], values[:, :, : position + 1]


def attend(
    query: torch.Tensor,
    *sources: tuple[torch.Tensor, torch.Tensor],
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attention of one position, query [B, H, 1, C], to keys and values [B or 1, H, M, C].

    Sources that all rows share (the sequence, where no token is known) are read once. `bias`
    [B or 1, H, M] is that of the first source.
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
    """Einstein sum of x [B, H, .] and y [B or 1, H, M, C]."""
    if len(y) == 1:
        return torch.einsum(f"{rows},h{matrix}->{out}", x, y[0])
    return torch.einsum(f"{rows},bh{matrix}->{out}", x, y)


def causal_bias(length: int, device: torch.device) -> torch.Tensor:
    """Additive attention bias [1, 1, L, L] that hides later positions."""
    return torch.full((1, 1, length, length), -1e4, device=device).triu(1)


def previous_tokens(tokens: torch.Tensor, start: int) -> torch.Tensor:
    """Tokens [B, L] moved one to the right; `start` at the first position and where absent."""
    moved = F.pad(tokens, (1, 0), value=start)[:, :-1]
    return torch.where(moved < 0, start, moved)


@torch.no_grad()
def init_known(embedding: nn.Embedding) -> None:
    """Known tokens differ from the start, and MASK, the last, adds nothing.

    A trunk that has learned without known tokens starts as it was. Were all zero, no gradient
    would tell them apart while the branches that carry them are zero as well.
    """
    nn.init.normal_(embedding.weight, std=0.5)
    embedding.weight[-1] = 0


def sum_of_nats(logits: torch.Tensor, targets: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Cross entropy of logits [counted.sum(), V] to targets [B, L], summed over rows: [B]."""
    each = F.cross_entropy(logits.float(), targets[counted], reduction="none")
    total = torch.zeros(len(targets), device=targets.device)
    return total.index_add(0, counted.nonzero()[:, 0], each)
