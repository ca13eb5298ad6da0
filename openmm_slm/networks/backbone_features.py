"""CB and torsions of backbones (torch)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

_CB = (-0.58273431, 0.56802827, -0.54067466)


def ideal_cb(backbone: torch.Tensor) -> torch.Tensor:
    """Ideal CB [..., 3] from N, CA and C of backbones [..., 3 or more, 3] in nm."""
    n, ca, c = backbone[..., 0, :], backbone[..., 1, :], backbone[..., 2, :]
    b, k = ca - n, c - ca
    return ca + _CB[0] * 10 * torch.linalg.cross(b, k) + _CB[1] * b + _CB[2] * k


def torsion_features(backbone: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Sine and cosine [..., L, 6] of phi, psi and omega; 0 where undefined.

    Parameters
    ----------
    backbone : Tensor [..., L, 4, 3]
    index : Tensor, int64 [..., L]
        Residue index: steps of 1 between bonded residues. Omega is that of the bond before.
    """
    n, ca, c = backbone[..., 0, :], backbone[..., 1, :], backbone[..., 2, :]
    before, after = slice(None, -1), slice(1, None)
    bonded = (index.diff() == 1).unsqueeze(-1)
    phi = sine_cosine(c[..., before, :], n[..., after, :], ca[..., after, :], c[..., after, :])
    psi = sine_cosine(n[..., before, :], ca[..., before, :], c[..., before, :], n[..., after, :])
    omega = sine_cosine(ca[..., before, :], c[..., before, :], n[..., after, :], ca[..., after, :])
    first, last = (0, 0, 1, 0), (0, 0, 0, 1)
    return torch.cat(
        [F.pad(phi * bonded, first), F.pad(psi * bonded, last), F.pad(omega * bonded, first)], -1
    )


def sine_cosine(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
    """Sine and cosine [..., 2] of the torsion of four points [..., 3]."""
    axis = F.normalize(c - b, dim=-1)
    left, right = a - b, d - c
    left = F.normalize(left - (left * axis).sum(-1, keepdim=True) * axis, dim=-1)
    right = F.normalize(right - (right * axis).sum(-1, keepdim=True) * axis, dim=-1)
    sine = (torch.linalg.cross(axis, left) * right).sum(-1)
    return torch.stack([sine, (left * right).sum(-1)], -1)
