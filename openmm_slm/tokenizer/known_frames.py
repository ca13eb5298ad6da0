"""Fit decoded backbones to known frames, for decoders without starting frames (NumPy).

1. The whole backbone is superposed on the known frames.
2. Each known residue moves towards its frame, by a fraction that follows from its level and the
   error of the decoder.
3. A segment without known frames follows the known residues at its two ends. The two rigid
   motions are interpolated along the segment, so it joins both ends, and closing its peptide
   bonds needs only small, spread-out displacements.
"""

from __future__ import annotations

import numpy as np

from ..protein.sequence import UNRELATED
from ..protein.superposition import superpose

DECODER_ERROR = 0.05  # nm, of CA: the s in the fraction s^2 / (s^2 + level^2)
_FLANK = 3  # known residues that define the rigid motion at an end of a segment


def fit_to_frames(
    backbone: np.ndarray, start: np.ndarray, level: np.ndarray, index: np.ndarray
) -> np.ndarray:
    """Fit N, CA, C of decoded residues to starting frames.

    Parameters
    ----------
    backbone : ndarray [F, L, 3 or more, 3]
        N, CA, C, ...; nm.
    start : ndarray [F, L, 3 or more, 3]
        Starting frames; NaN where absent.
    level : ndarray [F, L]
        Expected displacement of CA from its starting frame (nm); 0 is fixed, infinite is absent.
    index : ndarray, int [L]
        Residue index.

    Returns
    -------
    ndarray, float32 [F, L, 3, 3]
        Backbones in the coordinates of `start`. Each residue keeps its decoded shape. Frames
        without known residues are unchanged.
    """
    out = np.array(backbone[:, :, :3], np.float32)
    chain = np.append(0, np.cumsum(np.diff(index) >= UNRELATED))
    for frame, (x, frames, s) in enumerate(zip(out, start[:, :, :3], level, strict=True)):
        known = np.isfinite(frames).all((-1, -2)) & np.isfinite(s)
        if known.any():
            out[frame] = _fit_one(x.astype(np.float64), frames, s, known, chain)
    return out


def _fit_one(
    x: np.ndarray, frames: np.ndarray, level: np.ndarray, known: np.ndarray, chain: np.ndarray
) -> np.ndarray:
    reference = known & (level == 0) if (level[known] == 0).any() else known
    _, rotation, shift = superpose(x[reference].reshape(-1, 3), frames[reference].reshape(-1, 3))
    x = x @ rotation.T + shift
    fitted = x.copy()
    fraction = DECODER_ERROR**2 / (DECODER_ERROR**2 + level[known] ** 2)
    fitted[known] += fraction[:, None, None] * (frames[known] - x[known])
    for first, end in _segments(~known, chain):
        same_chain = chain == chain[first]
        rows = np.arange(len(x))
        before = rows[same_chain & known & (rows < first)][-_FLANK:]
        after = rows[same_chain & known & (rows >= end)][:_FLANK]
        ends = [_move_with(x, fitted, flank, slice(first, end)) for flank in (before, after)]
        moved = [end_moved for end_moved in ends if end_moved is not None]
        if len(moved) == 2:
            weight = np.arange(1, end - first + 1)[:, None, None] / (end - first + 1)
            fitted[first:end] = (1 - weight) * moved[0] + weight * moved[1]
        elif moved:
            fitted[first:end] = moved[0]
    return superpose(x, fitted)[0]  # superposes residue by residue: each keeps its shape


def _move_with(
    x: np.ndarray, fitted: np.ndarray, flank: np.ndarray, segment: slice
) -> np.ndarray | None:
    """Apply the rigid motion of the `flank` residues to `segment`; None without a flank."""
    if not len(flank):
        return None
    _, rotation, shift = superpose(x[flank].reshape(-1, 3), fitted[flank].reshape(-1, 3))
    return x[segment] @ rotation.T + shift


def _segments(inside: np.ndarray, chain: np.ndarray) -> list[tuple[int, int]]:
    """Rows [first, end) of each run of True in `inside` within one chain."""
    edges = np.flatnonzero((np.diff(inside) != 0) | (np.diff(chain) != 0)) + 1
    bounds = [0, *edges.tolist(), len(inside)]
    return [(a, b) for a, b in zip(bounds[:-1], bounds[1:], strict=True) if inside[a]]


def restore_fixed_atoms(
    backbone: np.ndarray, start: np.ndarray, level: np.ndarray, index: np.ndarray
) -> None:
    """Copy the atoms of fixed residues from `start` to `backbone`, in place.

    The decoder idealises N, CA and C. O is copied as well, unless the next residue moves: its
    peptide plane is then new.
    """
    fixed = level == 0
    after = np.append(fixed[:, 1:] | (np.diff(index) != 1), np.ones((len(fixed), 1), bool), 1)
    for atoms, residues in ((slice(3), fixed), (3, fixed & after)):
        known = residues & np.isfinite(start[:, :, atoms]).reshape(*residues.shape, -1).all(-1)
        backbone[:, :, atoms][known] = start[:, :, atoms][known]
