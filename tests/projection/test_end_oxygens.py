"""Oxygens of chain ends turn away from atoms that they overlap."""

from __future__ import annotations

import numpy as np
from builders import helix, regular

from openmm_slm.projection.end_oxygens import turn_end_oxygens

BREAKS = np.arange(21) % 20 == 0


def _crowded() -> np.ndarray:
    """A helix, and a residue whose N is 0.15 nm from the O of its last residue."""
    chain = helix(20)
    other = helix(1) - helix(1)[0, 0] + chain[-1, 3] + 0.15 * (chain[-1, 3] - chain[-1, 2]) / 0.123
    other[:, 1:] += 3 * (chain[-1, 3] - chain[-1, 2])  # away from the chain
    return np.concatenate([chain, other])[None].astype(np.float32)


def test_an_overlapping_oxygen_turns_about_its_bond_and_nothing_else_moves():
    before, moved = _crowded(), _crowded()
    turn_end_oxygens(moved, BREAKS, np.ones(21, bool))
    assert np.linalg.norm(before[0, 19, 3] - before[0, 20, 0]) < 0.2
    assert np.linalg.norm(moved[0, 19, 3] - moved[0, 20, 0]) > 0.25
    changed = (moved != before).any(-1)[0]
    assert changed[19, 3] and changed.sum() == 1
    for atom in (1, 2):  # bond length and angle are kept
        distances = [np.linalg.norm(x[0, 19, 3] - x[0, 19, atom]) for x in (before, moved)]
        np.testing.assert_allclose(*distances, atol=1e-4)


def test_the_second_oxygen_of_a_chain_end_gets_room_too():
    """Another residue has its N where OXT is to be, opposite O."""
    x = regular(21, -120.0, 130.0)[None]
    ca, c, o = x[0, 19, 1:]
    axis = (c - ca) / np.linalg.norm(c - ca)
    second = c + 2 * axis * ((o - c) @ axis) - (o - c)
    out = (second - c) / np.linalg.norm(second - c)
    x[0, 20] = x[0, 20] - x[0, 20, 0] + second + 0.2 * out
    x[0, 20, 1:] = x[0, 20, 0] + 0.1 * out
    turn_end_oxygens(x, BREAKS, np.ones(21, bool))
    along = 2 * axis * ((x[0, 19, 3] - c) @ axis)
    second = c + along - (x[0, 19, 3] - c)
    others = np.delete(x[0], 19, 0)
    for oxygen in (x[0, 19, 3], second):
        assert np.linalg.norm(others - oxygen, axis=-1).min() > 0.255


def test_an_oxygen_with_room_and_a_fixed_one_stay():
    free, held = helix(20)[None].astype(np.float32), _crowded()
    for x, breaks, movable in ((free, BREAKS[:20], True), (held, BREAKS, False)):
        moved = x.copy()
        turn_end_oxygens(moved, breaks, np.full(len(breaks), movable))
        np.testing.assert_array_equal(moved, x)
