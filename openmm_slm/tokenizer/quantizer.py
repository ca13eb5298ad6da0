"""q(z|x), second half: finite scalar quantization with stochastic rounding.

Finite scalar quantization (Mentzer et al., 2023) rounds each of a few bounded numbers to one of
its levels; the token is their mixed-radix number. Rounding up with a probability that grows with
the fraction makes q(z|x) a product of Bernoullis, so that the posterior is a real categorical and

    KL(q(z|x) || uniform) = log |V| - sum of the binary entropies

is exact and differentiable. Its mean splits into the information the tokens carry and
KL(mean of q || uniform), the second of which training may weigh more: unused codes carry nothing.
Without a fixed scale the codes collapse to one: the encoder output is
whitened (mean and covariance, batch statistics in training, running ones afterwards) first.
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
    """Codes [R, n], tokens [R], KL to the uniform prior [R] and that of the batch's mean posterior
    (nats), and what the quantizer adds to the training loss."""

    codes: torch.Tensor
    tokens: torch.Tensor
    kl: torch.Tensor
    usage_kl: torch.Tensor
    auxiliary: torch.Tensor | float = 0.0


class Quantizer(nn.Module):
    """What the dVAE asks of a quantizer, and the whitening that all of them begin with.

    Subclasses have ``forward(x)``, ``tokens(x, uniform)`` and ``codes(tokens)`` as `StochasticFSQ`.

    Parameters
    ----------
    dimensions : int
        Numbers per residue, of the encoder's output and of a code.
    size : int
        Codes.
    draws : int
        Uniform numbers per residue that a sample of the posterior takes.
    sharpness : float
    """

    def __init__(self, dimensions: int, size: int, draws: int, sharpness: float) -> None:
        super().__init__()
        self.dimensions, self.size, self.draws = dimensions, size, draws
        self.sharpness = sharpness
        self.register_buffer("mean", torch.zeros(dimensions))
        self.register_buffer("whiten", torch.eye(dimensions))
        self.soft = False  # something continuous instead of codes, for the first steps of training
        self.momentum = 0.05
        self.frozen = False  # the encoder is not trained: its statistics and tokens stay

    @property
    def _learning(self) -> bool:
        """Statistics of batches are taken: in training, not when a batch is looked at."""
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
        """Set the statistics to those of encoder outputs x [R, n], once the encoder is final."""
        self.mean.copy_(x.mean(0))
        covariance = torch.cov((x - self.mean).T.double()) + 1e-4 * torch.eye(
            x.shape[1], device=x.device
        )
        self.whiten.copy_(torch.linalg.inv(torch.linalg.cholesky(covariance)).float())


class StochasticFSQ(Quantizer):
    """Quantizer of ``prod(levels)`` codes.

    Parameters
    ----------
    levels : tuple of int
        Levels of each dimension; (8, 8, 8) gives 512 codes.
    sharpness : float
        How steeply the probability of rounding up grows with the fraction f:
        0.5 + sharpness (f - 0.5), within 0 and 1. At 1 it is f; the larger, the less noise.
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

    def _up(self, fraction: torch.Tensor) -> torch.Tensor:
        """Probability of rounding up."""
        return (0.5 + self.sharpness * (fraction - 0.5)).clamp(0, 1)

    def forward(self, x: torch.Tensor) -> Quantized:
        """Training: quantize encoder output [R, n] by posterior samples."""
        with full_precision(x):  # the covariance of a batch is no matter for bfloat16
            level = self._levels(x.float())
        low = level.floor()
        fraction = self._up(level - low)
        hard = low + (torch.rand_like(fraction) < fraction).float()
        if self.soft:  # additive noise instead of rounding
            value = level + torch.rand_like(level) - 0.5
        else:
            value = level + (hard - level).detach()
        p = fraction.clamp(1e-4, 1 - 1e-4)
        entropy = -(p * p.log() + (1 - p) * (1 - p).log()).sum(-1)
        tokens = (hard.long() * self.radix).sum(-1)
        full = math.log(self.size)
        return Quantized(
            self._scale(value), tokens, full - entropy, full - self._usage_entropy(low, fraction)
        )

    def _usage_entropy(self, low: torch.Tensor, fraction: torch.Tensor) -> torch.Tensor:
        """Entropy (nats) of the batch's mean posterior: of its 2^n corners per residue, summed."""
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
        """Tokens int64 [R]: the posterior's mode, or its sample at `uniform` [R, n] in [0, 1)."""
        level = self._levels(x)
        if uniform is None:
            hard = (level + 0.5).floor()
        else:
            low = level.floor()
            hard = low + (uniform < self._up(level - low)).float()
        return (hard.long() * self.radix).sum(-1)

    def codes(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens [...] to codes [..., n] in [-1, 1]."""
        level = torch.div(tokens.unsqueeze(-1), self.radix, rounding_mode="floor") % self.levels
        return self._scale(level)

    def _scale(self, level: torch.Tensor) -> torch.Tensor:
        return level / (self.levels - 1) * 2 - 1
