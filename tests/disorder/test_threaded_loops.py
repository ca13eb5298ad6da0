"""Tails and linkers do not pass through closed loops of the fold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmm_slm.disorder.threaded_loops import closed_loops, threaded_loops

RING = 24  # residues


def ring_and_tail(tail: np.ndarray, turn: np.ndarray | None = None):
    """CA [1, L, 3] of a ring in the xy plane and a tail bonded to it, free and bonded [L]."""
    angle = np.linspace(0, 2 * np.pi, RING, endpoint=False)
    radius = 0.38 / 2 / np.sin(np.pi / RING)
    ring = radius * np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1)
    ca = np.concatenate([ring, tail])
    free = np.arange(len(ca)) >= RING
    return (ca if turn is None else ca @ turn.T)[None], free, np.arange(len(ca)) > 0


def line(*corners: tuple[float, float, float]) -> np.ndarray:
    """Points along straight pieces between corners, about 0.38 nm apart."""
    pieces = []
    for a, b in zip(np.array(corners)[:-1], np.array(corners)[1:], strict=True):
        number = max(2, round(np.linalg.norm(b - a) / 0.38))
        pieces.append(a + np.linspace(0, 1, number, endpoint=False)[:, None] * (b - a))
    return np.concatenate(pieces)


THROUGH = line((1.8, 0, 0.4), (0.1, 0.1, 0.9), (0.1, 0.2, -2))
BESIDE = line((1.8, 0, 0.4), (3, 0.1, 0.9), (3, 0.2, -2))
BACK_AGAIN = line((1.8, 0, 0.4), (0.1, 0.1, 0.9), (0.1, 0.2, -1), (-0.4, 0.2, 2))


@given(st.integers(0, 10_000))
def test_a_tail_through_a_ring_is_found_in_any_orientation(seed):
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    assert threaded_loops(*ring_and_tail(THROUGH, turn)).tolist() == [1]
    assert threaded_loops(*ring_and_tail(BESIDE, turn)).tolist() == [0]
    assert threaded_loops(*ring_and_tail(BACK_AGAIN, turn)).tolist() == [0]


def test_an_open_arc_and_a_ring_with_a_free_residue_are_no_loops():
    ca, free, bonded = ring_and_tail(THROUGH)
    assert closed_loops(ca[0], free, bonded) == [(0, RING - 1)]
    half = free.copy()
    half[RING // 2] = True
    assert closed_loops(ca[0], half, bonded) == []
    broken = bonded.copy()
    broken[RING // 2] = False
    assert closed_loops(ca[0], free, broken) == []


def test_the_smallest_loops_stand_for_those_around_them():
    """Two rings one after the other: no loop holds another."""
    ca, free, bonded = ring_and_tail(BESIDE)
    two = np.concatenate([ca[0, :RING], ca[0, :RING] + [0, 0, 0.5]])
    loops = closed_loops(two, np.zeros(2 * RING, bool), np.arange(2 * RING) > 0)
    spans = [set(range(a, b + 1)) for a, b in loops]
    assert loops and not any(x < y for x in spans for y in spans)


@pytest.mark.parametrize("frames", [0, 3])
def test_each_frame_is_judged_by_itself(frames):
    through, free, bonded = ring_and_tail(THROUGH)
    beside = ring_and_tail(BESIDE[: len(THROUGH)])[0]
    length = min(through.shape[1], beside.shape[1])
    both = np.concatenate([beside[:, :length], through[:, :length]])[[0, 1, 0][:frames]]
    assert threaded_loops(both, free[:length], bonded[:length]).tolist() == [0, 1, 0][:frames]
