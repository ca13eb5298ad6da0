"""Least-squares superposition of many point sets at once, vectorised over the sets.

The rotation that maximises tr(R H), with H = sum of x y^T, is a quaternion: the eigenvector of the
largest eigenvalue of a symmetric 4 x 4 matrix K (Horn, J. Opt. Soc. Am. A 4, 629, 1987). Newton's
method on the characteristic polynomial finds the eigenvalue from above (Theobald, Acta Cryst. A61,
478, 2005). The eigenvector is a column of the adjugate of K - lambda. Each matrix entry is stored
in an array of its own, which is three times faster in NumPy.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

BLOCK = 4096
_PAIRS = tuple(combinations(range(4), 2))
Symmetric = dict[tuple[int, int], np.ndarray]


def _horn_matrix(h: np.ndarray) -> Symmetric:
    """Upper triangle of K from the entries [9, N] of H."""
    xx, xy, xz, yx, yy, yz, zx, zy, zz = h
    return {
        (0, 0): xx + yy + zz, (0, 1): yz - zy, (0, 2): zx - xz, (0, 3): xy - yx,
        (1, 1): xx - yy - zz, (1, 2): xy + yx, (1, 3): zx + xz,
        (2, 2): yy - xx - zz, (2, 3): yz + zy,
        (3, 3): zz - xx - yy,
    }  # fmt: skip


def _adjugate(m: Symmetric) -> Symmetric:
    """Upper triangle of the adjugate of a symmetric 4 x 4 matrix, from 2 x 2 minors."""
    m = m | {(j, i): value for (i, j), value in m.items()}
    top = {(i, j): m[0, i] * m[1, j] - m[0, j] * m[1, i] for i, j in _PAIRS}
    low = {(i, j): m[2, i] * m[3, j] - m[2, j] * m[3, i] for i, j in _PAIRS}
    out = {}
    for i in range(4):
        lone = i ^ 1  # the other row in the same half of the matrix
        minors = low if i < 2 else top
        for j in range(i, 4):
            a, b, c = (k for k in range(4) if k != j)
            value = m[lone, a] * minors[b, c] - m[lone, b] * minors[a, c]
            value += m[lone, c] * minors[a, b]
            out[i, j] = value if (i + j) % 2 == 0 else -value
    return out


def _eigenvalue(h: np.ndarray, k: Symmetric) -> np.ndarray:
    """Largest root [N] of lambda^4 + c2 lambda^2 + c1 lambda + c0 (K is traceless)."""
    xx, xy, xz, yx, yy, yz, zx, zy, zz = h
    c2 = -2 * (h**2).sum(0)
    c1 = -8 * (xx * (yy * zz - yz * zy) - xy * (yx * zz - yz * zx) + xz * (yx * zy - yy * zx))
    adjugate = _adjugate(k)
    c0 = sum(k[0, j] * adjugate[0, j] for j in range(4))
    # Two upper bounds of the root: the sum of the squares, and that of the fourth powers of all.
    fourth = np.sqrt(np.sqrt(np.maximum(2 * c2 * c2 - 4 * c0, 0)))
    value = np.minimum(np.sqrt(-1.5 * c2), fourth)
    for _ in range(60):
        square = value * value
        f = (square + c2) * square + c1 * value + c0
        slope = (4 * square + 2 * c2) * value + c1
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.where(slope > 0, f / slope, 0.0)
        value = value - step
        if (np.abs(step) <= 1e-13 * value).all():
            break
    return value


def _blocks(h: np.ndarray):
    """Yield blocks of matrices [..., 3, 3]: entries [9, N] scaled to |H| = 1, and scales [N]."""
    flat = np.asarray(h, np.float64).reshape(-1, 9)
    for start in range(0, len(flat), BLOCK):
        entries = np.ascontiguousarray(flat[start : start + BLOCK].T)
        size = np.sqrt((entries**2).sum(0))
        yield entries / np.where(size > 0, size, 1.0), size


def best_traces(h: np.ndarray) -> np.ndarray:
    """Maximum [...] of tr(R H) over proper rotations R, for H [..., 3, 3] = sum of x y^T."""
    found = [_eigenvalue(entries, _horn_matrix(entries)) * size for entries, size in _blocks(h)]
    return np.concatenate([*found, np.empty(0)]).reshape(np.shape(h)[:-2])


def best_rotations(h: np.ndarray) -> np.ndarray:
    """Proper rotations R [..., 3, 3] with y ~ R x, for H [..., 3, 3] = sum of x y^T.

    If the points are too few or collinear, one of the optimal rotations is returned.
    """
    found = [_rotations(entries) for entries, _ in _blocks(h)]
    return np.concatenate([*found, np.empty((0, 3, 3))]).reshape(np.shape(h))


def _rotations(h: np.ndarray) -> np.ndarray:
    """Best rotations [N, 3, 3] for the entries [9, N] of H."""
    k = _horn_matrix(h)
    value = _eigenvalue(h, k)
    adjugate = _adjugate({ij: k[ij] - value if ij[0] == ij[1] else k[ij] for ij in k})
    # Every column is a multiple of the eigenvector; the longest is the most accurate.
    columns = np.stack([[adjugate[min(i, j), max(i, j)] for i in range(4)] for j in range(4)])
    pick = np.abs(columns[range(4), range(4)]).argmax(0)
    q = columns[pick, :, np.arange(len(pick))].T
    norm = np.sqrt((q**2).sum(0))
    degenerate = norm < 1e-6  # the adjugate vanishes at a (nearly) double root
    q = q / np.where(norm > 0, norm, 1.0)
    if degenerate.any():
        full = [[k[min(i, j), max(i, j)][degenerate] for i in range(4)] for j in range(4)]
        q[:, degenerate] = np.linalg.eigh(np.moveaxis(np.array(full), -1, 0))[1][:, :, -1].T
    w, x, y, z = q
    rotation = np.stack([
        w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z,
    ])  # fmt: skip
    return rotation.T.reshape(-1, 3, 3)


def _fit_weights(a: np.ndarray, b: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Weights [..., P]: 1 for points that are finite in both sets and in `mask`, else 0."""
    fit = np.isfinite(a).all(-1) & np.isfinite(b).all(-1)
    return (fit if mask is None else fit & np.asarray(mask, bool)).astype(np.float64)


