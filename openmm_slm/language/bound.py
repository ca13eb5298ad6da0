"""Loss of masked diffusion: the negative evidence bound, sampled by the number of masked tokens.

The continuous-time bound E_t[1/t sum over masked l of -log u_l(z_l | z_t, c)], with t ~ U(0, 1)
and each token masked with probability t, equals

    E_k [ L/k * sum over the k masked l of -log u_l(z_l | z_t, c) ],   k ~ U{1..L},

with the k masked positions drawn uniformly: given k, all subsets are equally likely, and
integrating t^(k-1) (1-t)^(L-k) over t gives subset size k the weight 1/k (Ou et al., 2024). In
this form every draw masks at least one token, no weight exceeds L, and the variance is lower. The
mean is the entropy for a denoiser with the true conditionals, and larger for any other.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F


def mask_by_count(
    present: torch.Tensor, share: torch.Tensor, generator: torch.Generator | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mask k random tokens of each row.

    Parameters
    ----------
    present : Tensor, bool [B, L]
        False where there is no token.
    share : Tensor [B]
        Number in [0, 1) that sets k = 1 + floor(share * number of tokens). Uniform numbers give a
        uniform k.
    generator : torch.Generator, optional
        Random generator on the device; default torch's global one, shared by all threads.

    Returns
    -------
    masked : Tensor, bool [B, L]
        k tokens of each row; all subsets are equally likely.
    weight : Tensor, float32 [B]
        Number of tokens / k.
    """
    number = present.sum(1)
    k = torch.minimum((share.double() * number).floor().long() + 1, number)
    order = torch.rand(present.shape, device=present.device, generator=generator)
    order = order.masked_fill(~present, 2.0)
    rank = order.argsort(1).argsort(1)
    return rank < k.unsqueeze(1), number / k.clamp(min=1)


def negative_bound(
    denoise: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    tokens: torch.Tensor,
    present: torch.Tensor,
    share: torch.Tensor,
    mask_token: int,
    masked: torch.Tensor | None = None,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Single-sample estimate of the negative bound (nats) of each row.

    Parameters
    ----------
    denoise : callable (tokens int64 [B, L], where bool [B, L]) -> logits [where.sum(), V]
        The network, evaluated at the positions `where`.
    tokens : Tensor, int64 [B, L]
    present : Tensor, bool [B, L]
        False where there is no token to learn; the denoiser sees `mask_token` there.
    share : Tensor [B]
        Sets the number of masked tokens (see `mask_by_count`).
    mask_token : int
    masked : Tensor, bool [B, L], optional
        Positions to mask instead of random ones, for rows that have any.
    generator : torch.Generator, optional
        See `mask_by_count`.

    Returns
    -------
    Tensor, float32 [B]
        The mean over uniform `share` and random masks is an upper bound of -log p(z|c).
    """
    drawn, weight = mask_by_count(present, share, generator)
    if masked is not None:
        given = masked.sum(1)
        weight = torch.where(given > 0, present.sum(1) / given.clamp(min=1), weight)
        drawn = torch.where(given.unsqueeze(1) > 0, masked, drawn)
    masked = drawn
    logits = denoise(torch.where(masked | ~present, mask_token, tokens), masked).float()
    each = F.cross_entropy(logits, tokens[masked], reduction="none")
    total = torch.zeros(len(tokens), device=tokens.device)
    return total.index_add(0, masked.nonzero()[:, 0], each) * weight
