"""Local alignment of one query against many sequences at once, with affine gaps (NumPy).

Smith & Waterman (J. Mol. Biol. 1981) with the gap recursion of Gotoh (J. Mol. Biol. 1982):

    H[i, j] = max(0, H[i-1, j-1] + S[i, j], E[i, j], F[i, j])
    E[i, j] = max(H[i, j-1] - open, E[i, j-1] - extend)
    F[i, j] = max(H[i-1, j] - open, F[i-1, j] - extend)

The cells of one anti-diagonal i + j do not depend on each other, nor on those of other sequences.
They are computed together, sequences of similar length side by side, in 16-bit integers where the
scores fit. A step then takes a dozen NumPy calls for tens of thousands of cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

LANES = 512  # sequences side by side
TRACED_BYTES = 32 * 2**20  # memory for the cells of the alignments traced together


def best_scores(
    rows: np.ndarray, table: np.ndarray, sequences: Sequence[np.ndarray], opening: int, extend: int
) -> np.ndarray:
    """Largest local alignment score of the query with each sequence.

    Parameters
    ----------
    rows : ndarray, int [Q]
        Row of `table` of each query residue.
    table : ndarray, int [R, K]
        Score of a query residue of kind r with a library residue of kind k.
    sequences : sequence of ndarray, int [L]
        Kinds of the residues of each library sequence.
    opening, extend : int
        Costs of the first and of each further residue of a gap.

    Returns
    -------
    ndarray, int [N]
    """
    found = np.zeros(len(sequences), np.int64)
    lengths = np.array([len(sequence) for sequence in sequences])
    order = np.argsort(lengths, kind="stable")
    table = with_end(table, rows, int(lengths.max(initial=1)))
    for first in range(0, len(order), LANES):
        chosen = order[first : first + LANES]
        scores = _scores(table, [sequences[k] for k in chosen])
        best = np.zeros((len(rows), len(chosen)), table.dtype)
        for _, h, _, _ in _anti_diagonals(rows, scores, opening, extend):
            np.maximum(best, h, out=best)
        found[chosen] = best.max(0)
    return found


def with_end(table: np.ndarray, rows: np.ndarray, longest: int) -> np.ndarray:
    """The table in a suitable integer type, with one more column for the end of a sequence.

    No alignment goes on at the cost of that column.
    """
    kind = _integer_type(table, rows, longest)
    return np.pad(table.astype(kind), ((0, 0), (0, 1)), constant_values=-np.iinfo(kind).max)


def _integer_type(table: np.ndarray, rows: np.ndarray, longest: int) -> type:
    """Integers in which no score of the query with a sequence of `longest` residues overflows."""
    best = min(int(table.max(1)[rows].clip(0).sum()), int(table.max(initial=0)) * longest)
    return np.int16 if best < 2**15 - 256 else np.int32


def _scores(table: np.ndarray, sequences: list[np.ndarray]) -> np.ndarray:
    """Scores [R, J + 1, N] of each kind of query residue with position j of each sequence.

    The last position is padding.
    """
    longest = max(map(len, sequences))
    kinds = np.full((longest + 1, len(sequences)), table.shape[1] - 1, np.intp)
    for lane, sequence in enumerate(sequences):
        kinds[: len(sequence), lane] = sequence
    return table[:, kinds]


def _anti_diagonals(
    rows: np.ndarray, scores: np.ndarray, opening: int, extend: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield d, and H, E and F [Q, N] of the cells (i, d - i). The arrays are used again."""
    query, (_, columns, lanes) = len(rows), scores.shape
    last = columns - 1
    flat = scores.reshape(-1, lanes)
    kind = scores.dtype
    place = np.arange(query)
    base = rows * columns
    # Row 0 stands for the query position before the first.
    h, before, ahead = (np.zeros((query + 1, lanes), kind) for _ in range(3))
    e, f, above = (np.full((query + 1, lanes), -(np.iinfo(kind).max // 2), kind) for _ in range(3))
    opened, found = np.empty_like(h), np.empty((query, lanes), kind)
    zero = np.zeros_like(found)  # NumPy is slow with a single 0
    for d in range(query + columns - 2):
        column = d - place
        column = np.where((column >= 0) & (column < last), column, last)
        np.take(flat, base + column, axis=0, out=found, mode="clip")
        np.subtract(h, opening, out=opened)
        e -= extend
        np.maximum(e, opened, out=e)
        np.subtract(f[:-1], extend, out=above[1:])
        np.maximum(above[1:], opened[:-1], out=above[1:])
        f, above = above, f
        now = ahead[1:]
        np.add(before[:-1], found, out=now)
        np.maximum(now, e[1:], out=now)
        np.maximum(now, f[1:], out=now)
        np.maximum(now, zero, out=now)
        yield d, now, e[1:], f[1:]
        before, h, ahead = h, ahead, before


def best_alignments(
    rows: np.ndarray, table: np.ndarray, sequences: Sequence[np.ndarray], opening: int, extend: int
) -> list[tuple[int, np.ndarray]]:
    """Score and aligned pairs of the best local alignment with each sequence.

    Parameters
    ----------
    rows, table, sequences, opening, extend
        As for `best_scores`.

    Returns
    -------
    list of (int, ndarray, int [2, P])
        Indices of the query residues and of the sequence's residues, both ascending.
    """
    found = []
    longest = max(map(len, sequences), default=1)
    table = with_end(table, rows, longest)
    cell_bytes = 3 * table.itemsize * len(rows) * (len(rows) + longest)
    lanes = max(1, TRACED_BYTES // cell_bytes)
    for first in range(0, len(sequences), lanes):
        part = list(sequences[first : first + lanes])
        scores = _scores(table, part)
        steps = len(rows) + scores.shape[1] - 2
        kept = np.empty((3, steps, len(rows), len(part)), table.dtype)
        for d, *values in _anti_diagonals(rows, scores, opening, extend):
            kept[:, d] = values
        for lane in range(len(part)):
            found.append(_trace(kept[..., lane], opening, extend))
    return found


def _trace(kept: np.ndarray, opening: int, extend: int) -> tuple[int, np.ndarray]:
    """Follow H, E and F [3, D, Q] back from the largest H."""
    h, e, f = kept
    d, i = np.unravel_index(h.argmax(), h.shape)
    score, pairs = int(h[d, i]), []
    j, state = int(d - i), "h"
    i = int(i)
    while i >= 0 and j >= 0:
        d = i + j
        if state == "h":
            value = h[d, i]
            if value <= 0:
                break
            if value == e[d, i]:
                state = "e"
            elif value == f[d, i]:
                state = "f"
            else:
                pairs.append((i, j))
                i, j = i - 1, j - 1
        elif state == "e":  # a residue of the library without partner
            if j > 0 and e[d, i] == h[d - 1, i] - opening:
                state = "h"
            j -= 1
        else:
            if i > 0 and f[d, i] == h[d - 1, i - 1] - opening:
                state = "h"
            i -= 1
    return score, np.array(pairs[::-1], int).reshape(-1, 2).T
