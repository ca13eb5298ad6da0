"""Quantizer of q(z|x): finite scalar quantization with stochastic rounding.

Finite scalar quantization (Mentzer et al., 2023) rounds each of a few bounded numbers to one of
its levels; the token is their mixed-radix number. Here the probability of rounding up grows with
the fractional part, so q(z|x) is a product of Bernoulli distributions, and

    KL(q(z|x) || uniform) = log |V| - sum of the binary entropies

is exact and differentiable. Its mean is the information that the tokens carry plus
KL(mean of q || uniform). Training may weight the second term more, because unused codes carry no
information. The encoder output is whitened first (batch statistics in training, running averages
afterwards); without a fixed scale all outputs would collapse to one code.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
import torch.nn as nn

from ..networks.rigid_frames import full_precision


@dataclass
class Quantized:
    """Output of a quantizer in training, for R residues.

    Attributes
    ----------
    codes : Tensor [R, n]
    tokens : Tensor, int64 [R]
    kl : Tensor [R]
        KL of the posterior to the uniform prior, nats.
    usage_kl : Tensor, scalar
        KL of the mean posterior of the batch to the uniform prior, nats.
    auxiliary : Tensor or float
        Further term of the training loss.
    """

    codes: torch.Tensor
    tokens: torch.Tensor
    kl: torch.Tensor
    usage_kl: torch.Tensor
    auxiliary: torch.Tensor | float = 0.0


class Quantizer(nn.Module):
    """Base class of the quantizers, with the whitening they share.

    Subclasses implement ``forward(x)``, ``tokens(x, uniform)`` and ``codes(tokens)`` as
    `StochasticFSQ` does.

    Parameters
    ----------
    dimensions : int
        Dimension of the encoder output and of a code.
    size : int
        Number of codes.
    draws : int
        Uniform random numbers per residue that a posterior sample needs.
    sharpness : float
        See the subclasses.
    """

    def __init__(self, dimensions: int, size: int, draws: int, sharpness: float) -> None:
        super().__init__()
        self.dimensions, self.size, self.draws = dimensions, size, draws
        self.sharpness = sharpness
        self.register_buffer("mean", torch.zeros(dimensions))
        self.register_buffer("whiten", torch.eye(dimensions))
        self.soft = False  # continuous values instead of codes, for the first training steps
        self.momentum = 0.05
        self.frozen = False  # encoder not trained: keep statistics, and so the tokens

    @property
    def _learning(self) -> bool:
        """True if batch statistics are used and updated: in training with gradients."""
        return self.training and torch.is_grad_enabled() and not self.frozen

    def _whitened(self, x: torch.Tensor) -> torch.Tensor:
        if not self._learning:
            return (x - self.mean) @ self.whiten.T
        centred = x - x.mean(0)
        covariance = centred.T @ centred / len(centred)
        ridge = 1e-4 * torch.eye(x.shape[1], device=x.device)
        lower = torch.linalg.cholesky((covariance + ridge).double()).float()
        with torch.no_grad():
            eye = torch.eye(len(lower), device=x.device)
            inverse = torch.linalg.solve_triangular(lower, eye, upper=False)
            self.mean.lerp_(x.mean(0), self.momentum)
            self.whiten.lerp_(inverse, self.momentum)
        return torch.linalg.solve_triangular(lower, centred.T, upper=False).T

    @torch.no_grad()
    def calibrate(self, x: torch.Tensor) -> None:
        """Set the statistics to those of the final encoder's outputs x [R, n]."""
        self.mean.copy_(x.mean(0))
        covariance = torch.cov((x - self.mean).T.double()) + 1e-4 * torch.eye(
            x.shape[1], device=x.device
        )
        self.whiten.copy_(torch.linalg.inv(torch.linalg.cholesky(covariance)).float())


class StochasticFSQ(Quantizer):
    """Finite scalar quantizer with ``prod(levels)`` codes.

    Parameters
    ----------
    levels : tuple of int
        Levels of each dimension; (8, 8, 8) gives 512 codes.
    sharpness : float
        Slope of the probability of rounding up in the fraction f: 0.5 + sharpness (f - 0.5),
        clamped to [0, 1]. Larger values give less noise.
    """

    def __init__(self, levels: tuple[int, ...] = (8, 8, 8), sharpness: float = 1.0) -> None:
        n = len(levels)
        super().__init__(n, math.prod(levels), n, sharpness)
        radix = [math.prod(levels[:i]) for i in range(n)]
        self.register_buffer("levels", torch.tensor(levels, dtype=torch.float32), persistent=False)
        self.register_buffer("radix", torch.tensor(radix), persistent=False)

    def _levels(self, x: torch.Tensor) -> torch.Tensor:
        """Encoder output [R, n] to real-valued levels in [0, levels - 1]."""
        scaled = torch.sigmoid(1.6 * self._whitened(x)) * self.levels - 0.5
        return torch.minimum(scaled.clamp(min=0), self.levels - 1)

    def _probability_up(self, fraction: torch.Tensor) -> torch.Tensor:
        """Probability of rounding up."""
        return (0.5 + self.sharpness * (fraction - 0.5)).clamp(0, 1)

    def forward(self, x: torch.Tensor) -> Quantized:
        """Quantize encoder output [R, n] by posterior samples, for training."""
        with full_precision(x):  # bfloat16 is too coarse for the covariance
            level = self._levels(x.float())
        low = level.floor()
        fraction = self._probability_up(level - low)
        hard = low + (torch.rand_like(fraction) < fraction).float()
        if self.soft:  # additive noise instead of rounding
            value = level + torch.rand_like(level) - 0.5
        else:
            value = level + (hard - level).detach()
        p = fraction.clamp(1e-4, 1 - 1e-4)
        entropy = -(p * p.log() + (1 - p) * (1 - p).log()).sum(-1)
        tokens = (hard.long() * self.radix).sum(-1)
        log_size = math.log(self.size)
        usage_kl = log_size - self._usage_entropy(low, fraction)
        return Quantized(self._scale(value), tokens, log_size - entropy, usage_kl)

    def _usage_entropy(self, low: torch.Tensor, fraction: torch.Tensor) -> torch.Tensor:
        """Entropy (nats) of the mean posterior, summed over the 2^n codes around each residue."""
        usage = low.new_zeros(self.size)
        for corner in itertools.product((0, 1), repeat=low.shape[1]):
            up = low.new_tensor(corner)
            weight = (up * fraction + (1 - up) * (1 - fraction)).prod(-1)
            code = (torch.minimum(low + up, self.levels - 1).long() * self.radix).sum(-1)
            usage = usage.index_add(0, code, weight)
        usage = usage / len(low)
        return -(usage * (usage + 1e-9).log()).sum()

    @torch.no_grad()
    def tokens(self, x: torch.Tensor, uniform: torch.Tensor | None = None) -> torch.Tensor:
        """Tokens int64 [R]: posterior mode, or the sample at `uniform` [R, n] in [0, 1)."""
        level = self._levels(x)
        if uniform is None:
            hard = (level + 0.5).floor()
        else:
            low = level.floor()
            hard = low + (uniform < self._probability_up(level - low)).float()
        return (hard.long() * self.radix).sum(-1)

    def codes(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens [...] to codes [..., n] in [-1, 1]."""
        level = torch.div(tokens.unsqueeze(-1), self.radix, rounding_mode="floor") % self.levels
        return self._scale(level)

    def _scale(self, level: torch.Tensor) -> torch.Tensor:
        return level / (self.levels - 1) * 2 - 1
