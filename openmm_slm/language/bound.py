"""The negative bound of masked diffusion, by masked count, apart from any network.

The continuous-time bound E_t[1/t sum over masked l of -log u_l(z_l | z_t, c)], t ~ U(0, 1), each
token masked with probability t, is the same as

    E_k [ L/k * sum over the k masked l of -log u_l(z_l | z_t, c) ],   k ~ U{1..L},

with the k masked positions drawn uniformly: given k, all subsets are equally likely, and the
integral over t of t^(k-1) (1-t)^(L-k) leaves each subset size the weight 1/k (Ou et al., 2024). No
draw is wasted on nothing masked, no weight exceeds L, and the estimate varies less. For a denoiser
that knows the true conditionals its mean is the entropy; for any other it is larger.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F


def mask_by_count(
    present: torch.Tensor, share: torch.Tensor, generator: torch.Generator | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mask a number of tokens of each row.

    Parameters
    ----------
    present : Tensor, bool [B, L]
        Tokens there are.
    share : Tensor [B]
        In [0, 1): k = 1 + floor(share * number present); uniform numbers give k uniform in 1..L.
    generator : torch.Generator, optional
        Of the device; default torch's own, which all threads share.

    Returns
    -------
    masked : Tensor, bool [B, L]
        k of the tokens present, all subsets equally likely.
    weight : Tensor, float32 [B]
        Number present / k.
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
    """One draw of the negative bound (nats) of each row.

    Parameters
    ----------
    denoise : callable (tokens int64 [B, L], where bool [B, L]) -> logits [where.sum(), V]
        The network, evaluated where asked.
    tokens : Tensor, int64 [B, L]
    present : Tensor, bool [B, L]
        False where there is no token to learn; the denoiser sees `mask_token` there.
    share : Tensor [B]
        Says how many are masked (see `mask_by_count`).
    mask_token : int
    masked : Tensor, bool [B, L], optional
        Rows with any are masked there instead.
    generator : torch.Generator, optional
        See `mask_by_count`.

    Returns
    -------
    Tensor, float32 [B]
        Its mean over uniform `share` and maskings bounds -log p(z|c) from above.
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
