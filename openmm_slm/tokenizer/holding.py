"""Decoded backbones laid on known frames, for decoders that take none (NumPy).

The whole is superposed; a residue then goes towards its known frame by the share that its level
and the decoder's own error give that frame; a stretch without known frames follows the known
residues at its ends, each end by its own rigid motion, mixed along the stretch. So the stretch
joins both ends, and what closing its peptide bonds has to move is little and spread out.
"""

from __future__ import annotations

import numpy as np

from ..protein.sequence import UNRELATED
from ..protein.superposition import superpose

DECODER_ERROR = 0.05  # nm, of CA: the s of s^2 / (s^2 + level^2)
_FLANK = 3  # known residues that say where the end of a stretch belongs


def lay_on(
    backbone: np.ndarray, start: np.ndarray, level: np.ndarray, index: np.ndarray
) -> np.ndarray:
    """N, CA, C of decoded residues, in the coordinates of starting frames.

    Parameters
    ----------
    backbone : ndarray [F, L, 3 or more, 3]
        N, CA, C, ...; nm.
    start : ndarray [F, L, 3 or more, 3]
        Starting frames; NaN where absent.
    level : ndarray [F, L]
        How far CA may be from where the answer has it (nm); 0: fixed, infinite: absent.
    index : ndarray, int [L]
        Residue index.

    Returns
    -------
    ndarray, float32 [F, L, 3, 3]
        Every residue has the shape it was decoded with. Frames without known residues are as they
        were.
    """
    out = np.array(backbone[:, :, :3], np.float32)
    chain = np.append(0, np.cumsum(np.diff(index) >= UNRELATED))
    for frame, (x, frames, s) in enumerate(zip(out, start[:, :, :3], level, strict=True)):
        known = np.isfinite(frames).all((-1, -2)) & np.isfinite(s)
        if known.any():
            out[frame] = _lay_one(x.astype(np.float64), frames, s, known, chain)
    return out


def _lay_one(
    x: np.ndarray, frames: np.ndarray, level: np.ndarray, known: np.ndarray, chain: np.ndarray
) -> np.ndarray:
    fitted = known & (level == 0) if (level[known] == 0).any() else known
    _, rotation, shift = superpose(x[fitted].reshape(-1, 3), frames[fitted].reshape(-1, 3))
    x = x @ rotation.T + shift
    laid = x.copy()
    share = DECODER_ERROR**2 / (DECODER_ERROR**2 + level[known] ** 2)
    laid[known] += share[:, None, None] * (frames[known] - x[known])
    for first, end in _stretches(~known, chain):
        here = chain == chain[first]
        rows = np.arange(len(x))
        before = rows[here & known & (rows < first)][-_FLANK:]
        after = rows[here & known & (rows >= end)][:_FLANK]
        ends = [_follow(x, laid, flank, slice(first, end)) for flank in (before, after)]
        there = [moved for moved in ends if moved is not None]
        if len(there) == 2:
            mix = np.arange(1, end - first + 1)[:, None, None] / (end - first + 1)
            laid[first:end] = (1 - mix) * there[0] + mix * there[1]
        elif there:
            laid[first:end] = there[0]
    return superpose(x, laid)[0]  # each residue rigid


def _follow(x: np.ndarray, laid: np.ndarray, flank: np.ndarray, what: slice) -> np.ndarray | None:
    """Residues `what` moved as the `flank` has been; None without one."""
    if not len(flank):
        return None
    _, rotation, shift = superpose(x[flank].reshape(-1, 3), laid[flank].reshape(-1, 3))
    return x[what] @ rotation.T + shift


def _stretches(inside: np.ndarray, chain: np.ndarray) -> list[tuple[int, int]]:
    """Rows [first, end) of each run of `inside` within one chain."""
    edges = np.flatnonzero((np.diff(inside) != 0) | (np.diff(chain) != 0)) + 1
    bounds = [0, *edges.tolist(), len(inside)]
    return [(a, b) for a, b in zip(bounds[:-1], bounds[1:], strict=True) if inside[a]]


def keep_atoms(
    backbone: np.ndarray, start: np.ndarray, level: np.ndarray, index: np.ndarray
) -> None:
    """Put the atoms of fixed residues back as they were, in place.

    N, CA and C were idealised. O too, but for that of a residue before one that moves: it lies in
    a peptide plane that is new.
    """
    fixed = level == 0
    after = np.append(fixed[:, 1:] | (np.diff(index) != 1), np.ones((len(fixed), 1), bool), 1)
    for atoms, which in ((slice(3), fixed), (3, fixed & after)):
        known = which & np.isfinite(start[:, :, atoms]).reshape(*which.shape, -1).all(-1)
        backbone[:, :, atoms][known] = start[:, :, atoms][known]
