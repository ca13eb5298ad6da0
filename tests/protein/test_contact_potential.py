"""The contact potential: symmetric, local to the chosen residues, and lower in native contacts."""

from __future__ import annotations

import numpy as np
import pytest
from builders import helix

from openmm_slm.protein.contact_potential import BOUNDS, KINDS, contact_energy, distance_bins, table
from openmm_slm.protein.sequence import AMINO_ACIDS

SEQUENCE = "GLSDGEWQLVLNVWGKVEADIPGH"


def far(length: int) -> np.ndarray:
    """A helix, and the same helix 0.9 nm beside it."""
    one = helix(length // 2)
    return np.concatenate([one, one + np.float32([0.9, 0, 0])])


def test_the_table_is_symmetric_and_ends_in_zeros():
    np.testing.assert_array_equal(table(), table().swapaxes(0, 1))
    assert table().shape == (KINDS, KINDS, len(BOUNDS) + 1)
    assert not table()[:, :, -1].any()


def test_bins_hold_their_distances():
    inside = BOUNDS - 1e-6
    np.testing.assert_array_equal(distance_bins(inside), np.arange(len(BOUNDS)))
    assert distance_bins(np.array([1.6, np.nan])).tolist() == [len(BOUNDS)] * 2


def test_opposite_charges_attract_more_than_equal_ones():
    cb = {letter: AMINO_ACIDS.index(letter) * 5 + 4 for letter in "KEVD"}
    near = distance_bins(np.array(0.55))
    assert table()[cb["K"], cb["E"], near] < table()[cb["D"], cb["E"], near] - 0.5
    assert table()[cb["V"], cb["V"], near] < table()[cb["V"], cb["K"], near]


def test_a_clash_costs_energy_and_distant_parts_none():
    backbone = far(24)
    rows = np.arange(12)
    apart = contact_energy(
        (backbone + np.repeat([[[[0.0]], [[9.0]]]], 12, 1).reshape(24, 1, 1))[None], SEQUENCE, rows
    )
    one = contact_energy(backbone[None, :12], SEQUENCE[:12], rows)
    assert apart == pytest.approx(one)
    onto = np.concatenate([backbone[:12], backbone[:12] + np.float32([0.05, 0, 0])])
    assert contact_energy(onto[None], SEQUENCE, rows) > contact_energy(
        backbone[None], SEQUENCE, rows
    )


def test_energies_of_parts_sum_to_that_of_the_whole():
    """Pairs within the chosen residues count once, pairs with others whole."""
    backbone = far(24)[None]
    a = np.arange(12)
    inside = contact_energy(backbone[:, :12], SEQUENCE[:12], a)
    other = contact_energy(backbone[:, 12:], SEQUENCE[12:], a)
    total = contact_energy(backbone, SEQUENCE, np.arange(24))
    between = contact_energy(backbone, SEQUENCE, a) - inside
    assert total == pytest.approx(inside + other + between)


def test_unknown_and_missing_residues_have_no_energy():
    backbone = far(24)[None].copy()
    whole = contact_energy(backbone, "X" * 24, np.arange(24))
    backbone[:, 5] = np.nan
    assert whole == 0 and np.isfinite(contact_energy(backbone, SEQUENCE, np.arange(24)))
