"""TM-score at fixed residue correspondence (Zhang & Skolnick, Proteins 57, 702, 2004).

TM = max over superpositions of 1/L_norm sum_i 1 / (1 + (d_i / d0)^2), with
d0 = 1.24 (L_norm - 15)^(1/3) - 1.8 Angstrom, at least 0.5.

As in Zhang & Skolnick, the search starts from superpositions of contiguous fragments of L, L/2,
L/4, ... residues. Each start is refined by superposition with weights w_i = (1 + (d_i/d0)^2)^-2.
This is a minorise-maximise iteration: 1/(1 + u) is convex in u = (d/d0)^2, so its tangent is a
lower bound, and the best superposition for the tangent never lowers the score. No cut-off distances
are needed. Poor starts are dropped on the way.

The smaller the score, the harder is the maximum to find. All pairs start from fragments of L/4 and
more. Those that then score 0.7 or more are done: most residues fit already. The others start from
fragments down to L/16 (at least 4) too, and those under 0.5 from more of them. Of 600 pairs of 223
residues (near, hinged and unrelated), scores over 0.5 were those of a search from all fragments of
4 residues and more to 1e-4. Unrelated pairs (mean score 0.155) differed from it by 0.013 at most
and by 1e-5 on average, in both directions: no search is exhaustive.
"""

from __future__ import annotations

import numpy as np

from ..protein.superposition import best_rotations
from .in_threads import in_threads

# Stages: number of starts to keep, and number of refinements before the next selection.
COARSE = ((4, 1), (2, 0))
QUICK = ((8, 2), (4, 3), (2, 0))
# Keyed by the longest chain they apply to: overlap of fragments, and stages. Short chains have many
# narrow maxima because their d0 is small.
THOROUGH = {
    32: (8, ((1000, 8), (60, 8), (16, 0))),
    64: (8, ((1000, 2), (60, 3), (20, 5), (8, 0))),
    10**9: (4, ((60, 2), (20, 3), (6, 0))),
}
SIMILAR, UNRELATED, DIFFERENT = 0.7, 0.4, 0.5
BLOCK = 1_000_000  # largest number of residues x starts x pairs in an array
PAIRS = 256


def tm_d0(length: int) -> float:
    """d0 in nm."""
    return max(0.05, 0.124 * np.cbrt(max(length - 15, 0)) - 0.18)


