"""Backbone and chi to atoms: what comes out has the chi, the lengths and the hand that went in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from all_atoms import template_chain, villin
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from openmm_slm.allatom.builder import AtomBuilder
from openmm_slm.allatom.ideal import TREE, measure_geometry
from openmm_slm.allatom.rotamers import chi_difference, chi_torsions, has_atom
from openmm_slm.models.registry import load_packer
from openmm_slm.protein.atoms import ATOM14, sidechain_bonds
from openmm_slm.protein.geometry import chirality, dihedral
from openmm_slm.protein.sequence import AMINO_ACIDS, encode_sequence

ALL = encode_sequence(AMINO_ACIDS)


@pytest.fixture(scope="module")
def builder() -> AtomBuilder:
    """With the geometry of the shipped packer."""
    return load_packer("default", "cpu").network.builder


def build(builder, backbone, amino_acids, chi, known=None) -> np.ndarray:
    values = [torch.as_tensor(np.asarray(x, np.float32)) for x in (backbone, chi)]
    known = None if known is None else torch.as_tensor(known)
    out = builder(values[0], torch.as_tensor(amino_acids), values[1], known).numpy()
    return np.where(has_atom[amino_acids][..., None], out, np.nan)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_any_chi_comes_back_and_all_residues_are_l(builder, seed):
    chi = np.random.default_rng(seed).uniform(-np.pi, np.pi, (20, 4))
    made = build(builder, template_chain()[:, :4], ALL, chi)
    off = chi_difference(chi_torsions(made, ALL), chi, ALL)
    off[AMINO_ACIDS.index("P") == ALL, 1] = 0  # gives way to the ring
    assert np.nanmax(off) < 2e-3
    assert np.isfinite(chi_torsions(made, ALL)).sum() == TREE.leader[:20].sum()
    assert (chirality(*(made[:, i] for i in (0, 1, 2, 4)))[ALL != 5] > 0).all()
    for letter in "IT":  # CG1 or OG1, then CG2
        assert chirality(*(made[AMINO_ACIDS.index(letter), i] for i in (1, 4, 5, 6))) > 0


def test_bonds_and_rings_close_wherever_chi_points(builder):
    chi = np.random.default_rng(0).uniform(-np.pi, np.pi, (50, 20, 4))
    chi[:, AMINO_ACIDS.index("P"), 0] = np.random.default_rng(1).uniform(-0.6, 0.6, 50)
    backbone = np.tile(template_chain()[:, :4], (50, 1, 1, 1))
    made = build(builder, backbone, np.tile(ALL, (50, 1)), chi)
    for row, letter in enumerate(AMINO_ACIDS):
        names = ATOM14[letter]
        for one, other in sidechain_bonds(letter):
            a, b = (made[:, row, names.index(name)] for name in (one, other))
            length = np.linalg.norm(a - b, axis=-1)
            longest = 0.187 if "S" in one[0] + other[0] else 0.158
            assert (length > 0.118).all() and (length < longest).all(), (letter, one, other)


def test_atoms_that_are_there_stay_and_carry_the_others(builder):
    native = villin().atom14[0]
    aa = encode_sequence(villin().sequence)
    chi = chi_torsions(native, aa)
    known = native.copy()
    known[:, 7:] = np.nan  # the ends of long side chains are missing
    made = build(builder, native[:, :4], aa, np.nan_to_num(chi), known)
    kept = np.isfinite(known)
    np.testing.assert_array_equal(made[kept], native[kept])
    free = build(builder, native[:, :4], aa, np.nan_to_num(chi))
    there = np.isfinite(native[:, 7:]).all(-1)
    error = [np.linalg.norm((x - native)[:, 7:][there], axis=-1).mean() for x in (made, free)]
    assert error[0] < 0.7 * error[1]  # off by bond angles of MD alone, not of all atoms before
    assert error[1] < 0.05


def test_chi_is_told_by_any_atom_that_turns_with_it(builder):
    native = villin().atom14[0]
    aa = encode_sequence(villin().sequence)
    valine = np.flatnonzero(aa == AMINO_ACIDS.index("V"))
    known = torch.tensor(native)
    whole = builder.known_chi(known, torch.as_tensor(aa)).numpy()
    np.testing.assert_allclose(whole, chi_torsions(native, aa), atol=1e-4)
    known[valine, 5] = torch.nan
    told = builder.known_chi(known, torch.as_tensor(aa)).numpy()[valine, 0]
    off = np.abs(np.angle(np.exp(1j * (told - whole[valine, 0]))))
    assert len(valine) and (off < 0.35).all()  # MD bends it


def test_nothing_hangs_on_an_atom_that_is_absent(builder):
    native = torch.tensor(villin().atom14)
    aa = torch.as_tensor(encode_sequence(villin().sequence)).unsqueeze(0)
    lysine = int((aa[0] == AMINO_ACIDS.index("K")).nonzero()[0])
    native[0, lysine, 6] = torch.nan  # CD: CE and NZ are beyond the gap
    left = torch.isfinite(builder.without_gaps(native, aa)).all(-1)
    assert left[0, lysine].tolist()[:9] == [True] * 6 + [False] * 3


def test_building_turns_with_the_backbone(builder):
    chi = np.random.default_rng(3).uniform(-np.pi, np.pi, (20, 4))
    turn = Rotation.random(random_state=1).as_matrix().astype(np.float32)
    backbone = template_chain()[:, :4]
    one = build(builder, backbone, ALL, chi) @ turn.T + 1
    other = build(builder, backbone @ turn.T + 1, ALL, chi)
    np.testing.assert_allclose(one, other, atol=2e-5)


def test_geometry_is_measured_on_chains():
    protein = villin()
    aa = encode_sequence(protein.sequence)
    every = (template_chain(), ALL)  # so that no atom is without an example
    geometry = measure_geometry([(protein.atom14[0], aa), every])
    row = AMINO_ACIDS.index("A")
    alanine = protein.atom14[0][aa == row]
    length = np.linalg.norm(alanine[:, 4] - alanine[:, 1], axis=-1)
    both = np.append(length, np.linalg.norm(every[0][row, 4] - every[0][row, 1]))
    assert geometry.length[row, 4] == pytest.approx(both.mean(), abs=1e-3)
    assert geometry.torsion[row, 4] == pytest.approx(
        np.mean(dihedral(*(alanine[:, i] for i in (0, 2, 1, 4)))), abs=0.05
    )
    with pytest.raises(ValueError, match="no CB of"):
        measure_geometry([(protein.atom14[0], aa)])
