"""Quantizers with a learned vector per code, as alternatives to finite scalar quantization.

Both whiten the encoder output, as `StochasticFSQ` does: with a fixed covariance it cannot
collapse onto one code. `GumbelQuantizer` is a discrete VAE in the strict sense: a posterior over
all codes, its exact KL, and Gumbel-softmax samples (Jang et al., 2017). `VectorQuantizer` picks
the nearest vector (van den Oord et al., 2017).
"""

from __future__ import annotations

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from ..networks.rigid_frames import full_precision
from .quantizer import Quantized, Quantizer


class GumbelQuantizer(Quantizer):
    """Discrete posterior q(z|x), the softmax of a linear layer, with a learned vector per code.

    In training, the forward pass uses the vector of a posterior sample, and the gradient is that
    of the relaxed sample at temperature 1 / `sharpness`. The temperature affects only the bias and
    variance of the gradient; samples and KL do not depend on it.

    Parameters
    ----------
    size : int
        Number of codes.
    width : int
        Dimension of a code vector and of the encoder output.
    sharpness : float
        Inverse temperature of the relaxed sample.
    """

    def __init__(self, size: int = 512, width: int = 16, sharpness: float = 1.0) -> None:
        super().__init__(width, size, 1, sharpness)
        self.vectors = nn.Parameter(torch.randn(size, width))
        self.logits = nn.Linear(width, size)
        with torch.no_grad():
            # The logits start as -|x - vector|^2 / 2D up to a constant. D = size^(-2 / width) is
            # the distortion of a Gaussian at this rate. Codes are then informative from the first
            # step, and the relaxed gradient with respect to x is close to the identity.
            precision = size ** (2 / width)
            self.logits.weight.copy_(precision * self.vectors)
            self.logits.bias.copy_(-precision / 2 * self.vectors.square().sum(1))

    def forward(self, x: torch.Tensor) -> Quantized:
        """Quantize encoder output [R, n] by posterior samples, for training."""
        with full_precision(x):
            log_q = self.logits(self._whitened(x.float())).log_softmax(-1)
            noise = -torch.empty_like(log_q).exponential_().clamp(min=1e-20).log()
            noisy = log_q + noise
            tokens = noisy.argmax(-1)
            relaxed = (noisy * self.sharpness).softmax(-1)
            weights = relaxed
            if not self.soft:
                hard = F.one_hot(tokens, self.size).to(relaxed.dtype)
                weights = hard + (relaxed - relaxed.detach())
            q = log_q.exp()
            usage = q.mean(0)
            log_size = math.log(self.size)
            return Quantized(
                weights @ self.vectors,
                tokens,
                log_size + (q * log_q).sum(-1),
                log_size + (usage * (usage + 1e-9).log()).sum(),
            )

    @torch.no_grad()
    def tokens(self, x: torch.Tensor, uniform: torch.Tensor | None = None) -> torch.Tensor:
        """Tokens int64 [R]: posterior mode, or the sample at `uniform` [R, 1] in [0, 1)."""
        logits = self.logits(self._whitened(x))
        if uniform is None:
            return logits.argmax(-1)
        cumulative = logits.softmax(-1).cumsum(-1)
        # Scale by the last sum, which may round to less than 1.
        drawn = uniform * cumulative[:, -1:]
        token = torch.searchsorted(cumulative, drawn, right=True).squeeze(-1)
        return token.clamp(max=self.size - 1)

    def codes(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens [...] to code vectors [..., n]."""
        return F.embedding(tokens, self.vectors)


class VectorQuantizer(Quantizer):
    """Vector quantization: the token is the nearest of `size` vectors.

    The posterior is deterministic. KL(q(z|x) || uniform) is therefore log `size` for every x, a
    posterior sample is the mode, and neither KL has a gradient. Each vector is the exponential
    moving average of the encoder outputs assigned to it. A code used less than `dead` times the
    mean is restarted at a random residue of the batch. The first batch initialises all codes.

    Parameters
    ----------
    size, width : int
        As in `GumbelQuantizer`.
    sharpness : float
        Has no effect.
    commitment : float
        Weight in the training loss of the mean squared distance of x to its vector.
    decay : float
        Decay of the moving averages per batch.
    dead : float
        Usage, as a fraction of the mean, below which a code is restarted.
    """

    def __init__(
        self,
        size: int = 512,
        width: int = 16,
        sharpness: float = 1.0,
        commitment: float = 0.25,
        decay: float = 0.98,
        dead: float = 0.05,
    ) -> None:
        super().__init__(width, size, 0, sharpness)
        self.commitment, self.decay, self.dead = commitment, decay, dead
        self.register_buffer("vectors", torch.zeros(size, width))
        self.register_buffer("used", torch.zeros(size))  # usage relative to the mean over codes

    def forward(self, x: torch.Tensor) -> Quantized:
        """Quantize encoder output [R, n] for training, and update the vectors."""
        with full_precision(x):
            white = self._whitened(x.float())
            if self._learning:
                self._restart_unused(white.detach())
            tokens = self._nearest(white.detach())
            vectors = self.codes(tokens)
            if self._learning:
                self._update_averages(white.detach(), tokens)
            commitment = self.commitment * (white - vectors).square().mean()
            codes = white if self.soft else white + (vectors - white).detach()
        log_size = math.log(self.size)
        usage = torch.bincount(tokens, minlength=self.size) / len(tokens)
        usage_kl = log_size + (usage * (usage + 1e-9).log()).sum()
        kl = torch.full_like(codes[:, 0], log_size)
        return Quantized(codes, tokens, kl, usage_kl, commitment)

    @torch.no_grad()
    def _nearest(self, white: torch.Tensor) -> torch.Tensor:
        # |x - v|^2 without |x|^2, which is the same for all codes.
        return (self.vectors.square().sum(1) - 2 * white @ self.vectors.T).argmin(-1)

    @torch.no_grad()
    def _restart_unused(self, white: torch.Tensor) -> None:
        """Move unused codes to random residues of the batch."""
        dead = (self.used < self.dead).nonzero().squeeze(-1)
        if len(dead):
            order = torch.randperm(len(white), device=white.device)
            rows = order.repeat(-(-len(dead) // len(order)))[: len(dead)]
            # Jitter separates codes that share a residue (fewer residues than codes to place).
            jitter = 0.01 * torch.randn(len(dead), white.shape[1], device=white.device)
            self.vectors[dead] = white[rows] + jitter
            self.used[dead] = 1.0

    @torch.no_grad()
    def _update_averages(self, white: torch.Tensor, tokens: torch.Tensor) -> None:
        scale = self.size / len(tokens)
        count = torch.bincount(tokens, minlength=self.size) * scale
        total = torch.zeros_like(self.vectors).index_add_(0, tokens, white) * scale
        used = self.decay * self.used + (1 - self.decay) * count
        before = self.decay * self.used.unsqueeze(1) * self.vectors
        self.vectors.copy_((before + (1 - self.decay) * total) / used.unsqueeze(1))
        self.used.copy_(used)

    @torch.no_grad()
    def tokens(self, x: torch.Tensor, uniform: torch.Tensor | None = None) -> torch.Tensor:
        """Tokens int64 [R] of the nearest vectors; `uniform` [R, 0] is ignored."""
        return self._nearest(self._whitened(x))

    def codes(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens [...] to code vectors [..., n]."""
        return F.embedding(tokens, self.vectors)
