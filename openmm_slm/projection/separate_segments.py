"""Draw segments apart that lie on one another: for frames that no push of residues parts (NumPy).

A decoder at times maps two segments to one place. Residues pushed off their nearest neighbours
then go this way and that. Here the smoothed traces push: the mean of some residues knows on which
side of the other segment it is, and the whole segment goes there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_HALF = 4  # residues to each side that a trace is smoothed over
_APART = 0.45  # nm between smoothed traces; strands of a sheet are 0.48 nm apart
_STEPS = 80


def untangle(
    x: np.ndarray,
    chain_break: np.ndarray,
    weight: np.ndarray,
    close: Callable[[np.ndarray, np.ndarray], None],
) -> None:
    """Part the segments of frames [F, L, 3, 3] in place.

    Parameters
    ----------
    chain_break, weight
        See `projection.close_peptide_bonds`.
    close : function
        Brings the peptides of some frames nearer to closed in place, given their numbers.
    """
    length = x.shape[1]
    place, chain = np.arange(length), np.cumsum(chain_break)
    band = np.maximum(_HALF + 1 - np.abs(place[:, None] - place), 0.0)
    band *= chain[:, None] == chain
    smooth = (band / band.sum(1, keepdims=True)).astype(np.float32)
    distant = np.abs(place[:, None] - place) > 2 * _HALF
    distant |= chain[:, None] != chain
    ready = weight.astype(np.float32)[:, None] > 0
    active = np.arange(len(x))
    for _ in range(_STEPS):
        trace = smooth @ x[active, :, 1]
        push, busy = _push(trace, distant)
        active = active[busy]
        if not len(active):
            break
        part = x[active] + (ready * (smooth @ push[busy]))[:, :, None]
        close(part, active)
        x[active] = part


def _push(trace: np.ndarray, distant: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where traces [F, L, 3] go, and which frames have segments that lie on one another."""
    frames, length = trace.shape[:2]
    centred = trace - trace.mean(1, keepdims=True)
    square = np.einsum("flx,flx->fl", centred, centred)
    square = square[:, :, None] + square[:, None] - 2 * centred @ centred.swapaxes(1, 2)
    frame, i, j = np.nonzero((square < _APART**2) & distant)
    delta = trace[frame, i] - trace[frame, j]
    distance = np.sqrt(np.einsum("px,px->p", delta, delta))
    missing = np.maximum(_APART - distance, 0)
    # A mean in which the residues that are nearer count more.
    share = missing * missing / np.maximum(distance, np.float32(1e-6))
    body, bodies = frame * length + i, frames * length
    push = np.stack([np.bincount(body, share * along, bodies) for along in delta.T], 1)
    push = push.astype(np.float32)
    push /= np.maximum(np.bincount(body, missing, bodies), 1e-6)[:, None].astype(np.float32)
    busy = np.bincount(frame, missing, frames) > 0
    return push.reshape(trace.shape), busy
