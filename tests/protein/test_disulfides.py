"""Disulfides: which cysteines are bonded, decided from many frames or said by the user."""

from __future__ import annotations

import numpy as np
import pytest
from builders import helix

from openmm_slm.errors import StructureError
from openmm_slm.protein.disulfides import disulfide_formed, find_disulfides, parse_disulfides
from openmm_slm.protein.geometry import cb_position

CB, SG = 4, 5


def cysteines(*places: float) -> np.ndarray:
    """Backbones [L, 14, 3] with their CB at these places (nm) on the x axis."""
    atom14 = np.full((len(places), 14, 3), np.nan)
    residue = helix(1)[0]
    for i, place in enumerate(places):
        atom14[i, :4] = residue + [place, 0, 0] - cb_position(residue)
    return atom14


def test_cysteines_are_bonded_when_close_in_most_frames():
    near, far = cysteines(0, 9, 0.38), cysteines(0, 9, 0.6)
    assert find_disulfides(np.stack([near, near, far]), "CAC") == ((0, 2),)
    assert find_disulfides(np.stack([near, far, far]), "CAC") == ()
    assert find_disulfides(np.stack([near, far]), "CAC") == ()  # half is not most
    assert find_disulfides(np.stack([near, far, far]), "CAC", share=0.2) == ((0, 2),)
    assert find_disulfides(near[None], "CAS") == ()


def test_absent_cb_is_where_an_l_residue_has_it():
    bare = cysteines(0, 9, 0.38)
    given = bare.copy()
    given[:, CB] = cb_position(bare[:, :3])
    assert find_disulfides(given[None], "CAC") == find_disulfides(bare[None], "CAC") == ((0, 2),)
    given[2, CB] += 1  # and where there is one, it counts
    assert find_disulfides(given[None], "CAC") == ()


def test_failed_frames_have_no_vote():
    near, far = cysteines(0, 9, 0.38), cysteines(0, 9, 0.6)
    lost = np.full_like(near, np.nan)
    assert find_disulfides(np.stack([lost, lost, lost, near]), "CAC") == ((0, 2),)
    assert find_disulfides(np.stack([lost, lost, near, far, far]), "CAC") == ()
    assert find_disulfides(lost[None], "CAC") == ()


def test_a_cysteine_is_in_one_pair_the_closest():
    x = cysteines(0, 9, 0.42, 9, 0.78)  # 0-2 at 0.42, 2-4 at 0.36
    assert find_disulfides(x[None], "CACAC") == ((2, 4),)
    x = cysteines(0, 0.36, 0.78, 1.1)  # 1-2 are in reach as well, but 0-1 and 2-3 are closer
    assert find_disulfides(x[None], "CCCC") == ((0, 1), (2, 3))


def test_neighbours_in_sequence_must_be_closer():
    assert find_disulfides(cysteines(0, 0.48)[None], "CC") == ()
    assert find_disulfides(cysteines(0, 0.44)[None], "CC") == ((0, 1),)
    assert find_disulfides(cysteines(0, 9, 0.48)[None], "CAC") == ((0, 2),)


@pytest.mark.parametrize(("distance", "bonded"), [(0.205, True), (0.33, False)])
def test_sulfurs_decide_where_they_are_present(distance, bonded):
    """Reduced pairs of a crystal structure stay reduced, however close their CB are."""
    x = cysteines(0, 9, 0.4)
    x[[0, 2], SG] = [[0, 1, 0], [distance, 1, 0]]
    assert find_disulfides(x[None], "CAC") == (((0, 2),) if bonded else ())
    x[2, SG] = np.nan  # one sulfur tells nothing: CB decide
    assert find_disulfides(x[None], "CAC") == ((0, 2),)


def test_formed_means_a_bond_length_between_sulfurs():
    x = np.stack([cysteines(0, 9, 0.4)] * 4)
    x[:, 0, SG] = 0
    x[:, 2, SG] = np.array([0.205, 0.26, 0.1, np.nan])[:, None] * [1, 0, 0]
    assert disulfide_formed(x, ((0, 2),)).tolist() == [[True], [False], [False], [False]]
    assert disulfide_formed(x, ()).shape == (4, 0)


def test_what_a_user_may_give():
    x = cysteines(0, 9, 0.38, 5)[None]
    for nothing in (None, "none", (), []):
        assert parse_disulfides(nothing, x, "CACC") == ()
    assert parse_disulfides("auto", x, "CACC") == ((0, 2),)
    assert parse_disulfides(np.array([[3, 0]]), x, "CACC") == ((0, 3),)
    assert parse_disulfides(iter([(3, 2)]), x, "CACC") == ((2, 3),)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ([(0, 1)], r"disulfides\[0\].*residue 1 is ALA.*0, 2, 3"),
        ([(0, 4)], "no residue 4 among 4"),
        ([(0, -1)], "no residue -1"),
        ([(2, 2)], "itself"),
        ([(0, 2), (2, 3)], r"disulfides\[1\].*residue 2 is in another"),
        ([(0, 2, 3)], "two residue rows"),
        ([(0.0, 2.0)], "two residue rows"),
        ([(False, 2)], "two residue rows"),
        ([3], "two residue rows"),
        (["02"], "two residue rows"),
        ("all", "'all'.*'auto'"),
        (3, "is 3"),
    ],
)
def test_bad_pairs_are_named(value, named):
    with pytest.raises(StructureError, match=named):
        parse_disulfides(value, cysteines(0, 9, 0.38, 5)[None], "CACC")
