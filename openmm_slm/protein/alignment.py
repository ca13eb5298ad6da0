"""Alignment of two sequences of one protein; either may lack residues."""

from __future__ import annotations

import numpy as np

from ..errors import StructureError, counted

MATCH, MISMATCH, OPEN, EXTEND = 1.0, -3.0, -2.0, -0.05


def align(a: str, b: str) -> list[tuple[int, int]]:
    """Aligned pairs (i, j) of residues a[i] and b[j], in ascending order.

    Global alignment with affine gaps (Gotoh, J. Mol. Biol. 162, 705, 1982); end gaps are free. X
    matches any letter. Gaps are allowed, substitutions are not.

    Raises
    ------
    StructureError
        Less than half of the shorter sequence matches, or the sequences have a substitution (the
        message names the first).
    """
    pairs = _traceback(*_score_tables(a, b))
    matches = [(i, j) for i, j in pairs if _match(a[i], b[j])]
    if 2 * len(matches) < min(len(a), len(b)):
        raise StructureError(
            f"the sequences do not match: {counted(len(matches), 'residue')} in common of {len(a)} "
            f"in the samples and {len(b)} in the reference; compare ensembles of one protein"
        )
    remedy = "slice both trajectories to the residues they share (mdtraj's atom_slice)"
    for i, j in pairs:
        if not _match(a[i], b[j]):
            raise StructureError(
                f"the sequences differ: residue {i + 1} of the samples is {a[i]}, residue {j + 1} "
                f"of the reference is {b[j]}; {remedy}"
            )
    for (i, j), (k, m) in zip([(-1, -1), *pairs], [*pairs, (len(a), len(b))], strict=True):
        if k - i > 1 and m - j > 1:
            raise StructureError(
                f"the sequences differ: the samples have {a[i + 1 : k]} from residue {i + 2} on, "
                f"the reference has {b[j + 1 : m]} there; {remedy}"
            )
    return pairs


def _match(a: str, b: str) -> bool:
    return a == b or "X" in (a, b)


def _score_tables(a: str, b: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best scores [A + 1, B + 1] of alignments that end in a pair, a gap in b, or a gap in a."""
    rows, columns = len(a), len(b)
    pair, up, left = np.full((3, rows + 1, columns + 1), -np.inf)
    pair[0, 0] = 0
    up[1:, 0] = 0
    left[0, 1:] = 0
    code_b = np.frombuffer(b.encode("latin-1"), np.uint8)
    x, reach = ord("X"), EXTEND * np.arange(columns + 1)
    for i in range(1, rows + 1):
        letter = ord(a[i - 1])
        score = np.where(code_b == letter, MATCH, MISMATCH)
        score = np.where((code_b == x) | (letter == x), 0.0, score)
        pair[i, 1:] = score + np.maximum.reduce([pair, up, left])[i - 1, :-1]
        ends = np.maximum(pair[i - 1], left[i - 1])
        up[i, 1:] = np.maximum(ends + OPEN, up[i - 1] + EXTEND)[1:]
        up[i, -1] = np.maximum(ends[-1], up[i - 1, -1])  # end gaps are free
        # The gap may have opened at any column to the left, hence a running maximum.
        ends = np.maximum(pair[i], up[i]) + OPEN - reach
        best = np.maximum.accumulate(ends)[:-1] + reach[:-1]
        left[i, 1:] = best if i < rows else np.maximum.accumulate(np.maximum(pair[i], up[i]))[:-1]
    return pair, up, left


def _traceback(pair: np.ndarray, up: np.ndarray, left: np.ndarray) -> list[tuple[int, int]]:
    """Aligned pairs of the best alignment in the tables of `_score_tables`."""
    tables, pairs = (pair, up, left), []
    i, j = pair.shape[0] - 1, pair.shape[1] - 1
    state = int(np.argmax([table[i, j] for table in tables]))
    while i > 0 and j > 0:
        if state == 0:
            i, j = i - 1, j - 1
            pairs.append((i, j))
            state = int(np.argmax([table[i, j] for table in tables]))
        elif state == 1:
            i -= 1
            cost = (0.0, 0.0) if j == pair.shape[1] - 1 else (OPEN, EXTEND)
            options = [pair[i, j] + cost[0], up[i, j] + cost[1], left[i, j] + cost[0]]
            state = int(np.argmax(options))
        else:
            j -= 1
            cost = (0.0, 0.0) if i == pair.shape[0] - 1 else (OPEN, EXTEND)
            options = [pair[i, j] + cost[0], up[i, j] + cost[0], left[i, j] + cost[1]]
            state = int(np.argmax(options))
    return pairs[::-1]
