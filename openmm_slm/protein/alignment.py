"""Two sequences of one protein, of which each may lack residues."""

from __future__ import annotations

import numpy as np

from ..errors import StructureError

MATCH, MISMATCH, OPEN, EXTEND = 1.0, -3.0, -2.0, -0.05


def align(a: str, b: str) -> list[tuple[int, int]]:
    """Places (i, j) of residues a[i] and b[j] that belong together, in order.

    Global alignment with affine gaps (Gotoh, J. Mol. Biol. 162, 705, 1982), free at the ends; X
    goes with any letter. Residues may be absent from either, none may be another one.

    Raises
    ------
    StructureError
        Less than half of the shorter sequence matches, or residues differ (the first is named).
    """
    places = _traced(*_tables(a, b))
    good = [(i, j) for i, j in places if _same(a[i], b[j])]
    if 2 * len(good) < min(len(a), len(b)):
        raise StructureError(
            f"the sequences do not match: {len(good)} residues in common of {len(a)} in the "
            f"samples and {len(b)} in the reference; compare ensembles of one protein"
        )
    remedy = "slice both trajectories to the residues they share (mdtraj's atom_slice)"
    for i, j in places:
        if not _same(a[i], b[j]):
            raise StructureError(
                f"the sequences differ: residue {i + 1} of the samples is {a[i]}, residue {j + 1} "
                f"of the reference is {b[j]}; {remedy}"
            )
    for (i, j), (k, m) in zip([(-1, -1), *places], [*places, (len(a), len(b))], strict=True):
        if k - i > 1 and m - j > 1:
            raise StructureError(
                f"the sequences differ: {a[i + 1 : k]} from residue {i + 2} of the samples stands "
                f"where the reference has {b[j + 1 : m]}; {remedy}"
            )
    return places


def _same(a: str, b: str) -> bool:
    return a == b or "X" in (a, b)


def _tables(a: str, b: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best scores [A + 1, B + 1] of alignments that end in a pair, a gap in b, a gap in a."""
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
        up[i, -1] = np.maximum(ends[-1], up[i - 1, -1])  # free beyond the end of b
        # A gap that opened at any column to the left: a running maximum.
        ends = np.maximum(pair[i], up[i]) + OPEN - reach
        best = np.maximum.accumulate(ends)[:-1] + reach[:-1]
        left[i, 1:] = best if i < rows else np.maximum.accumulate(np.maximum(pair[i], up[i]))[:-1]
    return pair, up, left


def _traced(pair: np.ndarray, up: np.ndarray, left: np.ndarray) -> list[tuple[int, int]]:
    tables, places = (pair, up, left), []
    i, j = pair.shape[0] - 1, pair.shape[1] - 1
    state = int(np.argmax([table[i, j] for table in tables]))
    while i > 0 and j > 0:
        if state == 0:
            i, j = i - 1, j - 1
            places.append((i, j))
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
    return places[::-1]
