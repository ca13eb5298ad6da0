"""Thread a sequence onto backbones that it is aligned to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..protein.superposition import superpose

_FLANK = 1, 2  # residues to resample on each side of an insertion, and of a deletion


def thread(
    length: int, backbones: Sequence[np.ndarray], places: Sequence[np.ndarray]
) -> np.ndarray:
    """Place the residues of a query on the aligned residues of other chains.

    Parameters
    ----------
    length : int
        Number of residues L of the query.
    backbones : sequence of ndarray [N, 4, 3]
        N, CA, C and O of each chain in nm.
    places : sequence of ndarray, int [2, P]
        Aligned residues of the query (first row) and of each chain; ascending.

    Returns
    -------
    ndarray, float32 [T, L, 14, 3]
        nm, superposed on the first chain. NaN where a residue is not aligned, and beside
        insertions and deletions, where the backbone must be rebuilt to close the gap. A chain that
        has fewer than three residues in common with the first is not superposed.
    """
    atom14 = np.full((len(backbones), length, 14, 3), np.nan, np.float32)
    for frame, backbone, pairs in zip(atom14, backbones, places, strict=True):
        ours, theirs = without_flanks(pairs)
        frame[ours, :4] = backbone[theirs]
    ca = atom14[:, :, 1]
    _, rotation, shift = superpose(ca, ca[:1])
    moved = atom14 @ np.swapaxes(rotation, -1, -2)[:, None] + shift[:, None, None]
    common = np.isfinite(ca) & np.isfinite(ca[:1])
    fits = common.all(-1).sum(1) >= 3
    atom14[fits] = moved[fits]
    return atom14


def without_flanks(places: np.ndarray) -> np.ndarray:
    """Aligned pairs [2, P] without those beside insertions and deletions."""
    ours, theirs = places
    kept = np.ones(len(ours), bool)
    for k in np.flatnonzero((np.diff(ours) != 1) | (np.diff(theirs) != 1)):
        beside = _FLANK[int(theirs[k + 1] - theirs[k] != 1)]
        kept[max(0, k + 1 - beside) : k + 1 + beside] = False
    return places[:, kept]
