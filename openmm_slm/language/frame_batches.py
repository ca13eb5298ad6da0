"""Frames in batches that do not depend on which frames are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .sampling import frame_uniforms


@dataclass(frozen=True, eq=False)
class FrameBatch:
    """One batch of `size` frames, of which some are wanted.

    Attributes
    ----------
    rows, slots : ndarray, int64 [k]
        Where the wanted frames stand in the request and in the batch.
    given : ndarray, int64 [size, L]
        Known tokens, -1 where to sample.
    uniforms : ndarray, float64 [2, size, L]
        `frame_uniforms` of each frame.
    """

    rows: np.ndarray
    slots: np.ndarray
    given: np.ndarray
    uniforms: np.ndarray


def frame_batches(
    frames: np.ndarray, known: np.ndarray, size: int, seed: int
) -> Iterator[FrameBatch]:
    """Batches that hold `frames` (int64 [n]) with their `known` tokens [L] or [n, L].

    A frame is always computed in the same place of the same batch, whatever was asked for: matrix
    kernels may round differently for other shapes.
    """
    length = known.shape[-1]
    for group in np.unique(frames // size):
        rows = np.flatnonzero(frames // size == group)
        slots = frames[rows] % size
        given = np.zeros((size, length), np.int64)
        given[:] = -1 if known.ndim == 2 else known
        if known.ndim == 2:
            given[slots] = known[rows]
        uniforms = np.empty((2, size, length))
        for slot in range(size):
            uniforms[:, slot] = frame_uniforms(seed, int(group) * size + slot, length)
        yield FrameBatch(rows, slots, given, uniforms)


def known_tokens(known: np.ndarray | None, frames: int, length: int, vocabulary: int) -> np.ndarray:
    """`known`, or -1 [length] for None.

    Raises
    ------
    ValueError
        It is neither [length] nor [frames, length], or holds what is no token.
    """
    known = np.full(length, -1) if known is None else np.asarray(known)
    if known.shape not in ((length,), (frames, length)):
        raise ValueError(
            f"known has shape {known.shape}, expected {(length,)} or {(frames, length)}"
        )
    if known.size and (known.min() < -1 or known.max() >= vocabulary):
        raise ValueError(
            f"known tokens run from {known.min()} to {known.max()}, expected -1 (sample) or "
            f"0..{vocabulary - 1}"
        )
    return known
