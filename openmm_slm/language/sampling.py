"""Sampling of masked diffusion, apart from any network: ancestral, or most confident first.

With P(masked at time m) = m, position l stays masked until its own time u_l ~ U(0, 1): going from
m_t down to m_s unmasks each masked position with probability (m_t - m_s) / m_t, which is the
reverse process. So one uniform number per position fixes *when* it is unmasked, another *what* it
becomes (inverse transform in float64, which does not sharpen the distribution as float32 Gumbel
noise does), and a frame's randomness is two rows of numbers that no batching can change.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch


def frame_uniforms(seed: int, frame: int, length: int) -> np.ndarray:
    """Uniform numbers float64 [2, length] of one frame: when, and what."""
    return np.random.Generator(np.random.Philox(key=[seed, frame])).random((2, length))


def token_probabilities(
    logits: torch.Tensor, temperature: float = 1.0, top_p: float = 1.0
) -> torch.Tensor:
    """Sampling distribution float64 [..., V] of logits [..., V]."""
    probability = (logits.double() / temperature).softmax(-1)
    if top_p < 1:
        ranked, order = probability.sort(-1, descending=True)
        # Keep a token while those before it hold less than top_p: at least one is kept.
        ranked = torch.where(ranked.cumsum(-1) - ranked < top_p, ranked, 0.0)
        probability = torch.zeros_like(probability).scatter(-1, order, ranked)
        probability = probability / probability.sum(-1, keepdim=True)
    return probability


def draw(probability: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Inverse transform: probability float64 [n, V], uniform [n] -> tokens int64 [n]."""
    total = probability.cumsum(-1)
    drawn = torch.searchsorted(total, (uniform * total[:, -1]).unsqueeze(-1), right=True)
    return drawn.squeeze(-1).clamp(max=probability.shape[-1] - 1)


#: (tokens int64 [B, L], where bool [B, L], time float64 [B]) -> logits [where.sum(), V]: a network,
#: evaluated where asked. The time is the share of positions that are masked, by the schedule; the
#: state tells it too, and most networks leave it.
Denoiser = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
#: As a denoiser, with its logits last -> logits to draw from instead.
Guide = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def guided(
    tokens: torch.Tensor,
    where: torch.Tensor,
    time: torch.Tensor,
    logits: torch.Tensor,
    denoise: Denoiser,
    guidance: float,
) -> torch.Tensor:
    """(1 + w) log p - w log p', p' of a network that does not see the sequence: logits [n, V]."""
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
    """Fill in the unknown tokens of a batch.

    Parameters
    ----------
    denoise : Denoiser
    known : Tensor, int64 [B, L]
        Given tokens, -1 where to sample.
    uniforms : Tensor, float64 [2, B, L]
        When and what (`frame_uniforms`).
    mask_token : int
    steps : int
        Equal steps of the share of masked positions from 1 to `end`. Those that unmask nothing are
        skipped.
    guide : Guide, optional
        What tokens are drawn from instead; log-probabilities stay those of `denoise`.
    end : float
        What is masked at the end gets its likeliest token.

    Returns
    -------
    tokens : Tensor, int64 [B, L]
    log_prob : Tensor, float64 [B]
        Sum over the sampled positions of the log-probability (temperature 1) of their token when
        it was drawn.
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
    """Fill in the unknown tokens of a batch, the most confident ones first.

    At each step all masked tokens are drawn, and those whose draws are likeliest are kept, so many
    that a cosine of the time is left masked (MaskGIT: Chang et al., 2022; what ESM3 does). Likely
    choices come early, so that this draws from a sharper distribution than the model's.

    Parameters, returns
        As `ancestral_sample`; of the uniform numbers, the second row alone is used.
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
        # The fractional parts of u + k g (g: golden ratio) are uniform, and apart for each step.
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
#: By name: how masked diffusion fills in tokens.
ORDERS = {"ancestral": ancestral_sample, "confidence": confidence_sample}
