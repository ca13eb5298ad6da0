"""ESM3's iterative decoding (Hayes et al., 2025), in batches.

After step k of N, the fraction cos(pi (k + 1) / 2 N) of the tokens to sample is still masked. The
temperature falls from T^2 to (T - 1)^2. The number of steps of a frame is at most the number of
its tokens to sample, so each frame is decoded as it would be alone.
"""

from __future__ import annotations

import functools
import math

import torch

from .sampling import Denoiser, Guide, draw

_COLDEST = 0.001


def still_masked(step: torch.Tensor, steps: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    """Number of tokens, int64 [B], of `total` masked after step `step` (from 0) of `steps`."""
    share = torch.cos(0.5 * math.pi * (step + 1) / steps.clamp(min=1))
    return (share * total + 0.1).long().clamp(min=0)


def annealed(temperature: float, step: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    """Temperature of step `step` of `steps`, float64 [B]."""
    ratio = step / (steps - 1).clamp(min=1).double()
    return (temperature - ratio).clamp(min=_COLDEST) ** 2


def nucleus(logits: torch.Tensor, top_p: float) -> torch.Tensor:
    """Log-probabilities float64 [n, V]; -inf except for the most probable tokens up to `top_p`.

    As in ESM3, the token that would exceed `top_p` is excluded, and the temperature is applied
    afterwards. At least one token is kept.
    """
    log_p = logits.double().log_softmax(-1)
    if top_p < 1:
        ranked, order = log_p.sort(-1, descending=True)
        keep = ranked.exp().cumsum(-1) <= top_p
        keep[..., 0] = True
        log_p = log_p.masked_fill(~torch.zeros_like(keep).scatter(-1, order, keep), -torch.inf)
    return log_p


def iterative_sample(
    denoise: Denoiser,
    known: torch.Tensor,
    uniforms: torch.Tensor,
    mask_token: int,
    steps: int,
    temperature: float,
    top_p: float,
    guide: Guide | None = None,
    *,
    least_entropy: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample the unknown tokens of a batch as ESM3 does.

    Parameters and return values are those of `sampling.ancestral_sample`. Tokens are unmasked in
    the order of the first uniform numbers. With `least_entropy`, those with the lowest entropy are
    unmasked first, at constant temperature.
    """
    when, what = uniforms
    tokens = torch.where(known < 0, mask_token, known)
    log_prob = torch.zeros(len(tokens), dtype=torch.float64, device=tokens.device)
    total = (known < 0).sum(1)
    number = total.clamp(max=steps)
    for step in range(int(number.max()) if len(number) else 0):
        masked = tokens == mask_token
        k = torch.full_like(number, step)
        leave = torch.where(k < number, still_masked(k, number, total), 0)
        time = masked.double().mean(1)
        if least_entropy:
            logits = denoise(tokens, masked, time)
            drawn_from = nucleus(guide(tokens, masked, time, logits) if guide else logits, top_p)
            entropy = torch.special.entr(drawn_from.exp()).sum(-1)
            key = torch.full_like(when, torch.inf).masked_scatter(masked, entropy)
        else:
            key = when.masked_fill(~masked, torch.inf)
        rank = key.argsort(dim=1, stable=True).argsort(1)
        chosen = masked & (rank < (masked.sum(1) - leave).unsqueeze(1))
        if not chosen.any():
            continue
        if least_entropy:
            logits, drawn_from = logits[chosen[masked]], drawn_from[chosen[masked]]
            heat = torch.full_like(log_prob, temperature)
        else:
            logits = denoise(tokens, chosen, time)
            drawn_from = nucleus(guide(tokens, chosen, time, logits) if guide else logits, top_p)
            heat = annealed(temperature, k, number)
        heat = heat.unsqueeze(1).expand_as(when)[chosen]
        drawn = draw((drawn_from / heat.unsqueeze(1)).softmax(-1), what[chosen])
        own = logits.double().log_softmax(-1).gather(-1, drawn.unsqueeze(-1)).squeeze(-1)
        log_prob.index_add_(0, chosen.nonzero()[:, 0], own)
        tokens = tokens.masked_scatter(chosen, drawn)
    return tokens, log_prob


entropy_sample = functools.partial(iterative_sample, least_entropy=True)
