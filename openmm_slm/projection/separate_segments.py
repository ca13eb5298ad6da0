"""Separate chain segments that occupy the same space (NumPy).

A decoder sometimes places two segments on top of each other. Pushes between single residues then
point in random directions and do not separate them. Here the smoothed CA traces repel each other:
the average over several residues shows on which side of the other segment each one lies, and the
whole segment moves to that side.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_HALF = 4  # residues on each side over which a trace is smoothed
_APART = 0.45  # nm between smoothed traces; strands of a sheet are 0.48 nm apart
_STEPS = 80


def separate_segments(
    x: np.ndarray,
    chain_break: np.ndarray,
    weight: np.ndarray,
    close: Callable[[np.ndarray, np.ndarray], None],
) -> None:
    """Separate the segments of frames [F, L, 3, 3] in place.

    Parameters
    ----------
    x : ndarray, float32 [F, L, 3, 3]
        N, CA, C; nm.
    chain_break, weight
        See `close_peptides.close_peptide_bonds`.
    close : function
        Takes coordinates and numbers of frames; moves their peptide bonds towards closed in place.
    """
    length = x.shape[1]
    index, chain = np.arange(length), np.cumsum(chain_break)
    band = np.maximum(_HALF + 1 - np.abs(index[:, None] - index), 0.0)
    band *= chain[:, None] == chain
    smooth = (band / band.sum(1, keepdims=True)).astype(np.float32)
    distant = np.abs(index[:, None] - index) > 2 * _HALF
    distant |= chain[:, None] != chain
    movable = weight.astype(np.float32)[:, None] > 0
    active = np.arange(len(x))
    for _ in range(_STEPS):
        trace = smooth @ x[active, :, 1]
        push, overlapping = _push(trace, distant)
        active = active[overlapping]
        if not len(active):
            break
        part = x[active] + (movable * (smooth @ push[overlapping]))[:, :, None]
        close(part, active)
        x[active] = part


def _push(trace: np.ndarray, distant: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Displacements of the traces [F, L, 3], and which frames [F] have overlapping segments."""
    frames, length = trace.shape[:2]
    centred = trace - trace.mean(1, keepdims=True)
    square = np.einsum("flx,flx->fl", centred, centred)
    square = square[:, :, None] + square[:, None] - 2 * centred @ centred.swapaxes(1, 2)
    frame, i, j = np.nonzero((square < _APART**2) & distant)
    delta = trace[frame, i] - trace[frame, j]
    distance = np.sqrt(np.einsum("px,px->p", delta, delta))
    missing = np.maximum(_APART - distance, 0)
    # The mean of the pushes, weighted by overlap.
    share = missing * missing / np.maximum(distance, np.float32(1e-6))
    body, bodies = frame * length + i, frames * length
    push = np.stack([np.bincount(body, share * along, bodies) for along in delta.T], 1)
    push = push.astype(np.float32)
    push /= np.maximum(np.bincount(body, missing, bodies), 1e-6)[:, None].astype(np.float32)
    overlapping = np.bincount(frame, missing, frames) > 0
    return push.reshape(trace.shape), overlapping
