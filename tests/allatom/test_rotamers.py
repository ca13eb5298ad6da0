"""Side-chain torsions are those of IUPAC and MDTraj, and equal atoms have no names to get wrong."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import mdtraj as md
import numpy as np
import pytest
from builders import place

from openmm_slm.allatom.rotamers import (
    CHI_ATOMS,
    chi_difference,
    chi_period,
    chi_slots,
    chi_torsions,
    has_atom,
    sidechain_rmsd,
    swap_slots,
)
from openmm_slm.protein.atoms import ATOM14
from openmm_slm.protein.geometry import cb_position
from openmm_slm.protein.loading import read_structure
from openmm_slm.protein.sequence import AMINO_ACIDS, encode_sequence
from openmm_slm.protein.trajectory import from_trajectory

SHIPPED = Path(find_spec("pdbfixer").origin).parent / "tests" / "data"
shipped = pytest.mark.skipif(not (SHIPPED / "1BHL.pdb").is_file(), reason="not shipped here")
ALL = encode_sequence(AMINO_ACIDS + "X")


def residues(chi: np.ndarray) -> np.ndarray:
    """One of each of the 20 with the chi angles [20, 4]; the rest anywhere: [20, 14, 3]."""
    rng = np.random.default_rng(0)
    atoms = np.full((20, 14, 3), np.nan)
    for row, letter in enumerate(AMINO_ACIDS):
        names = ATOM14[letter]
        atoms[row, : len(names)] = rng.normal(size=(len(names), 3))
        atoms[row, :3] = [[-0.05, 0.14, 0.0], [0.0, 0.0, 0.0], [0.15, 0.0, 0.0]]
        if letter != "G":
            atoms[row, 4] = cb_position(atoms[row])
        for torsion, four in zip(chi[row], CHI_ATOMS[letter], strict=False):
            a, b, c, d = (names.index(name) for name in four)
            atoms[row, d] = place(*atoms[row, [a, b, c]], 0.15, np.radians(112), torsion)
    return atoms


def shipped_structure():
    structure = read_structure(SHIPPED / "1BHL.pdb")
    return structure.atom14[0], encode_sequence(structure.sequence)


def test_torsions_come_back_that_residues_were_built_with():
    chi = np.random.default_rng(1).uniform(-np.pi, np.pi, (20, 4))
    expected = np.where(chi_slots[:20, :, 0] >= 0, chi, np.nan)
    np.testing.assert_allclose(chi_torsions(residues(chi), ALL[:20]), expected, atol=1e-9)


def test_frames_and_amino_acids_of_each_frame():
    chi = np.random.default_rng(2).uniform(-np.pi, np.pi, (3, 20, 4))
    frames = np.stack([residues(c) for c in chi])
    one_by_one = np.stack([chi_torsions(frame, ALL[:20]) for frame in frames])
    np.testing.assert_array_equal(chi_torsions(frames, ALL[:20]), one_by_one)
    order = np.stack([np.random.default_rng(i).permutation(20) for i in range(3)])
    shuffled = np.stack([frame[o] for frame, o in zip(frames, order, strict=True)])
    expected = np.stack([c[o] for c, o in zip(one_by_one, order, strict=True)])
    np.testing.assert_array_equal(chi_torsions(shuffled, order), expected)


def test_number_of_torsions_of_each_amino_acid():
    count = {letter: len(CHI_ATOMS[letter]) for letter in AMINO_ACIDS}
    assert count == dict(zip("ACDEFGHIKLMNPQRSTVWY", map(int, "01232022423223411122"), strict=True))
    assert (chi_slots[20] == -1).all()
    assert not has_atom[20].any()


@shipped
@pytest.mark.parametrize("name", ["1BHL.pdb", "test.pdb"])
def test_torsions_are_those_of_mdtraj(name):
    trajectory = from_trajectory(md.load(str(SHIPPED / name))).to_trajectory()
    structure = from_trajectory(trajectory)
    chi = chi_torsions(structure.atom14, encode_sequence(structure.sequence))
    expected = np.full_like(chi, np.nan)
    functions = (md.compute_chi1, md.compute_chi2, md.compute_chi3, md.compute_chi4)
    for number, compute in enumerate(functions):
        atoms, angles = compute(trajectory)
        rows = [trajectory.topology.atom(four[1]).residue.index for four in atoms]
        expected[:, rows, number] = angles
    assert np.isfinite(chi).sum() > 60
    known = np.isfinite(expected)
    np.testing.assert_array_equal(np.isfinite(chi), known)
    difference = np.angle(np.exp(1j * (chi - expected)))[known]
    assert np.abs(difference).max() < 1e-3


@shipped
def test_mirror_images_have_the_opposite_torsions():
    atoms, amino_acids = shipped_structure()
    mirrored = atoms * [1, 1, -1]
    np.testing.assert_allclose(
        chi_torsions(mirrored, amino_acids), -chi_torsions(atoms, amino_acids), atol=1e-4
    )


def test_differences_go_the_short_way_round():
    near = np.full((21, 4), np.radians(179.0))
    np.testing.assert_allclose(
        chi_difference(near, -near, ALL), np.radians(2.0) * np.ones((21, 4)), atol=1e-12
    )
    turned = np.degrees(chi_difference(near, near + np.pi, ALL))
    equal = {(AMINO_ACIDS[row], n + 1) for row, n in np.argwhere(turned[:20] < 1e-9)}
    assert equal == {("D", 2), ("E", 3), ("F", 2), ("Y", 2)}
    a, b = np.random.default_rng(0).uniform(-10, 10, (2, 50, 21, 4))
    assert (chi_difference(a, b, ALL) <= chi_period / 2 + 1e-12).all()


@shipped
def test_exchanging_equal_atoms_changes_nothing():
    atoms, amino_acids = shipped_structure()
    swapped = np.take_along_axis(atoms, swap_slots[amino_acids][..., None], axis=1)
    moved = (swapped != atoms) & np.isfinite(atoms)
    letters = {AMINO_ACIDS[i] for i in amino_acids[moved.any((1, 2))]}
    assert letters == set("DEFRY")
    whole = np.isfinite(sidechain_rmsd(atoms, atoms, amino_acids))
    assert (sidechain_rmsd(swapped, atoms, amino_acids)[whole] == 0).all()
    chi = chi_torsions(atoms, amino_acids)
    error = chi_difference(chi_torsions(swapped, amino_acids), chi, amino_acids)
    known = np.isfinite(chi)
    np.testing.assert_array_equal(np.isfinite(error), known)
    assert np.degrees(error[known].max()) < 8  # the groups of a crystal structure are nearly flat


def test_only_equal_atoms_are_exchanged():
    atoms = residues(np.zeros((20, 4)))
    for letter in "NQHLV":  # amides, His, Leu and Val have two ends that differ
        row = AMINO_ACIDS.index(letter)
        other = atoms.copy()
        last = len(ATOM14[letter]) - 1
        other[row, [last, last - 1]] = atoms[row, [last - 1, last]]
        assert sidechain_rmsd(other, atoms, ALL[:20])[row] > 0.01


def test_rmsd_of_a_shift_is_its_length():
    atoms = residues(np.ones((20, 4)))
    shifted = atoms.copy()
    shifted[:, 5:] += [0.03, 0.04, 0.0]
    rmsd = sidechain_rmsd(shifted, atoms, ALL[:20])
    unequal = [AMINO_ACIDS.index(letter) for letter in "CHIKLMNPQSTVW"]
    np.testing.assert_allclose(rmsd[unequal], 0.05)
    assert np.isnan(rmsd[[AMINO_ACIDS.index("A"), AMINO_ACIDS.index("G")]]).all()
    with_cb = sidechain_rmsd(shifted, atoms, ALL[:20], include_cb=True)
    assert with_cb[AMINO_ACIDS.index("A")] == 0
    np.testing.assert_allclose(with_cb[AMINO_ACIDS.index("S")], 0.05 / np.sqrt(2))
    assert np.isnan(with_cb[AMINO_ACIDS.index("G")])


def test_absent_atoms_take_only_what_they_belong_to():
    atoms = residues(np.ones((20, 4)))
    row = AMINO_ACIDS.index("K")
    cut = atoms.copy()
    cut[row, ATOM14["K"].index("CE")] = np.nan
    chi, whole = (chi_torsions(x, ALL[:20]) for x in (cut, atoms))
    np.testing.assert_array_equal(np.isnan(chi[row]), [False, False, True, True])
    others = np.arange(20) != row
    np.testing.assert_array_equal(chi[others], whole[others])
    for a, b in ((cut, atoms), (atoms, cut)):
        rmsd = sidechain_rmsd(a, b, ALL[:20])
        assert np.isnan(rmsd[row])
        assert np.isfinite(rmsd[others]).sum() == 17
    error = chi_difference(chi, whole, ALL[:20])
    np.testing.assert_array_equal(np.isnan(error), np.isnan(chi))


def test_an_unknown_residue_has_none():
    atoms = np.zeros((2, 1, 14, 3))
    assert np.isnan(chi_torsions(atoms, np.array([20]))).all()
    assert np.isnan(sidechain_rmsd(atoms, atoms, np.array([20]))).all()
