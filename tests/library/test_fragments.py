"""Fragments of a library join the ends of a gap."""

from __future__ import annotations

import numpy as np
import pytest
from builders import helix
from small_library import write_small_library

from openmm_slm.library.fragments import find_fragments
from openmm_slm.library.registry import load_library

GAP = slice(20, 30)
TURN = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fragments")
    write_small_library(folder)
    return load_library(folder / "library")


def gap_of(library, number: int):
    """Letters of a gap in a library chain, its ends and its atoms, all turned and moved."""
    x = library.backbone(number) @ TURN.T + [5, -3, 8]
    return library.sequence(number)[GAP], x[18:20], x[30:32], x[GAP, :3]


def test_a_gap_in_a_library_chain_is_filled_by_that_chain_wherever_it_lies(library):
    for number in (0, 3, 70):
        letters, before, after, inside = gap_of(library, number)
        if number == 3:  # a residue of the gap lacks an atom
            letters, before, after = letters[:8], before, inside[8:]
            inside = inside[:8]
        found = find_fragments(library, letters, before, after)
        assert (found.chain[0], found.first[0]) == (number, 20)
        assert np.abs(found.backbone[0] - inside).max() < 0.005
        assert (np.diff(found.fit) <= 0).all() and found.fit[0] > 10


def test_fragments_are_chains_that_meet_both_ends(library):
    letters, before, after, _ = gap_of(library, 0)
    found = find_fragments(library, letters, before, after)
    whole = np.concatenate(
        [
            np.repeat(before[None, -1:, :3], len(found), 0),
            found.backbone,
            np.repeat(after[None, :1, :3], len(found), 0),
        ],
        1,
    )
    bonds = np.linalg.norm(whole[:, 1:, 0] - whole[:, :-1, 2], axis=-1)
    assert len(found) > 1 and np.abs(bonds[:, 1:-1] - 0.133).max() < 0.03
    assert np.abs(bonds - 0.133).max() < 0.25


def test_chains_are_left_out_by_split_and_by_name(library):
    train, test = 0, 9
    for number in (train, test):
        letters, before, after, _ = gap_of(library, number)
        one = library.chains[number]
        for name in (one.id, one.pdb):
            found = find_fragments(library, letters, before, after, exclude=[name])
            assert number not in found.chain
        found = find_fragments(library, letters, before, after, splits=["train"])
        assert {library.chains[k].split for k in found.chain} <= {"train"}
        assert (number in found.chain) == (number == train)
    with pytest.raises(ValueError, match="no chains of split 'trian'"):
        find_fragments(library, letters, before, after, splits=["trian"])


def test_gaps_that_no_fragment_can_fill_have_none(library):
    letters, before, after, _ = gap_of(library, 0)
    assert not len(find_fragments(library, letters[:2], before, after))
    assert not len(find_fragments(library, "A" * 21, before, after))
    assert not len(find_fragments(library, letters, before, after + 9))
    assert not len(find_fragments(library, letters, before * np.nan, after))
    assert len(find_fragments(library, "A" * 10, helix(14)[:2], helix(14)[12:])) > 3
