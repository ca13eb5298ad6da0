"""Covariance of thermal motion in an elastic network (torch, differentiable)."""

from __future__ import annotations

import torch

#: kT / nm^2: spring from every CA to its place, so that no motion is free.
FLOOR = 0.05


class _Inverse(torch.autograd.Function):
    """Inverse of a symmetric positive definite matrix; two products in the backward pass."""

    @staticmethod
    def forward(ctx, matrix: torch.Tensor) -> torch.Tensor:
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(matrix))
        ctx.save_for_backward(inverse)
        return inverse

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        (inverse,) = ctx.saved_tensors
        return -(inverse @ gradient @ inverse)


def spring_hessian(ca: torch.Tensor, stiffness: torch.Tensor) -> torch.Tensor:
    """Hessian [3 N, 3 N] of springs that are relaxed in CA [N, 3].

    Their `stiffness` [2, N, N] along and across the line between two residues gives the energy
    1/2 sum over pairs of (along - across) (d . u)^2 + across |u|^2, for the unit vector d from one
    to the other and the difference u of their displacements.
    """
    size = len(ca)
    along, across = stiffness
    line = ca[None] - ca[:, None]
    line = line / line.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    block = (across - along)[..., None, None] * (line[..., :, None] * line[..., None, :])
    block = block - across[..., None, None] * torch.eye(3, dtype=ca.dtype, device=ca.device)
    hessian = block.transpose(1, 2).reshape(3 * size, 3 * size)
    diagonal = torch.zeros_like(hessian).view(size, 3, size, 3)
    each = torch.arange(size, device=ca.device)
    diagonal[each, :, each] = -block.sum(1)
    return hessian + diagonal.view(3 * size, 3 * size)


@torch.no_grad()
def rigid_motions(ca: torch.Tensor) -> torch.Tensor:
    """Orthonormal basis [3 N, 6] of translations and infinitesimal rotations of CA [N, 3]."""
    x = ca - ca.mean(0)
    axes = torch.eye(3, dtype=ca.dtype, device=ca.device).unsqueeze(1)
    shifts, turns = axes.expand(3, *x.shape), torch.linalg.cross(axes.expand(3, *x.shape), x[None])
    return torch.linalg.qr(torch.cat([shifts, turns]).flatten(1).T)[0]


def network_covariance(ca: torch.Tensor, stiffness: torch.Tensor) -> torch.Tensor:
    """Covariance [3 N, 3 N] (nm^2) of the motions of springs in kT / nm^2, without rigid motions.

    The inverse of the Hessian in the space of internal motions, as of a molecule that neither
    drifts nor turns. Rigid motions get a typical stiffness, and what it adds to the inverse is
    taken away.
    """
    hessian = spring_hessian(ca, stiffness)
    rigid = rigid_motions(ca)
    stiff = hessian.detach().diagonal().mean()
    along = hessian @ rigid
    cross = along @ rigid.T
    inside = hessian - cross - cross.T + rigid @ (rigid.T @ along) @ rigid.T
    eye = torch.eye(len(hessian), dtype=ca.dtype, device=ca.device)
    outside = rigid @ rigid.T
    covariance = _Inverse.apply(inside + (stiff - FLOOR) * outside + FLOOR * eye)
    return covariance - outside / stiff


def mean_square(covariance: torch.Tensor) -> torch.Tensor:
    """Mean square displacement [N] of each CA (nm^2)."""
    return covariance.diagonal().reshape(-1, 3).sum(1)
