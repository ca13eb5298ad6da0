"""Free residues and rigid bodies: tails, linkers, loops."""

from __future__ import annotations

import numpy as np

from openmm_slm.disorder.moving_parts import MovingParts, Segment

RNG = np.random.default_rng(0)


def structure(text: str, ca: np.ndarray | None = None, breaks: tuple[int, ...] = ()):
    """Parts of residues written ``o`` (ordered), ``d`` (disordered), at given or lumped CA."""
    disordered = np.array(list(text)) == "d"
    if ca is None:  # each ordered run is a globule of its own, far from the others
        run = np.cumsum(np.append(0, np.diff(disordered.astype(int)) != 0))
        ca = RNG.normal(size=(len(text), 3)) * 0.2 + run[:, None] * [10.0, 0, 0]
    bonded = ~np.isin(np.arange(len(text)), (0, *breaks))
    return MovingParts.of(disordered, ca, bonded)


def test_tails_hang_on_the_body():
    parts = structure("ddoooodd")
    assert parts.segments == (Segment(0, 2, -1, 0), Segment(6, 8, 0, -1))
    assert parts.body.tolist() == [-1, -1, 0, 0, 0, 0, -1, -1]
    assert parts.downstream[1].tolist() == [False] * 2 + [True] * 6
    assert parts.downstream[6].tolist() == [False] * 7 + [True]
    assert not parts.downstream[7].any()


def test_a_linker_joins_two_bodies_the_larger_of_which_is_the_first():
    parts = structure("ooodddooooo")
    assert parts.segments == (Segment(3, 6, 1, 0),)
    assert parts.body.tolist() == [1] * 3 + [-1] * 3 + [0] * 5
    assert parts.downstream[4].tolist() == [False] * 5 + [True] * 6


def test_a_segment_between_touching_pieces_is_a_loop_and_not_free():
    ca = RNG.normal(size=(11, 3)) * 0.2
    parts = structure("ooodddooooo", ca)
    assert not parts.free.any()
    assert set(parts.body) == {0}
    assert parts.longest == 0


def test_two_chains_that_link_the_same_domains_have_loops():
    """Cutting one linker leaves the domains joined by the other."""
    near = np.repeat([[0.0, 0, 0], [10.0, 0, 0]], (4, 4), axis=0)
    one = np.concatenate([near[:4], np.zeros((3, 3)), near[4:]])
    ca = np.concatenate([one, one]) + RNG.normal(size=(22, 3)) * 0.1
    parts = structure("oooodddoooo" * 2, ca, (11,))
    assert not parts.free.any()


def test_a_chain_bound_to_a_domain_moves_with_it():
    near = np.repeat([[0.0, 0, 0], [0, 0, 0], [10.0, 0, 0], [10.0, 0, 0]], (8, 3, 4, 3), axis=0)
    parts = structure("oooooooodddoooo" + "ooo", near + RNG.normal(size=(18, 3)) * 0.1, (15,))
    assert parts.free.sum() == 3
    assert parts.body[11:].tolist() == [1] * 7
    assert parts.downstream[10, 11:].all()
    assert not parts.downstream[10, :11].any()


def test_a_whole_chain_is_loose():
    parts = structure("oooodddd", None, (4,))
    assert parts.loose_chains(np.repeat([0, 1], 4)).tolist() == [1]
    assert parts.windows(3).tolist() == [4, 5]


def test_without_coordinates_the_ordered_residues_are_one_body():
    parts = MovingParts.of(np.array([1, 1, 0, 0, 1, 0, 0, 1], bool), None, np.arange(8) > 0)
    assert parts.free.tolist() == [True, True, *[False] * 5, True]
