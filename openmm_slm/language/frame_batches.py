"""Compute frames in fixed batches, independent of which frames are requested."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from ..networks.out_of_memory import in_halves
from .sampling import frame_uniforms


def sample_frames(
    compute: Callable[..., tuple[torch.Tensor, ...]],
    frames: Sequence[int],
    known: np.ndarray,
    size: int,
    seed: int,
    own: dict[str, np.ndarray] | None = None,
) -> tuple[np.ndarray, ...]:
    """Compute frames in batches of `size`.

    A frame always has the same row of the same batch, whichever frames are requested, because
    matrix kernels may round differently for other shapes. A batch is halved only if it does not
    fit in memory.

    Parameters
    ----------
    compute : callable (given int64 [B, L], uniforms float64 [2, B, L], **own) -> Tensors [B, ...]
        Takes the known tokens (-1 where to sample) and the `frame_uniforms` of B frames.
    frames : sequence of int, length n
    known : ndarray, int [L] or [n, L]
    size : int
        Frames in a batch.
    seed : int
    own : dict of ndarray [n, ...], optional
        Further arguments of `compute`, one row per requested frame; zeros for other frames.

    Returns
    -------
    tuple of ndarray [n, ...]
        Outputs of `compute`, one row per requested frame.
    """
    frames, length = np.asarray(frames, dtype=np.int64), known.shape[-1]
    out: list[np.ndarray] = []
    for group in np.unique(frames // size):
        rows = np.flatnonzero(frames // size == group)
        slots = frames[rows] % size
        given = np.zeros((size, length), np.int64)
        given[:] = -1 if known.ndim == 2 else known
        if known.ndim == 2:
            given[slots] = known[rows]
        numbers = int(group) * size + np.arange(size)
        uniforms = np.stack([frame_uniforms(seed, frame, length) for frame in numbers.tolist()], 1)

        more = {}
        for name, values in (own or {}).items():
            more[name] = np.zeros((size, *values.shape[1:]), values.dtype)
            more[name][slots] = values[rows]

        def some(part: slice, given=given, uniforms=uniforms, more=more):
            mine = {name: values[part] for name, values in more.items()}
            return compute(given[part], uniforms[:, part], **mine)

        made = [torch.cat(part) for part in zip(*in_halves(some, size), strict=True)]
        found = [values.cpu().numpy()[slots] for values in made]
        out = out or [np.empty((len(frames), *each.shape[1:]), each.dtype) for each in found]
        for whole, each in zip(out, found, strict=True):
            whole[rows] = each
    return tuple(out)


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
