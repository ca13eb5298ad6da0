"""Transformer blocks shared by the tokenizer and the language models."""

from __future__ import annotations

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from .rigid_frames import RigidFrames, full_precision


def rotary(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Rotate x [B, H, L, C] by angles [B, L, C/2] (rotary embedding, Su et al., 2021)."""
    cos, sin = angles.cos().unsqueeze(1), angles.sin().unsqueeze(1)
    first, second = x.float().chunk(2, -1)
    rotated = torch.cat([first * cos - second * sin, first * sin + second * cos], -1)
    return rotated.to(x.dtype)


def rotary_angles(position: torch.Tensor, width: int, longest: float = 2000.0) -> torch.Tensor:
    """Rotary angles [B, L, width/2] of integer positions [B, L]."""
    steps = torch.arange(0, width, 2, device=position.device).float() / width
    return position.unsqueeze(-1).float() * longest ** (-steps)


def attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """Scaled dot-product attention of q [B, H, L, C] to k, v [B, H, M, C], with an additive bias.

    Two training cases use explicit products, because torch takes twice the time: a learned bias
    (it has no fused kernel for that) and CPUs (the backward pass of its fused bf16 kernel).
    """
    cpu_training = q.requires_grad and q.device.type == "cpu"
    if bias is None or not (cpu_training or bias.requires_grad):
        bias = None if bias is None else bias.to(q.dtype)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    b, heads, length, width = q.shape
    logits = torch.baddbmm(
        bias.to(q.dtype).expand(b, heads, length, k.shape[2]).flatten(0, 1),
        q.flatten(0, 1),
        k.flatten(0, 1).transpose(1, 2),
        alpha=width**-0.5,
    )
    return (logits.softmax(-1).to(v.dtype) @ v.flatten(0, 1)).view(q.shape)


class FeedForward(nn.Sequential):
    """Pre-norm two-layer perceptron for a residual branch; its last layer starts at zero."""

    def __init__(self, width: int, factor: int = 4) -> None:
        super().__init__(
            nn.LayerNorm(width),
            nn.Linear(width, factor * width),
            nn.GELU(),
            nn.Linear(factor * width, width),
        )
        nn.init.zeros_(self[-1].weight)
        nn.init.zeros_(self[-1].bias)


class Block(nn.Module):
    """Pre-norm transformer block: self-attention (rotary, additive bias) and feed-forward.

    Parameters
    ----------
    width, heads : int
    factor : int
        Hidden width of the feed-forward, as a multiple of `width`.
    """

    def __init__(self, width: int, heads: int, factor: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.feed_forward = FeedForward(width, factor)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(
        self, x: torch.Tensor, angles: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """x [B, L, D], angles [B, L, C/2], additive bias [B or 1, H or 1, L or 1, L] -> x."""
        return self.update(x, attention(*self.project(x, angles), bias))

    def project(
        self, x: torch.Tensor, angles: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries, keys (both rotated) and values [B, H, L, C]."""
        b, length, width = x.shape
        q, k, v = (
            self.qkv(self.norm(x))
            .view(b, length, 3, self.heads, width // self.heads)
            .permute(2, 0, 3, 1, 4)
        )
        return rotary(q, angles), rotary(k, angles), v

    def update(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Add the attention output y [B, H, L, C] and the feed-forward to x [B, L, D]."""
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return x + self.feed_forward(x)


class PointBlock(nn.Module):
    """Invariant point attention (Jumper et al., 2021, Algorithm 22) as one attention product.

    The dot product of [q, w p_q, 1] and [k, p_k, -w |p_k|^2 / 2] contains the squared distance of
    query and key points, up to a term that is constant along a row. Scalars and points therefore
    share one matrix product. Points are in nm; centre the molecule at the origin first.
    """

    def __init__(self, width: int, heads: int, pair: int, points: int = 4) -> None:
        super().__init__()
        self.heads, self.points = heads, points
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.to_points = nn.Linear(width, heads * points * 9)
        self.weight = nn.Parameter(torch.zeros(heads))
        self.bias = nn.Linear(pair, heads, bias=False)
        self.out = nn.Linear(width + heads * points * 4, width)
        self.feed_forward = FeedForward(width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor, pair_bias: torch.Tensor, frames: RigidFrames
    ) -> torch.Tensor:
        """Update x [B, L, D]; pair_bias [B, H, L, L] is `self.bias(pair)`, padding masked."""
        b, length, width = x.shape
        h, n = self.heads, self.points
        c = width // h
        y = self.norm(x)
        q, k, v = self.qkv(y).view(b, length, 3, h, c).permute(2, 0, 3, 1, 4)
        local = self.to_points(y).float().view(b, length, h * 3 * n, 3)
        rotation, origin = frames
        with full_precision(x):
            placed = local @ rotation.transpose(-1, -2) + origin.unsqueeze(-2)
            placed = placed.view(b, length, h, 3 * n, 3).transpose(1, 2)
            q_points, k_points, v_points = placed.split(n, 3)
            w = 4 * F.softplus(self.weight).view(1, h, 1, 1)
            square = -0.5 * w * k_points.pow(2).sum((-1, -2)).unsqueeze(-1)
            queries = torch.cat(
                [q.float() / math.sqrt(c), w * q_points.flatten(-2), torch.ones_like(square)], -1
            )
            keys = torch.cat([k.float(), k_points.flatten(-2), square], -1)
            attention = (queries @ keys.transpose(-1, -2) + pair_bias.float()).softmax(-1)
            gathered = attention @ torch.cat([v.float(), v_points.flatten(-2)], -1)
            scalars, points = gathered[..., :c], gathered[..., c:]
            points = points.unflatten(-1, (n, 3)).transpose(1, 2).flatten(2, 3)
            points = (points - origin.unsqueeze(-2)) @ rotation
            norms = points.pow(2).sum(-1).add(1e-8).sqrt()
            merged = torch.cat([scalars.transpose(1, 2).flatten(2), points.flatten(2), norms], -1)
        x = x + self.out(merged)
        return x + self.feed_forward(x)
