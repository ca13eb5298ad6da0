"""Losses of the spring network: B-factors, displacements between conformers, sizes in MD."""

from __future__ import annotations

import torch

from ..motions.network_covariance import mean_square, rigid_motions

_EXTREME = 0.02  # share of B-factors at each end that are clipped
_SMALLEST = 1e-3  # B-factor, for logarithms
_FLOOR = 0.03  # variance of displacements, relative to the mean, that no motion explains
_END = 3  # residues
_LEAST = 0.02  # nm, added to displacements before their logarithms are taken
_LOG_RANGE = 0.2  # error of the logarithm of a size above which the loss is linear


def pearson(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Correlation of two vectors."""
    a, b = a - a.mean(), b - b.mean()
    return (a * b).sum() / (a.norm() * b.norm()).clamp(min=1e-9)


def bfactor_loss(
    covariance: torch.Tensor, ca: torch.Tensor, bfactors: torch.Tensor, rigid: float
) -> torch.Tensor:
    """One minus the correlation of predicted and measured B-factors [N] of CA, in two forms.

    The first compares mean squares with B, whose extremes are clipped; the second compares
    logarithms. The crystal's scale and offset do not count. From both sides of the first, a share
    `rigid` of their best fit by the squared distance from the centre is removed: in a crystal,
    molecules also turn as rigid bodies.
    """
    known = torch.isfinite(bfactors)
    b = bfactors[known].double()
    b = b.clamp(b.quantile(_EXTREME), b.quantile(1 - _EXTREME)).clamp(min=_SMALLEST)
    found = mean_square(covariance)[known]
    far = ((ca - ca.mean(0)) ** 2).sum(-1)[known]

    def free(values: torch.Tensor) -> torch.Tensor:
        slope = ((far - far.mean()) * values).sum() / ((far - far.mean()) ** 2).sum()
        return values - rigid * slope.clamp(min=0) * far

    linear = pearson(free(found), free(b))
    return 1 - (linear + pearson(found.log(), b.log())) / 2


def displacement_loss(
    covariance: torch.Tensor, ca: torch.Tensor, move: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Negative log-likelihoods, per degree of freedom, of displacements [N, 3] between conformers.

    The first is that of a Gaussian with the covariance of the network plus independent noise; the
    second multiplies the likelihoods of single residues. The likelihood is maximised over the
    scale of each pair, whose displacement may exceed thermal motion:
    n / 2 log(d S^-1 d) + 1/2 log det S. Zero is the value for equal independent motions.
    """
    known = torch.isfinite(move).all(-1)
    rows = known.repeat_interleave(3)
    d = move[known].double().flatten()
    rigid = rigid_motions(ca[known])
    part, size = _without(rigid, covariance[rows][:, rows]), len(d)
    part = part / (part.diagonal().sum() / size)
    lower = torch.linalg.cholesky(part + _FLOOR * torch.eye(size, dtype=d.dtype, device=d.device))
    white = torch.linalg.solve_triangular(lower, d.unsqueeze(1), upper=False)
    whole = (white**2).sum().log() - (d**2).sum().log() + 2 * lower.diagonal().log().sum() / size
    each = part.diagonal().reshape(-1, 3).mean(1) + _FLOOR
    square = (d.view(-1, 3) ** 2).mean(1)
    alone = (square / each).mean().log() - square.mean().log() + each.log().mean()
    return whole / 2, alone / 2


def profile_loss(covariance: torch.Tensor, move: torch.Tensor) -> torch.Tensor:
    """One minus the correlation of the RMSF with how far residues moved between conformers.

    The mean of three correlations: of both, of their logarithms, and of the logarithms without
    three residues at each end, which move farthest. `move` is [N, 3] in nm.
    """
    known = torch.isfinite(move).all(-1)
    rmsf, far = mean_square(covariance)[known].sqrt(), move[known].double().norm(dim=-1)
    logs = rmsf.log(), (far + _LEAST).log()
    inside = [x[_END:-_END] for x in logs]
    return 1 - (pearson(rmsf, far) + pearson(*logs) + pearson(*inside)) / 3


def _without(rigid: torch.Tensor, covariance: torch.Tensor) -> torch.Tensor:
    """P C P with P = 1 - R R^T, for a symmetric C and a few columns R."""
    along = covariance @ rigid  # [D, 6]
    cross = along @ rigid.T
    return covariance - cross - cross.T + rigid @ (rigid.T @ along) @ rigid.T


def size_loss(covariance: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
    """Error of the logarithms of mean, median and SD [3] (nm) of the RMSF; linear if large."""
    rmsf = mean_square(covariance).sqrt()
    found = torch.stack([rmsf.mean(), rmsf.quantile(0.5), rmsf.std()]).log()
    off = found - size.double().log()
    weight = off.new_tensor([1.0, 1.0, 0.5])
    zero = torch.zeros_like(off)
    value = torch.nn.functional.smooth_l1_loss(off, zero, beta=_LOG_RANGE, reduction="none")
    return (weight * value).sum() / weight.sum()
