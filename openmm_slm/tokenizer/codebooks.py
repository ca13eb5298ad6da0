"""Quantizers with a vector per code, the alternatives to finite scalar quantization.

Both see the encoder's output whitened, as `StochasticFSQ` does: an output of fixed covariance
cannot shrink onto one code. `GumbelQuantizer` is a discrete VAE in the strict sense (a posterior
over all codes, its exact KL, samples through the Gumbel-softmax; Jang et al., 2017);
`VectorQuantizer` (van den Oord et al., 2017) takes the nearest vector.
"""

from __future__ import annotations

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from ..networks.rigid_frames import full_precision
from .quantizer import Quantized, Quantizer


class GumbelQuantizer(Quantizer):
    """q(z|x) = softmax of a linear layer; a learned vector per code.

    In training the forward pass uses the vector of a posterior sample, the gradient that of the
    relaxed sample at temperature 1 / `sharpness`. The temperature changes the gradient's bias and
    variance alone: samples and KL are those of the posterior at any.

    Parameters
    ----------
    size : int
        Codes.
    width : int
        Dimensions of a code vector and of the encoder's output.
    sharpness : float
    """

    def __init__(self, size: int = 512, width: int = 16, sharpness: float = 1.0) -> None:
        super().__init__(width, size, 1, sharpness)
        self.vectors = nn.Parameter(torch.randn(size, width))
        self.logits = nn.Linear(width, size)
        with torch.no_grad():
            # -|x - vector|^2 / 2D up to a constant, with D = size^(-2 / width), the distortion of
            # a Gaussian at this rate: from the first step a code says where x was, and the
            # relaxed gradient with respect to x is about the identity.
            precision = size ** (2 / width)
            self.logits.weight.copy_(precision * self.vectors)
            self.logits.bias.copy_(-precision / 2 * self.vectors.square().sum(1))

    def forward(self, x: torch.Tensor) -> Quantized:
        """Training: quantize encoder output [R, n] by posterior samples."""
        with full_precision(x):
            log_q = self.logits(self._whitened(x.float())).log_softmax(-1)
            noise = -torch.empty_like(log_q).exponential_().clamp(min=1e-20).log()
            noisy = log_q + noise
            tokens = noisy.argmax(-1)
            relaxed = (noisy * self.sharpness).softmax(-1)
            chosen = relaxed
            if not self.soft:
                hard = F.one_hot(tokens, self.size).to(relaxed.dtype)
                chosen = hard + (relaxed - relaxed.detach())
            q = log_q.exp()
            usage = q.mean(0)
            full = math.log(self.size)
            return Quantized(
                chosen @ self.vectors,
                tokens,
                full + (q * log_q).sum(-1),
                full + (usage * (usage + 1e-9).log()).sum(),
            )

    @torch.no_grad()
    def tokens(self, x: torch.Tensor, uniform: torch.Tensor | None = None) -> torch.Tensor:
        """Tokens int64 [R]: the posterior's mode, or its sample at `uniform` [R, 1] in [0, 1)."""
        logits = self.logits(self._whitened(x))
        if uniform is None:
            return logits.argmax(-1)
        below = logits.softmax(-1).cumsum(-1)
        # The last sum may round to less than 1: a draw above it belongs to the last code.
        found = torch.searchsorted(below, uniform * below[:, -1:], right=True).squeeze(-1)
        return found.clamp(max=self.size - 1)

    def codes(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens [...] to code vectors [..., n]."""
        return F.embedding(tokens, self.vectors)


class VectorQuantizer(Quantizer):
    """The nearest of `size` vectors, which follow the means of what they stand for.

    The posterior is deterministic: KL(q(z|x) || uniform) = log `size` whatever x is, a posterior
    sample is the mode, and neither KL has a gradient. Vectors are exponential moving averages
    (no gradient either); a code that is used less than `dead` times its fair share is moved onto
    a residue of the batch. The first batch places all of them.

    Parameters
    ----------
    size, width : int
        As in `GumbelQuantizer`.
    sharpness : float
        Without effect.
    commitment : float
        Weight of the mean squared distance of x to its vector, in the training loss.
    decay : float
        Of the moving averages, per batch.
    dead : float
        Share of the mean use below which a code is restarted.
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
        self.register_buffer("used", torch.zeros(size))  # 1: the mean over codes

    def forward(self, x: torch.Tensor) -> Quantized:
        """Training: quantize encoder output [R, n]; moves the vectors."""
        with full_precision(x):
            white = self._whitened(x.float())
            if self._learning:
                self._restart(white.detach())
            tokens = self._nearest(white.detach())
            vectors = self.codes(tokens)
            if self._learning:
                self._follow(white.detach(), tokens)
            commitment = self.commitment * (white - vectors).square().mean()
            codes = white if self.soft else white + (vectors - white).detach()
        full = math.log(self.size)
        usage = torch.bincount(tokens, minlength=self.size) / len(tokens)
        usage_kl = full + (usage * (usage + 1e-9).log()).sum()
        return Quantized(codes, tokens, torch.full_like(codes[:, 0], full), usage_kl, commitment)

    @torch.no_grad()
    def _nearest(self, white: torch.Tensor) -> torch.Tensor:
        # |x - v|^2 less |x|^2, which is the same for all codes.
        return (self.vectors.square().sum(1) - 2 * white @ self.vectors.T).argmin(-1)

    @torch.no_grad()
    def _restart(self, white: torch.Tensor) -> None:
        """Move unused codes onto random residues of the batch."""
        dead = (self.used < self.dead).nonzero().squeeze(-1)
        if len(dead):
            order = torch.randperm(len(white), device=white.device)
            rows = order.repeat(-(-len(dead) // len(order)))[: len(dead)]
            # Jitter, because a batch with fewer residues than codes places several on one.
            jitter = 0.01 * torch.randn(len(dead), white.shape[1], device=white.device)
            self.vectors[dead] = white[rows] + jitter
            self.used[dead] = 1.0

    @torch.no_grad()
    def _follow(self, white: torch.Tensor, tokens: torch.Tensor) -> None:
        scale = self.size / len(tokens)
        count = torch.bincount(tokens, minlength=self.size) * scale
        total = torch.zeros_like(self.vectors).index_add_(0, tokens, white) * scale
        used = self.decay * self.used + (1 - self.decay) * count
        before = self.decay * self.used.unsqueeze(1) * self.vectors
        self.vectors.copy_((before + (1 - self.decay) * total) / used.unsqueeze(1))
        self.used.copy_(used)

    @torch.no_grad()
    def tokens(self, x: torch.Tensor, uniform: torch.Tensor | None = None) -> torch.Tensor:
        """Tokens int64 [R]: the nearest vectors' (`uniform` [R, 0] changes nothing)."""
        return self._nearest(self._whitened(x))

    def codes(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens [...] to code vectors [..., n]."""
        return F.embedding(tokens, self.vectors)
