"""Fragments of known structures that join the two ends of a gap (NumPy).

A fragment is a stretch of a library chain, with two residues more on each side: its *anchors*.
The distances between its anchor CA must be those at the gap, and N, CA and C of the anchors must
superpose. The *fit* of a fragment is the log-odds score of the letters of the gap with its profile
columns, minus a cost of the RMSD of its anchors (compare FREAD: Deane and Blundell, Protein
Science 2001; Choi and Deane, Proteins 2010).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from ..protein.sequence import encode_sequence
from ..protein.superposition import best_rotations
from .backbone_blocks import Block
from .library import Library
from .scoring import UNIT
from .storage import BLOCK

ANCHORS = 2  # residues on each side
SHORTEST, LONGEST = 3, 20  # residues of a gap
TOLERANCE = 0.12  # nm: distances of anchor CA, and RMSD of the anchors
RMSD_COST = 200.0  # nats per nm; 100 to 400 rank fragments equally well
MOST = 4000  # fragments of a gap

_STEP = 1e-3  # nm, of stored coordinates
_BONDED = 0.16  # nm, C-N
_TOGETHER = 32  # blocks decoded at a time


@dataclass(frozen=True, eq=False)
class Fragments:
    """Fragments that join the ends of a gap of K residues, best fit first.

    Attributes
    ----------
    backbone : ndarray, float32 [M, K, 3, 3]
        N, CA and C, superposed on the anchors; nm.
    fit : ndarray, float64 [M]
        Nats.
    chain, first : ndarray, int [M]
        Number of the library chain, and its residue with which the fragment begins.
    """

    backbone: np.ndarray
    fit: np.ndarray
    chain: np.ndarray
    first: np.ndarray

    def __len__(self) -> int:
        return len(self.fit)


def find_fragments(
    library: Library,
    letters: str,
    before: np.ndarray,
    after: np.ndarray,
    *,
    splits: Collection[str] | None = None,
    exclude: Collection[str] = (),
) -> Fragments:
    """Find fragments for a gap.

    Parameters
    ----------
    library : Library
        All its backbones are decoded at the first call, in about 3 s of CPU time; they take 100
        MiB.
    letters : str
        Amino acids of the gap.
    before, after : ndarray [2, 3 or more, 3]
        N, CA, C of the two residues before the gap, and of the two after it; nm.
    splits, exclude
        See `Library.search`.

    Returns
    -------
    Fragments
        Empty for gaps of fewer than 3 or more than 20 residues.
    """
    size = len(letters)
    ends = np.concatenate([before[:, :3], after[:, :3]]).astype(np.float64)
    if not SHORTEST <= size <= LONGEST or not np.isfinite(ends).all():
        empty = np.empty(0, int)
        return Fragments(np.empty((0, size, 3, 3), np.float32), np.empty(0), empty, empty)
    chosen = library.allowed(splits, exclude)
    coordinates, bonded = _coordinates(library)
    places = np.append(np.arange(ANCHORS), ANCHORS + size + np.arange(ANCHORS))
    begin = np.flatnonzero(bonded >= places[-1]) - places[-1]
    if len(chosen) < len(library):
        kept = np.zeros(len(library), bool)
        kept[chosen] = True
        begin = begin[kept[_chain_of(library)[begin]]]
    for i, j in product(range(ANCHORS), range(ANCHORS, 2 * ANCHORS)):
        # float32 throughout: in int16, differences of distant residues overflow.
        a, b = (coordinates[begin + places[k], 1].astype(np.float32) for k in (i, j))
        distance = _STEP * np.sqrt(((a - b) ** 2).sum(1))
        begin = begin[np.abs(distance - np.linalg.norm(ends[i, 1] - ends[j, 1])) < TOLERANCE]
    whole = begin[:, None] + np.arange(places[-1] + 1)
    found = _STEP * coordinates[whole].astype(np.float64)
    target = ends.reshape(-1, 3)
    mobile = found[:, places].reshape(len(begin), len(target), 3)
    centre = mobile.mean(1, keepdims=True)
    turned = np.swapaxes(
        best_rotations(np.swapaxes(mobile - centre, 1, 2) @ (target - target.mean(0))), 1, 2
    )
    off = (mobile - centre) @ turned + target.mean(0) - target
    error = np.sqrt((off**2).sum(-1).mean(1))
    rows = whole[:, ANCHORS:-ANCHORS]
    score = library.table[encode_sequence(letters), library.kinds[rows]].sum(1) / UNIT
    fit = score - RMSD_COST * error
    order = np.argsort(-fit, kind="stable")
    order = order[error[order] < TOLERANCE][:MOST]
    atoms = found[order, ANCHORS:-ANCHORS].reshape(len(order), 3 * size, 3)
    placed = (atoms - centre[order]) @ turned[order] + target.mean(0)
    chain = _chain_of(library)[rows[order, 0]]
    return Fragments(
        placed.reshape(-1, size, 3, 3).astype(np.float32),
        fit[order],
        chain,
        rows[order, 0] - library.begin[chain],
    )


@lru_cache(maxsize=1)
def _coordinates(library: Library) -> tuple[np.ndarray, np.ndarray]:
    """N, CA and C of all residues, and to how many residues before it each is bonded.

    Coordinates are int16 [R, 3, 3] in steps, those of a chain about its first known CA. The number
    of bonded residues is int16 [R], and -1 for a residue that is incomplete.
    """
    total = int(library.begin[-1])
    coordinates, bonded = np.zeros((total, 3, 3), np.int16), np.full(total, -1, np.int16)
    count = -(-len(library) // BLOCK)
    for number in range(0, count, _TOGETHER):
        blocks = [library.block(k) for k in range(number, min(count, number + _TOGETHER))]
        first = int(library.begin[number * BLOCK])
        x = Block.decode(blocks)[:, :3]
        part = slice(first, first + len(x))
        chain = _chain_of(library)[part]
        known = np.isfinite(x).all((1, 2))
        rows = np.flatnonzero(known)
        x = (
            x
            - x[rows[np.minimum(np.searchsorted(rows, _starts(chain)), len(rows) - 1)], 1][:, None]
        )
        known &= (np.abs(np.nan_to_num(x)) < np.iinfo(np.int16).max * _STEP).all((1, 2))
        coordinates[part] = np.rint(np.where(known[:, None, None], x, 0) / _STEP)
        with np.errstate(invalid="ignore"):
            near = np.linalg.norm(x[1:, 0] - x[:-1, 2], axis=1) < _BONDED
        joined = np.append(False, near & known[1:] & known[:-1] & (chain[1:] == chain[:-1]))
        place = np.arange(len(x))
        since = place - np.maximum.accumulate(np.where(joined, 0, place))
        bonded[part] = np.where(known, since, -1)
    return coordinates, bonded


def _starts(chain: np.ndarray) -> np.ndarray:
    """First row of the chain of each row; `chain` [R] is sorted."""
    return np.searchsorted(chain, chain)


@lru_cache(maxsize=1)
def _chain_of(library: Library) -> np.ndarray:
    """Number of the chain of each residue, int32 [R]."""
    return np.repeat(np.arange(len(library), dtype=np.int32), np.diff(library.begin))
