"""Best gap-free local alignment of a query with each of many sequences: a quick filter (NumPy).

The score of the best gap-free segment that ends in cell (i, j) is

    H[i, j] = max(0, H[i-1, j-1] + S[i, j])

All positions j of many sequences are computed together, one query residue after the other, in
pieces small enough for the processor's cache. It takes a tenth of the time of an alignment with
gaps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .local_alignment import with_end

PIECE = 16384  # positions computed together


def segment_scores(
    rows: np.ndarray, table: np.ndarray, sequences: Sequence[np.ndarray]
) -> np.ndarray:
    """Largest gap-free local alignment score of the query with each sequence.

    Parameters
    ----------
    rows : ndarray, int [Q]
        Row of `table` of each query residue.
    table : ndarray, int16 [R, K]
        Score of a query residue of kind r with a library residue of kind k.
    sequences : sequence of ndarray, int [L]
        Kinds of the residues of each library sequence.

    Returns
    -------
    ndarray, int16 [N]
    """
    longest = max(map(len, sequences), default=1)
    table = with_end(table, rows, longest)
    kind, end = table.dtype, table.shape[1] - 1
    used, rows = np.unique(rows, return_inverse=True)
    table = table[used]
    rows = rows.tolist()
    found = [np.zeros(0, kind)]
    for piece in _pieces(sequences):
        lengths = np.array([len(sequence) + 1 for sequence in piece])
        begin = np.cumsum(lengths) - lengths
        kinds = np.full(lengths.sum(), end, np.intp)
        for first, sequence in zip(begin.tolist(), piece, strict=True):
            kinds[first : first + len(sequence)] = sequence
        scores = np.take(table, kinds, axis=1, mode="clip")
        h, ahead = (np.zeros(len(kinds) + 1, kind) for _ in range(2))
        best, zero = (np.zeros(len(kinds), kind) for _ in range(2))
        for row in rows:
            now = ahead[1:]
            np.add(h[:-1], scores[row], out=now)
            np.maximum(now, zero, out=now)  # NumPy is four times slower with a single 0
            np.maximum(best, now, out=best)
            h, ahead = ahead, h
        found.append(np.maximum.reduceat(best, begin))
    return np.concatenate(found)


def _pieces(sequences: Sequence[np.ndarray]):
    """Consecutive sequences of some `PIECE` positions in all."""
    piece, filled = [], 0
    for sequence in sequences:
        piece.append(sequence)
        filled += len(sequence) + 1
        if filled >= PIECE:
            yield piece
            piece, filled = [], 0
    if piece:
        yield piece
