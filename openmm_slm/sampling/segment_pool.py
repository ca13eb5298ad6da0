"""Tries of a segment from which frames start, and frames that are returned: the best first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Tries of a frame of the template, for short segments.
POOL = 256
#: Residues in all tries: of many residues there are fewer tries, as each takes longer.
_RESIDUES = 3072
#: Tries from which frames start, at most.
STARTS = 50
_APART = 0.08  # nm, RMSD between two of them, at least
#: nm, the same for the frames of `best_frames`. On 24 validation loops, the closest of three, five
#: and ten frames is closer on average with 0.1 or 0.15 nm than without.
DISTINCT = 0.15


@dataclass(frozen=True, eq=False)
class Pool:
    """Tries [P, K, 4, 3] of a segment, and those [S, K, 4, 3] from which frames start; nm."""

    tries: np.ndarray
    starts: np.ndarray


def pool_size(sampled: int, rows: int) -> int:
    """Number of tries of one of `rows` frames of a template, with `sampled` residues to sample."""
    return int(np.clip(min(POOL // rows, _RESIDUES // max(1, sampled)), 8, POOL))


def best_distinct(
    x: np.ndarray, cost: np.ndarray, most: int = STARTS, apart: float = _APART
) -> np.ndarray:
    """Numbers of distinct samples [P, K, ...] of a segment, that of the lowest cost first.

    At most so many, and any two have an RMSD of more than `apart` (nm).
    """
    flat = x.reshape(len(x), -1)
    order, nearest = np.argsort(cost, kind="stable"), np.full(len(x), np.inf)
    chosen: list[int] = []
    for number in order:
        if nearest[number] > apart:
            chosen.append(int(number))
            square = ((flat - flat[number]) ** 2).sum(1) / (flat.shape[1] / 3)
            nearest = np.minimum(nearest, np.sqrt(square))
            if len(chosen) == most:
                break
    return np.array(chosen)


def best_frames(score: np.ndarray, x: np.ndarray, most: int) -> np.ndarray:
    """Numbers of so many frames of high score [F] and different segments, the best first.

    Segments [F, K, ...] of any two have an RMSD of more than `DISTINCT`, unless there are too few.
    """
    distinct = best_distinct(x, -score, most, DISTINCT)
    order = np.argsort(-score, kind="stable")
    chosen = np.concatenate([distinct, order[~np.isin(order, distinct)]])[:most]
    return chosen[np.argsort(-score[chosen], kind="stable")]
