"""Samplers of masked diffusion, for any network: ancestral, or most confident tokens first.

With P(masked at time m) = m, position l stays masked until its own time u_l ~ U(0, 1). Going from
m_t down to m_s then unmasks each masked position with probability (m_t - m_s) / m_t, as the reverse
process requires. One uniform number per position therefore fixes *when* it is unmasked, and another
*which token* it gets (by inverse transform in float64; float32 Gumbel noise would sharpen the
distribution). These two rows of numbers are all the randomness of a frame, so batching cannot
change it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch


def frame_uniforms(seed: int, frame: int, length: int) -> np.ndarray:
    """Uniform numbers float64 [2, length] of one frame: unmasking times, and token draws."""
    return np.random.Generator(np.random.Philox(key=[seed, frame])).random((2, length))


def token_probabilities(
    logits: torch.Tensor, temperature: float = 1.0, top_p: float = 1.0
) -> torch.Tensor:
    """Sampling distribution float64 [..., V] from logits [..., V]."""
    probability = (logits.double() / temperature).softmax(-1)
    if top_p < 1:
        ranked, order = probability.sort(-1, descending=True)
        # Keep a token if those ranked before it hold less than top_p; at least one is kept.
        ranked = torch.where(ranked.cumsum(-1) - ranked < top_p, ranked, 0.0)
        probability = torch.zeros_like(probability).scatter(-1, order, ranked)
        probability = probability / probability.sum(-1, keepdim=True)
    return probability


def draw(probability: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Sample tokens int64 [n] from probability float64 [n, V] by inverse transform of `uniform`."""
    total = probability.cumsum(-1)
    drawn = torch.searchsorted(total, (uniform * total[:, -1]).unsqueeze(-1), right=True)
    return drawn.squeeze(-1).clamp(max=probability.shape[-1] - 1)


#: Network evaluated at the positions `where`:
#: (tokens int64 [B, L], where bool [B, L], time float64 [B]) -> logits [where.sum(), V].
#: The time is the masked fraction of the schedule. Most networks ignore it, as the tokens imply it.
Denoiser = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
#: (arguments of a denoiser, its logits) -> logits to sample from instead.
Guide = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def guided(
    tokens: torch.Tensor,
    where: torch.Tensor,
    time: torch.Tensor,
    logits: torch.Tensor,
    denoise: Denoiser,
    guidance: float,
) -> torch.Tensor:
    """Guided logits [n, V]: (1 + w) log p - w log p', where p' does not see the sequence."""
    without = denoise(tokens, where, time).log_softmax(-1)
    return (1 + guidance) * logits.log_softmax(-1) - guidance * without


def ancestral_sample(
    denoise: Denoiser,
    known: torch.Tensor,
    uniforms: torch.Tensor,
    mask_token: int,
    steps: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    guide: Guide | None = None,
    end: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample the unknown tokens of a batch by the reverse process.

    Parameters
    ----------
    denoise : Denoiser
    known : Tensor, int64 [B, L]
        Known tokens; -1 where to sample.
    uniforms : Tensor, float64 [2, B, L]
        Unmasking times and token draws (`frame_uniforms`).
    mask_token : int
    steps : int
        Number of equal steps of the masked fraction from 1 to `end`. Steps that unmask nothing are
        skipped.
    temperature, top_p : float
        See `token_probabilities`.
    guide : Guide, optional
        Gives the logits to sample from; log-probabilities remain those of `denoise`.
    end : float
        Final masked fraction. Positions still masked then get their most probable token.

    Returns
    -------
    tokens : Tensor, int64 [B, L]
    log_prob : Tensor, float64 [B]
        Log-probability (temperature 1) of each sampled token at its unmasking, summed.
    """
    when, what = uniforms
    tokens = torch.where(known < 0, mask_token, known)
    log_prob = torch.zeros(len(tokens), dtype=torch.float64, device=tokens.device)
    for step in range(steps, -1 if end else 0, -1):
        now, then = (end + (1 - end) * k / steps for k in (step, step - 1))
        chosen = (tokens == mask_token) & (when >= then if step else when < now)
        if not chosen.any():
            continue
        time = torch.full_like(log_prob, now)
        logits = denoise(tokens, chosen, time)
        drawn_from = guide(tokens, chosen, time, logits) if guide else logits
        if step:
            drawn = draw(token_probabilities(drawn_from, temperature, top_p), what[chosen])
        else:
            drawn = drawn_from.argmax(-1)
        own = logits.double().log_softmax(-1).gather(-1, drawn.unsqueeze(-1)).squeeze(-1)
        log_prob.index_add_(0, chosen.nonzero()[:, 0], own)
        tokens = tokens.clone()
        tokens[chosen] = drawn
    return tokens, log_prob


def confidence_sample(
    denoise: Denoiser,
    known: torch.Tensor,
    uniforms: torch.Tensor,
    mask_token: int,
    steps: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    guide: Guide | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample the unknown tokens of a batch, the most confident first (MaskGIT; Chang et al., 2022).

    Each step draws all masked tokens and keeps the most probable draws; the masked fraction
    follows a cosine schedule, as in ESM3. Because probable tokens are kept first, the samples
    follow a sharper distribution than the model's.

    Parameters and return values are those of `ancestral_sample`. Only the second row of `uniforms`
    is used.
    """
    what, rows = uniforms[1], len(known)
    tokens = torch.where(known < 0, mask_token, known)
    log_prob = torch.zeros(rows, dtype=torch.float64, device=tokens.device)
    number = (known < 0).sum(1)
    for step in range(steps):
        masked = tokens == mask_token
        share = math.cos(math.pi / 2 * (step + 1) / steps)
        keep = masked.sum(1) - (number * share).floor().long() * (step + 1 < steps)
        if not (keep > 0).any():
            continue
        time = masked.double().mean(1)
        logits = denoise(tokens, masked, time)
        # The fractional parts of u + k g (g: golden ratio) are uniform and well spaced over steps.
        uniform = (what[masked] + step * _G) % 1
        drawn_from = guide(tokens, masked, time, logits) if guide else logits
        drawn = draw(token_probabilities(drawn_from, temperature, top_p), uniform)
        own = logits.double().log_softmax(-1).gather(-1, drawn.unsqueeze(-1)).squeeze(-1)
        confidence = torch.full_like(what, -torch.inf)
        confidence[masked] = own
        rank = confidence.argsort(dim=1, descending=True, stable=True).argsort(1)
        chosen = masked & (rank < keep.unsqueeze(1))
        log_prob += torch.where(chosen, confidence, 0.0).sum(1)
        proposed = tokens.masked_scatter(masked, drawn)
        tokens = torch.where(chosen, proposed, tokens)
    return tokens, log_prob


_G = (math.sqrt(5) - 1) / 2
#: Sampling methods of masked diffusion by name.
ORDERS = {"ancestral": ancestral_sample, "confidence": confidence_sample}
