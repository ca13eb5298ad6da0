"""Fluctuations about the mean structure: RMSF, principal components, distances between them."""

from __future__ import annotations

import numpy as np

from ..errors import require
from ..protein.superposition import best_rotations, superposed
from .features import STILL

MODES = 10
FRAMES = 500  # in one array
ROUNDS, ROUND = 200, 1e-8  # most iterations, and largest change (nm) at convergence


def mean_structure(ca: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean [L, 3] of CA [F, L, 3] (nm) superposed on that mean, iterated to convergence."""
    used = np.flatnonzero(weights > 0)
    x, share = ca[used].astype(np.float64), weights[used] / weights.sum()
    mean = x[0]
    x -= x.mean(1, keepdims=True)
    # Products of matrices with all coordinates give rotations and means; no frame is moved.
    wide = np.ascontiguousarray(x.transpose(1, 0, 2)).reshape(x.shape[1], -1)  # [L, F * 3]
    del x
    for _ in range(ROUNDS):
        before, centre = mean, mean.mean(0)
        moments = (wide.T @ (before - centre)).reshape(-1, 3, 3)
        rotation = np.swapaxes(best_rotations(moments), 1, 2)
        mean = wide @ (rotation * share[:, None, None]).reshape(-1, 3) + centre
        if np.abs(mean - before).max() < ROUND:
            break
    return mean


def deviations(ca: np.ndarray, structure: np.ndarray) -> np.ndarray:
    """Coordinates [F, 3 L] of CA [F, L, 3] superposed on a structure [L, 3], less its own (nm)."""
    out = np.empty((len(ca), structure.size))
    for k in range(0, len(ca), FRAMES):
        moved = superposed(ca[k : k + FRAMES], structure) - structure
        out[k : k + FRAMES] = moved.reshape(len(moved), -1)
    return out


def rmsf(superposed_ca: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """RMSF sqrt(<|x_i - <x_i>|^2>) [K, L] (nm) of superposed CA [F, L, 3] for weights [F, K]."""
    flat = superposed_ca.reshape(len(superposed_ca), -1)
    centre, total = flat.mean(0, dtype=np.float64), weights.sum(0)[:, None]
    mean, square = np.zeros((2, weights.shape[1], flat.shape[1]))
    for k in range(0, len(flat), FRAMES):
        x, w = flat[k : k + FRAMES] - centre, weights[k : k + FRAMES].T
        mean += w @ x
        x *= x
        square += w @ x
    variance = square / total - (mean / total) ** 2
    return np.sqrt(np.maximum(variance, 0).reshape(len(variance), -1, 3).sum(-1))


def covariance(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Covariance [D, D] of x [F, D] with weights [F], normalised by their sum."""
    used = np.flatnonzero(weights > 0)
    share = weights / weights.sum()
    mean, out = share @ x, np.zeros((x.shape[1],) * 2)
    for k in range(0, len(used), FRAMES):
        rows = used[k : k + FRAMES]
        part = (x[rows] - mean) * np.sqrt(share[rows, None])
        out += part.T @ part
    return out


def principal_modes(x: np.ndarray, weights: np.ndarray, modes: int = MODES) -> np.ndarray:
    """Eigenvectors [D, k] of `covariance`, largest first, as of `leading_modes`.

    For fewer frames than coordinates they follow from the matrix of products of frames.
    """
    used = np.flatnonzero(weights > 0)
    if len(used) >= x.shape[1]:
        return leading_modes(covariance(x, weights), modes)[1]
    share = weights[used] / weights.sum()
    rows = x[used]
    rows = (rows - share @ rows) * np.sqrt(share[:, None])
    value, vector = leading_modes(rows @ rows.T, modes)
    return rows.T @ (vector / np.sqrt(value))


def leading_modes(matrix: np.ndarray, modes: int = MODES) -> tuple[np.ndarray, np.ndarray]:
    """At most `modes` largest eigenvalues [k] (nm^2) and their eigenvectors [D, k].

    Eigenvalues at the level of rounding errors are dropped.
    """
    eigh = require("scipy.linalg").eigh
    size = len(matrix)
    value, vector = eigh(matrix, subset_by_index=[max(0, size - modes), size - 1])
    value, vector = value[::-1], vector[:, ::-1]
    kept = value > max(1e-9 * value[0], STILL**2)
    return value[kept], vector[:, kept]


def rmsip(u: np.ndarray, v: np.ndarray) -> float:
    """Root mean square inner product of modes [D, k] and [D, m].

    sqrt(1/min(k, m) sum_ij (u_i . v_j)^2) (Amadei et al., Proteins 36, 419, 1999). It is 1 if one
    space contains the other, and NaN without modes.
    """
    number = min(u.shape[1], v.shape[1])
    return float(np.sqrt(((u.T @ v) ** 2).sum() / number)) if number else float("nan")


def gaussian_w2(mean_a, cov_a, mean_b, cov_b) -> float:
    """2-Wasserstein distance of two Gaussians.

    W2^2 = |a - b|^2 + tr(A + B - 2 (B^1/2 A B^1/2)^1/2) (Dowson & Landau, J. Multivar. Anal. 12,
    450, 1982).
    """
    root = _root(cov_b)
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_a @ root), 0)).sum()
    square = ((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross
    return float(np.sqrt(max(square, 0.0)))


def _root(matrix: np.ndarray) -> np.ndarray:
    value, vector = np.linalg.eigh(matrix)
    return (vector * np.sqrt(np.maximum(value, 0))) @ vector.T


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's r; NaN if `a` or `b` (nm) varies by no more than rounding errors."""
    if min(np.ptp(a), np.ptp(b)) < STILL:
        return float("nan")
    a, b = (x - x.mean() for x in (a, b))
    return float((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rho: Pearson's r of the ranks, with ties averaged."""
    if min(np.ptp(a), np.ptp(b)) < STILL:
        return float("nan")
    rank = require("scipy.stats").rankdata
    return correlation(rank(a), rank(b))
