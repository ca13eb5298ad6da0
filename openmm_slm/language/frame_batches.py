"""Compute frames in fixed batches, independent of which frames are requested."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from ..networks.out_of_memory import in_halves
from .sampling import frame_uniforms

# The first batch of a run is divided before these frames: one frame, and the 4 or 8 that decide on
# disulfides, are common requests.
_FIRST = (1, 4, 8)


def sample_frames(
    compute: Callable[..., tuple[torch.Tensor, ...]],
    frames: Sequence[int],
    known: np.ndarray,
    size: int,
    seed: int,
    own: dict[str, np.ndarray] | None = None,
    draws: int = 1,
) -> tuple[np.ndarray, ...]:
    """Compute frames in batches of `size`; the first is divided at `_FIRST`.

    A frame always has the same row of the same batch, whichever frames are requested, because
    matrix kernels may round differently for other shapes. A batch is halved only if it does not
    fit in memory.

    Parameters
    ----------
    compute : callable (given int64 [B, L], uniforms float64 [2, B, L], **own) -> Tensors [B, ...]
        Takes the known tokens (-1 where to sample) and the `frame_uniforms` of the B samples of
        B / draws frames.
    frames : sequence of int, length n
    known : ndarray, int [L] or [n, L]
    size : int
        Frames in a batch.
    seed : int
    own : dict of ndarray [n, ...], optional
        Further arguments of `compute`, one row per requested frame; zeros for other frames.
    draws : int
        Samples of each frame; sample k of frame i has the random numbers of i * draws + k.

    Returns
    -------
    tuple of ndarray [n * draws, ...]
        Outputs of `compute` for the requested frames.
    """
    frames, length = np.asarray(frames, dtype=np.int64), known.shape[-1]
    out: list[np.ndarray] = []
    for first, last in _batches(frames, size):
        rows = np.flatnonzero((frames >= first) & (frames < last))
        slots, count = frames[rows] - first, last - first
        given = np.zeros((count, length), np.int64)
        given[:] = -1 if known.ndim == 2 else known
        if known.ndim == 2:
            given[slots] = known[rows]
        numbers = range(first * draws, last * draws)
        uniforms = np.stack([frame_uniforms(seed, frame, length) for frame in numbers], 1)

        more = {}
        for name, values in (own or {}).items():
            more[name] = np.zeros((count, *values.shape[1:]), values.dtype)
            more[name][slots] = values[rows]

        def some(part: slice, given=given, uniforms=uniforms, more=more):
            mine = {name: values[part] for name, values in more.items()}
            each = slice(part.start * draws, part.stop * draws)
            return compute(given[part].repeat(draws, 0), uniforms[:, each], **mine)

        made = [torch.cat(part) for part in zip(*in_halves(some, count), strict=True)]
        parts = [values.cpu().numpy() for values in made]
        found = [x.reshape(count, draws, *x.shape[1:])[slots] for x in parts]
        out = out or [np.empty((len(frames), *each.shape[1:]), each.dtype) for each in found]
        for whole, each in zip(out, found, strict=True):
            whole[rows] = each
    return tuple(values.reshape(-1, *values.shape[2:]) for values in out)


def _batches(frames: np.ndarray, size: int) -> list[tuple[int, int]]:
    """First and last + 1 of the batches that contain the frames."""
    found = set()
    for frame in frames.tolist():
        first = frame - frame % size
        edges = [first, first + size]
        if first == 0:
            edges = [0, *(edge for edge in _FIRST if edge < size), size]
        place = next(i for i, edge in enumerate(edges[1:]) if frame < edge)
        found.add((edges[place], edges[place + 1]))
    return sorted(found)


def known_tokens(known: np.ndarray | None, frames: int, length: int, vocabulary: int) -> np.ndarray:
    """Validate known tokens; all -1 (int [length]) for None.

    Raises
    ------
    ValueError
        The shape is neither [length] nor [frames, length], or a token is out of range.
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