def superpose(
    mobile: np.ndarray, target: np.ndarray, mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best proper rotation and translation of `mobile` onto `target` (Horn, 1987).

    Parameters
    ----------
    mobile, target : ndarray [..., P, 3]
        Leading dimensions broadcast. Points that are not finite in both sets are not fitted.
    mask : ndarray, bool [..., P], optional
        Points to fit; all are moved.

    Returns
    -------
    moved : ndarray [..., P, 3]
    rotation : ndarray [..., 3, 3]
        moved = mobile @ rotation.T + translation. The determinant is +1 (no mirror images).
    translation : ndarray [..., 3]
        All three results are NaN for a set without points to fit; other sets are not affected.
    """
    mobile, target = np.asarray(mobile, np.float64), np.asarray(target, np.float64)
    weight = _fit_weights(mobile, target, mask)[..., None]
    a, b = (np.where(weight > 0, x, 0.0) for x in (mobile, target))
    count = weight.sum(-2, keepdims=True)
    with np.errstate(invalid="ignore"):
        centre_a, centre_b = (x.sum(-2, keepdims=True) / count for x in (a, b))
    covariance = np.swapaxes((a - centre_a) * weight, -1, -2) @ (b - centre_b)
    rotation = np.where(count > 0, best_rotations(np.nan_to_num(covariance)), np.nan)
    translation = (centre_b - centre_a @ np.swapaxes(rotation, -1, -2))[..., 0, :]
    moved = mobile @ np.swapaxes(rotation, -1, -2) + translation[..., None, :]
    return moved, rotation, translation


def rmsd(mobile: np.ndarray, target: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """RMSD (nm) of the points that `superpose` fits; NaN without such points."""
    moved, _, _ = superpose(mobile, target, mask)
    target = np.asarray(target, np.float64)
    weight = _fit_weights(np.asarray(mobile, np.float64), target, mask)
    square = np.where(weight > 0, ((moved - target) ** 2).sum(-1), 0.0)
    with np.errstate(invalid="ignore"):
        return np.sqrt(square.sum(-1) / weight.sum(-1))


def rmsd_matrix(mobile: np.ndarray, target: np.ndarray) -> np.ndarray:
    """RMSD [M, T] after superposition of sets [M, L, 3] on sets [T, L, 3], in their unit.

    No set is rotated: L RMSD^2 = |x|^2 + |y|^2 - 2 max tr(R H) for centred x and y.
    """
    x, y = (np.asarray(s, np.float64) for s in (mobile, target))
    x, y = (s - s.mean(-2, keepdims=True) for s in (x, y))
    h = np.einsum("mla,tlb->mtab", x, y, optimize=True)
    square = (x**2).sum((1, 2))[:, None] + (y**2).sum((1, 2)) - 2 * best_traces(h)
    return np.sqrt(np.maximum(square, 0.0) / x.shape[1])


def superposed(mobile: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Sets [..., L, 3] superposed on `target` [..., L, 3] (leading dimensions broadcast)."""
    x, y = (np.asarray(s, np.float64) for s in (mobile, target))
    centre = y.mean(-2, keepdims=True)
    x = x - x.mean(-2, keepdims=True)
    rotation = best_rotations(np.swapaxes(x, -1, -2) @ (y - centre))
    return x @ np.swapaxes(rotation, -1, -2) + centre