def fragments(length: int, overlap: int = 2, shortest: int = 4) -> np.ndarray:
    """Start and end [S, 2] of fragments; starts are 1/`overlap` of the fragment length apart."""
    found, size = [], length
    while True:
        step = max(1, size // overlap)
        starts = [*range(0, length - size, step), length - size]
        found += [(start, start + size) for start in starts]
        if size <= shortest:
            return np.array(found)
        size = max(shortest, size // 2)


def tm_scores(mobile: np.ndarray, target: np.ndarray, norm_length: int | None = None) -> np.ndarray:
    """TM-scores of corresponding pairs of conformations.

    Parameters
    ----------
    mobile, target : ndarray [P, L, 3]
        CA positions (nm), finite; residue i of one corresponds to residue i of the other.
    norm_length : int, optional
        L_norm, for d0 and the mean; default L. It exceeds L if residues are missing.

    Returns
    -------
    ndarray [P]
        In (0, 1]; 1 for identical conformations of L_norm residues.
    """
    mobile, target = (np.asarray(s) for s in (mobile, target))
    length = mobile.shape[1]
    norm_length = norm_length or length
    d0 = tm_d0(norm_length)
    overlap, stages = next(value for longest, value in THOROUGH.items() if length <= longest)
    short = max(4, length // 16)
    coarse, quick, thorough = (
        fragments(length, 2, max(4, length // 4)),
        fragments(length, 2, short),
        fragments(length, overlap, short),
    )

    def of_block(part: slice) -> np.ndarray:
        x, y = mobile[part], target[part]
        out = _search(x, y, d0, coarse, COARSE)
        more = np.flatnonzero((out >= UNRELATED) & (out < SIMILAR))
        out[more] = np.maximum(out[more], _search(x[more], y[more], d0, quick, QUICK))
        hard = np.flatnonzero(out < DIFFERENT)
        out[hard] = np.maximum(out[hard], _search(x[hard], y[hard], d0, thorough, stages))
        return out

    blocks = [slice(start, start + PAIRS) for start in range(0, len(mobile), PAIRS)]
    out = np.concatenate([*in_threads(of_block, blocks), np.empty(0)])
    return out * (length / norm_length)


def tm_matrix(mobile: np.ndarray, target: np.ndarray, norm_length: int | None = None) -> np.ndarray:
    """TM-scores [M, T] between CA sets [M, L, 3] and [T, L, 3] (nm)."""
    i, j = np.divmod(np.arange(len(mobile) * len(target)), max(1, len(target)))
    return _listed(mobile, target, i, j, norm_length).reshape(len(mobile), len(target))


def tm_self(sets: np.ndarray) -> np.ndarray:
    """Symmetric TM-scores [M, M] of CA sets [M, L, 3] (nm), 1 on the diagonal."""
    i, j = np.triu_indices(len(sets), 1)
    out = np.eye(len(sets))
    out[i, j] = out[j, i] = _listed(sets, sets, i, j)
    return out


def _listed(mobile, target, i, j, norm_length=None) -> np.ndarray:
    blocks = [slice(k, k + 16 * PAIRS) for k in range(0, len(i), 16 * PAIRS)]
    found = [tm_scores(mobile[i[part]], target[j[part]], norm_length) for part in blocks]
    return np.concatenate([*found, np.empty(0)])


def _search(mobile, target, d0, starts, stages) -> np.ndarray:
    """Maximum [P] over superpositions of the mean of 1 / (1 + (d/d0)^2) over residues."""
    if not len(mobile):
        return np.zeros(0)
    x, y = (np.asarray(s, np.float64) / d0 for s in (mobile, target))
    x, y = (s - s.mean(-2, keepdims=True) for s in (x, y))
    products = (x[..., :, None] * y[..., None, :]).reshape(*x.shape[:2], 9)
    moments = np.concatenate([np.ones((*x.shape[:2], 1)), x, y, products], -1)  # [P, L, 16]
    x, y = (np.swapaxes(s, -1, -2).astype(np.float32, order="C") for s in (x, y))
    block = max(1, BLOCK // (x.shape[2] * len(starts)))
    blocks = [slice(k, k + block) for k in range(0, len(x), block)]
    share = np.concatenate([_best_starts(x[b], y[b], moments[b], starts, stages) for b in blocks])
    moments = moments.astype(np.float32)
    out, active = np.zeros(len(x)), np.arange(len(x))
    for _ in range(60):
        sums = np.square(share) @ moments[active]
        score, share = _evaluate(x[active], y[active], *_superposition(sums))
        gained = score.max(1) - out[active] > 1e-5
        out[active] = np.maximum(out[active], score.max(1))
        active, share = active[gained], share[gained]
        if not len(active):
            break
    return out


def _best_starts(x, y, moments, starts, stages) -> np.ndarray:
    """1 / (1 + d^2) [P, K, L] of each residue in the best superpositions after `stages`."""
    running = np.concatenate([np.zeros_like(moments[:, :1]), moments.cumsum(1)], 1)
    sums = running[:, starts[:, 1]] - running[:, starts[:, 0]]
    moments = moments.astype(np.float32)
    score, share = _evaluate(x, y, *_superposition(sums))
    for kept, rounds in stages:
        if kept < score.shape[1]:
            best = np.argpartition(-score, kept - 1, 1)[:, :kept]
            rows = np.arange(len(x))[:, None]
            score, share = score[rows, best], share[rows, best]
        for _ in range(rounds):
            score, share = _evaluate(x, y, *_superposition(np.square(share) @ moments))
    return share


def _superposition(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation [P, S, 3, 3] and shift [P, S, 3] from weighted sums of 1, x, y and x y^T."""
    sums = sums.astype(np.float64)
    weight = np.maximum(sums[..., :1], 1e-12)
    centre_x, centre_y = sums[..., 1:4] / weight, sums[..., 4:7] / weight
    h = sums[..., 7:].reshape(*sums.shape[:-1], 3, 3)
    rotation = best_rotations(h - sums[..., 1:4, None] * centre_y[..., None, :])
    return rotation, centre_y - (rotation @ centre_x[..., None])[..., 0]


def _evaluate(x, y, rotation, shift) -> tuple[np.ndarray, np.ndarray]:
    """Score [P, S], and 1 / (1 + d^2) [P, S, L] of each residue, for x, y [P, 3, L] in d0."""
    pairs, starts = rotation.shape[:2]
    flat = rotation.astype(np.float32).reshape(pairs, starts * 3, 3) @ x
    moved = flat.reshape(pairs, starts, 3, -1)
    moved += shift.astype(np.float32)[..., None]
    moved -= y[:, None]
    square = np.einsum("psdl,psdl->psl", moved, moved)
    square += 1
    share = np.reciprocal(square, out=square)
    return share.mean(-1), share
