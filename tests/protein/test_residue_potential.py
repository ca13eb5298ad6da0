"""The residue potential: symmetric, local to the chosen residues, lower where proteins are."""

from __future__ import annotations

import numpy as np
import pytest
from builders import helix

from openmm_slm.protein.protein import Protein
from openmm_slm.protein.residue_potential import (
    BOUNDS,
    SHAPE,
    VERTICES,
    pair_bins,
    residue_energy,
    tables,
)
from openmm_slm.protein.sequence import AMINO_ACIDS

SEQUENCE = "GLSDGEWQLVLNVWGKVEADIPGH"
BREAKS = np.isin(np.arange(24), [0, 12])
PROTEIN = Protein(SEQUENCE, BREAKS)


def pair(apart: float = 0.9) -> np.ndarray:
    """A helix, and the same helix beside it: [1, 24, 4, 3]."""
    one = helix(12)
    return np.concatenate([one, one + np.float32([apart, 0, 0])])[None]


def test_the_table_of_pairs_is_symmetric():
    pairs, torsions = tables()
    assert pairs.shape == SHAPE and torsions.shape == (20, 36, 36)
    np.testing.assert_array_equal(pairs, pairs.transpose(1, 0, 2, 4, 3))


def test_opposite_charges_attract_and_equal_ones_repel():
    pairs, _ = tables()
    near = pairs[:, :, np.searchsorted(BOUNDS, 0.52)].mean((2, 3))
    number = {letter: AMINO_ACIDS.index(letter) for letter in "KEVD"}
    assert near[number["K"], number["E"]] < near[number["D"], number["E"]] - 0.3
    assert near[number["V"], number["V"]] < near[number["V"], number["K"]]


def test_left_handed_torsions_suit_glycine_and_not_valine():
    _, torsions = tables()
    left = 23, 22  # phi and psi of 55 and 45 degrees
    assert torsions[(AMINO_ACIDS.index("G"), *left)] < 0 < torsions[(AMINO_ACIDS.index("V"), *left)]


def test_bins_follow_distance_and_direction():
    """B lies from A along a vertex, at 0.52 nm, and is turned by half about the z axis."""
    axes = np.stack([np.eye(3), np.diag([-1.0, -1.0, 1.0])])
    for number, vertex in enumerate(VERTICES):
        cb = np.stack([np.zeros(3), 0.52 * vertex])
        (distance,), (there,), (back,) = pair_bins(axes, cb, np.array([0]), np.array([1]))
        assert distance == 3 and there == number  # 0.5 to 0.55 nm
        np.testing.assert_allclose(VERTICES[back], axes[1] @ -vertex, atol=1e-9)


def test_distant_parts_have_no_energy_of_pairs():
    apart = residue_energy(pair(9.0), PROTEIN, np.arange(12))
    alone = residue_energy(pair()[:, :12], Protein(SEQUENCE[:12], BREAKS[:12]), np.arange(12))
    assert apart == pytest.approx(alone) and apart != residue_energy(pair(), PROTEIN, np.arange(12))


def test_energies_of_parts_sum_to_that_of_the_whole():
    """Pairs within the chosen residues count once, pairs with others whole."""
    a, backbone = np.arange(12), pair()
    ends = Protein(SEQUENCE[:12], BREAKS[:12]), Protein(SEQUENCE[12:], BREAKS[12:])
    inside, other = (
        residue_energy(part, end, a)
        for part, end in zip((backbone[:, :12], backbone[:, 12:]), ends, strict=True)
    )
    between = residue_energy(backbone, PROTEIN, a) - inside
    total = residue_energy(backbone, PROTEIN, np.arange(24))
    assert total == pytest.approx(inside + other + between)


def test_the_energy_does_not_depend_on_the_place_in_space():
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    rows = np.arange(4, 10)
    moved = residue_energy(pair() @ turn + 3, PROTEIN, rows)
    assert moved == pytest.approx(residue_energy(pair(), PROTEIN, rows))


def test_unknown_and_missing_residues_have_no_energy():
    backbone = pair()
    assert residue_energy(backbone, Protein("X" * 24, BREAKS), np.arange(24)) == 0
    backbone[:, 5] = np.nan
    assert np.isfinite(residue_energy(backbone, PROTEIN, np.arange(24))).all()
