"""Many small superpositions at once: rotations from 3 x 3 covariances, without a loop.

Horn's quaternion (J. Opt. Soc. Am. A 4, 629, 1987): the rotation that maximises tr(R H), where
H = sum of x y^T, is the eigenvector of the largest eigenvalue of a symmetric 4 x 4 matrix K.
The eigenvalue is found by Newton's method on the characteristic polynomial, from above (Theobald,
Acta Cryst. A61, 478, 2005), the eigenvector as a column of the adjugate of K - lambda. Entries of
matrices are kept in arrays of their own, which NumPy works through three times faster.
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
    """Upper triangle of the adjugate of a symmetric 4 x 4 matrix, by 2 x 2 minors."""
    m = m | {(j, i): value for (i, j), value in m.items()}
    top = {(i, j): m[0, i] * m[1, j] - m[0, j] * m[1, i] for i, j in _PAIRS}
    low = {(i, j): m[2, i] * m[3, j] - m[2, j] * m[3, i] for i, j in _PAIRS}
    out = {}
    for i in range(4):
        lone = i ^ 1  # the other row of the half that row i is in
        minors = low if i < 2 else top
        for j in range(i, 4):
            a, b, c = (k for k in range(4) if k != j)
            value = m[lone, a] * minors[b, c] - m[lone, b] * minors[a, c]
            value += m[lone, c] * minors[a, b]
            out[i, j] = value if (i + j) % 2 == 0 else -value
    return out


def _eigenvalue(h: np.ndarray, k: Symmetric) -> np.ndarray:
    """Largest root [N] of lambda^4 + c2 lambda^2 + c1 lambda + c0 (K has no trace)."""
    xx, xy, xz, yx, yy, yz, zx, zy, zz = h
    c2 = -2 * (h**2).sum(0)
    c1 = -8 * (xx * (yy * zz - yz * zy) - xy * (yx * zz - yz * zx) + xz * (yx * zy - yy * zx))
    adjugate = _adjugate(k)
    c0 = sum(k[0, j] * adjugate[0, j] for j in range(4))
    value = np.sqrt(-1.5 * c2)  # sqrt(3) |H|_F: never below the root
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
    """Entries [9, N] of matrices [..., 3, 3] in blocks, scaled to |H| = 1, and the scale [N]."""
    flat = np.asarray(h, np.float64).reshape(-1, 9)
    for start in range(0, len(flat), BLOCK):
        entries = np.ascontiguousarray(flat[start : start + BLOCK].T)
        size = np.sqrt((entries**2).sum(0))
        yield entries / np.where(size > 0, size, 1.0), size


def best_traces(h: np.ndarray) -> np.ndarray:
    """max tr(R H) over proper rotations [...], for H [..., 3, 3] = sum of x y^T."""
    found = [_eigenvalue(entries, _horn_matrix(entries)) * size for entries, size in _blocks(h)]
    return np.concatenate([*found, np.empty(0)]).reshape(np.shape(h)[:-2])


def best_rotations(h: np.ndarray) -> np.ndarray:
    """Proper rotations R [..., 3, 3] with y ~ R x, for H [..., 3, 3] = sum of x y^T.

    Where points are too few or on a line, one of the equally good rotations.
    """
    found = [_rotations(entries) for entries, _ in _blocks(h)]
    return np.concatenate([*found, np.empty((0, 3, 3))]).reshape(np.shape(h))


def _rotations(h: np.ndarray) -> np.ndarray:
    k = _horn_matrix(h)
    value = _eigenvalue(h, k)
    adjugate = _adjugate({ij: k[ij] - value if ij[0] == ij[1] else k[ij] for ij in k})
    # Every column is the eigenvector times one of its entries: take the longest.
    columns = np.stack([[adjugate[min(i, j), max(i, j)] for i in range(4)] for j in range(4)])
    pick = np.abs(columns[range(4), range(4)]).argmax(0)
    q = columns[pick, :, np.arange(len(pick))].T
    norm = np.sqrt((q**2).sum(0))
    doubtful = norm < 1e-6  # a (nearly) double root: the adjugate vanishes
    q = q / np.where(norm > 0, norm, 1.0)
    if doubtful.any():
        full = [[k[min(i, j), max(i, j)][doubtful] for i in range(4)] for j in range(4)]
        q[:, doubtful] = np.linalg.eigh(np.moveaxis(np.array(full), -1, 0))[1][:, :, -1].T
    w, x, y, z = q
    rotation = np.stack([
        w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z,
    ])  # fmt: skip
    return rotation.T.reshape(-1, 3, 3)


def rmsd_matrix(mobile: np.ndarray, target: np.ndarray) -> np.ndarray:
    """RMSD [M, T] after optimal superposition of sets [M, L, 3] on sets [T, L, 3]; their unit.

    From sums alone: L RMSD^2 = |x|^2 + |y|^2 - 2 max tr(R H), both centred.
    """
    x, y = (np.asarray(s, np.float64) for s in (mobile, target))
    x, y = (s - s.mean(-2, keepdims=True) for s in (x, y))
    h = np.einsum("mla,tlb->mtab", x, y, optimize=True)
    square = (x**2).sum((1, 2))[:, None] + (y**2).sum((1, 2)) - 2 * best_traces(h)
    return np.sqrt(np.maximum(square, 0.0) / x.shape[1])


def superposed(mobile: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Sets [..., L, 3] moved onto `target` [..., L, 3] (leading dimensions broadcast); float64."""
    x, y = (np.asarray(s, np.float64) for s in (mobile, target))
    centre = y.mean(-2, keepdims=True)
    x = x - x.mean(-2, keepdims=True)
    rotation = best_rotations(np.swapaxes(x, -1, -2) @ (y - centre))
    return x @ np.swapaxes(rotation, -1, -2) + centre
