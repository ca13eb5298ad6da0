"""Scalar features of frames; lengths in nm."""

from __future__ import annotations

import numpy as np

from .in_threads import in_threads

VAL_CLASH = 0.3  # nm; 2 x 1.7 - 0.4 Angstrom, as in the val-clash of ESMDiff
TOLERANCE = 1e-7  # nm
STILL = 1e-6  # nm; features that vary less are treated as constant
BLOCK = 400_000  # largest number of distances in an array, which the caches of a CPU hold


def radius_of_gyration(ca: np.ndarray) -> np.ndarray:
    """sqrt(mean_i |x_i - mean x|^2) [F] of CA [F, L, 3], equal masses."""
    x = ca.astype(np.float64)
    return np.sqrt(((x - x.mean(1, keepdims=True)) ** 2).sum(-1).mean(-1))


def by_residue(ca: np.ndarray) -> np.ndarray:
    """CA [F, L, 3] as a contiguous array [3, L, F], for `distances`."""
    return np.ascontiguousarray(ca.transpose(2, 1, 0))


def distances(x: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Distances [P, F] between CA i and j [P] of `by_residue` [3, L, F]; float64."""
    out = np.zeros((len(i), x.shape[2]))
    for axis in x:
        step = axis[i].astype(np.float64)
        step -= axis[j]
        step *= step
        out += step
    return np.sqrt(out, out=out)


def pair_distances(ca: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Distances [F, P] between CA i and j [P] of CA [F, L, 3]; float64."""
    difference = ca[:, i].astype(np.float64) - ca[:, j]
    return np.sqrt(np.einsum("fpd,fpd->fp", difference, difference))


def pairs(position: np.ndarray, apart: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows i < j of residues at least `apart` positions apart in the sequence."""
    i, j = np.triu_indices(len(position), 1)
    far = position[j] - position[i] >= apart
    return i[far], j[far]


def pair_blocks(frames: int, n_pairs: int, most: int = BLOCK) -> list[slice]:
    """Slices of the pairs that have at most `most` distances in `frames` frames."""
    size = max(1, most // max(1, frames))
    return [slice(start, start + size) for start in range(0, n_pairs, size)]


def end_to_end(ca: np.ndarray, chain: np.ndarray) -> np.ndarray:
    """Distance [F, C] between the first and last CA of each chain of at least 4 residues.

    If no chain is that long, all chains are used.
    """
    number, first = np.unique(chain, return_index=True)
    last = np.append(first[1:], len(chain)) - 1
    long = last - first >= 3
    if not long.any():
        long = np.ones(len(number), bool)
    return pair_distances(ca, first[long], last[long])


def without_clash(ca: np.ndarray) -> np.ndarray:
    """bool [F]: no two CA are closer than 3.0 Angstrom, including sequence neighbours."""
    i, j = np.triu_indices(ca.shape[1], 1)
    x, closest = by_residue(ca), np.full(len(ca), np.inf)
    blocks = pair_blocks(len(ca), len(i))
    for least in in_threads(lambda part: distances(x, i[part], j[part]).min(0), blocks):
        np.minimum(closest, least, out=closest)
    return closest >= VAL_CLASH


def neighbour_distances(ca: np.ndarray, position: np.ndarray) -> np.ndarray:
    """CA-CA distances [F, P] of sequence neighbours."""
    row = np.flatnonzero(np.diff(position) == 1)
    return pair_distances(ca, row, row + 1)
