"""Tries of a segment from which frames start, that of the lowest cost first."""

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


@dataclass(frozen=True, eq=False)
class Pool:
    """Tries [P, K, 4, 3] of a segment, and those [S, K, 4, 3] from which frames start; nm."""

    tries: np.ndarray
    starts: np.ndarray


def pool_size(sampled: int, rows: int) -> int:
    """Number of tries of one of `rows` frames of a template, with `sampled` residues to sample."""
    return int(np.clip(min(POOL // rows, _RESIDUES // max(1, sampled)), 8, POOL))


def best_distinct(x: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Numbers of the tries [P, K, ...] from which frames start, that of the lowest cost first."""
    flat = x.reshape(len(x), -1)
    order, nearest = np.argsort(cost, kind="stable"), np.full(len(x), np.inf)
    chosen: list[int] = []
    for number in order:
        if nearest[number] > _APART:
            chosen.append(int(number))
            square = ((flat - flat[number]) ** 2).sum(1) / (flat.shape[1] / 3)
            nearest = np.minimum(nearest, np.sqrt(square))
            if len(chosen) == STARTS:
                break
    return np.array(chosen)
