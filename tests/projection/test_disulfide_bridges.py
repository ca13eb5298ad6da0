"""Bonded cysteines are brought so close that side chains can close the bond."""

from __future__ import annotations

import numpy as np
import pytest
from builders import regular
from scipy.spatial.transform import Rotation

from openmm_slm.projection.close_peptides import close_peptide_bonds
from openmm_slm.projection.disulfide_bridges import CA_CA, CB_CB
from openmm_slm.protein.geometry import cb_position
from openmm_slm.protein.protein import Protein
from openmm_slm.validity.report import backbone_report

ROW, OTHER = 7, 22
TWO = np.arange(30) % 15 == 0
LETTERS = "".join("C" if row in (ROW, OTHER) else "A" for row in range(30))
BONDED = Protein(LETTERS, TWO, disulfides=[(ROW, OTHER)])
FREE = Protein(LETTERS, TWO)


def facing(distance: float, twist: float = 60.0) -> np.ndarray:
    """Two strands whose cysteines face each other, their CB `distance` nm apart: [1, 30, 4, 3]."""
    strand = regular(15, -120.0, 130.0).astype(float)
    cb = cb_position(strand[ROW])
    out = (cb - strand[ROW, 1]) / np.linalg.norm(cb - strand[ROW, 1])
    side = np.cross(out, strand[ROW, 2] - strand[ROW, 1])
    over = Rotation.from_rotvec(np.pi * side / np.linalg.norm(side))
    turn = (Rotation.from_rotvec(np.radians(twist) * out) * over).as_matrix()
    other = (strand - cb) @ turn.T + cb + distance * out
    return np.concatenate([strand, other])[None].astype(np.float32)


def distances(x: np.ndarray) -> np.ndarray:
    """CA-CA and CB-CB distances [2] of the cysteines."""
    ca, cb = x[0, [ROW, OTHER], 1], cb_position(x[0, [ROW, OTHER], :3])
    return np.linalg.norm([ca[0] - ca[1], cb[0] - cb[1]], axis=1)


@pytest.mark.parametrize("distance", [0.2, 0.6, 0.75])
def test_bonded_cysteines_come_within_reach_and_the_chain_follows(distance):
    x = facing(distance)
    closed, moved = close_peptide_bonds(x, BONDED)
    for found, (low, high) in zip(distances(closed), (CA_CA, CB_CB), strict=True):
        assert low - 0.01 < found < high + 0.01
    report = backbone_report(closed, BONDED)
    assert report["valid"][0] and report["c_n_deviation_nm"][0] < 3e-3
    assert moved[0].max() < 0.6 * abs(distance - 0.38)  # each of the two goes about half the way
    neighbours = moved[0, [ROW - 1, ROW + 1, OTHER - 1, OTHER + 1]]
    assert neighbours.min() > 0.2 * moved[0].max()
    assert moved[0, [0, 14, 15, 29]].max() < 0.5 * moved[0].max()


def test_side_chains_of_bonded_cysteines_reserve_no_space_from_each_other():
    """A clash elsewhere in the frame turns on pushes, which keep beads apart."""
    x = facing(0.38)
    x[0, 0] += x[0, 27, 1] - x[0, 0, 1] + 0.2  # a residue beside one of the other strand
    apart, joined = (distances(close_peptide_bonds(x, protein)[0]) for protein in (FREE, BONDED))
    assert joined[1] < CB_CB[1] + 0.01 < apart[1]


@pytest.mark.parametrize("case", ["unbonded", "far apart", "fixed"])
def test_other_cysteines_stay(case):
    x = facing(1.2 if case == "far apart" else 0.6)
    weight = np.zeros(30) if case == "fixed" else np.ones(30)
    closed, _ = close_peptide_bonds(x, FREE if case == "unbonded" else BONDED, weight)
    np.testing.assert_allclose(distances(closed), distances(x), atol=2e-3)


def test_a_fixed_cysteine_stays_and_its_partner_comes():
    x, weight = facing(0.6), np.repeat([0.0, 1.0], 15)
    closed, _ = close_peptide_bonds(x, BONDED, weight)
    np.testing.assert_array_equal(closed[:, :14], x[:, :14])
    assert distances(closed)[1] < CB_CB[1] + 0.01


def test_neighbours_in_the_chain_are_left_to_their_peptide_bond():
    strand = regular(15, -120.0, 130.0)[None]
    protein = Protein("A" * 7 + "CC" + "A" * 6, np.arange(15) == 0, disulfides=[(7, 8)])
    closed, moved = close_peptide_bonds(strand, protein)
    assert moved.max() < 2e-3
