"""Alignments of many sequences at once are those of the textbook."""

from __future__ import annotations

import numpy as np

from openmm_slm.library.local_alignment import best_alignments, best_scores
from openmm_slm.library.ungapped_filter import segment_scores

RNG = np.random.default_rng(0)


def textbook(scores: np.ndarray, opening: float, extend: float) -> float:
    """Best local score by the recursions of Gotoh, cell by cell."""
    h = np.zeros(np.add(scores.shape, 1))
    e, f = np.full((2, *h.shape), -np.inf)
    for i, row in enumerate(scores, 1):
        for j, score in enumerate(row, 1):
            e[i, j] = max(h[i, j - 1] - opening, e[i, j - 1] - extend)
            f[i, j] = max(h[i - 1, j] - opening, f[i - 1, j] - extend)
            h[i, j] = max(0, h[i - 1, j - 1] + score, e[i, j], f[i, j])
    return h.max()


def test_scores_and_alignments_are_those_of_the_textbook():
    table = RNG.integers(-6, 9, (20, 30))
    for _ in range(10):
        rows = RNG.integers(0, 20, RNG.integers(2, 40))
        sequences = [RNG.integers(0, 30, RNG.integers(1, 50)) for _ in range(6)]
        expected = [textbook(table[rows][:, s], 7, 2) for s in sequences]
        assert best_scores(rows, table, sequences, 7, 2).tolist() == expected
        found = best_alignments(rows, table, sequences, 7, 2)
        for (score, (ours, theirs)), sequence, best in zip(found, sequences, expected, strict=True):
            gaps = np.concatenate([np.diff(ours), np.diff(theirs)]) - 1
            cost = sum(7 + 2 * (gap - 1) for gap in gaps if gap > 0)
            assert score == best == table[rows[ours], sequence[theirs]].sum() - cost
        alone = [textbook(table[rows][:, s], 1000, 1000) for s in sequences]
        assert segment_scores(rows, table, sequences).tolist() == alone


def test_scores_beyond_16_bits_are_right():
    table = np.full((1, 1), 120)
    sequence = np.zeros(700, int)
    assert best_scores(sequence, table, [sequence], 30, 3) == [84_000]
    assert segment_scores(sequence, table, [sequence]) == [84_000]
