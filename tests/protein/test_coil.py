"""Coil of known structures, and backbones built from torsions."""

from __future__ import annotations

import numpy as np
from builders import regular
from hypothesis import given
from hypothesis import strategies as st

from openmm_slm.protein.chain_building import backbone_of, chain_frames, residue_axes
from openmm_slm.protein.coil import coil
from openmm_slm.protein.geometry import backbone_torsions

ANGLES = st.floats(-3.1, 3.1)


def chain(phi, psi, omega=np.pi):
    phi, psi = np.broadcast_arrays(np.atleast_1d(phi).astype(float), psi)
    first = np.arange(phi.shape[-1]) == 0
    return backbone_of(*chain_frames(phi, psi, np.full(phi.shape, omega)), first)


@given(st.lists(st.tuples(ANGLES, ANGLES), min_size=3, max_size=12), st.floats(2.9, 3.14))
def test_a_chain_built_from_torsions_has_these_torsions(pairs, omega):
    phi, psi = np.array(pairs).T
    x = chain(phi, psi, omega)
    found = backbone_torsions(x)
    for values, wanted in zip(found, (phi, psi, np.full(len(phi), omega)), strict=True):
        defined = np.isfinite(values)
        assert defined.sum() == len(phi) - 1
        assert np.abs(np.angle(np.exp(1j * (values - wanted))))[defined].max() < 1e-9


def test_bond_lengths_are_ideal():
    x = chain(np.full(20, -1.1), np.full(20, 2.3))
    for first, second, length in ((0, 1, 0.1459), (1, 2, 0.1525), (2, 3, 0.1231)):
        assert np.allclose(np.linalg.norm(x[:, first] - x[:, second], axis=-1), length, atol=1e-6)
    assert np.allclose(np.linalg.norm(x[1:, 0] - x[:-1, 2], axis=-1), 0.133, atol=1e-6)


def test_axes_of_built_residues_are_the_rotations_they_were_built_from():
    rotation, origin = chain_frames(*np.random.default_rng(0).uniform(-3, 3, (3, 2, 9)))
    x = backbone_of(rotation, origin, np.arange(9) == 0)
    assert np.allclose(residue_axes(x), rotation, atol=1e-9)
    assert np.allclose(x[:, :, 1], origin)


def test_an_extended_chain_is_coil_and_a_helix_is_not():
    extended = regular(24, -120, 130)
    assert coil(extended, np.arange(24)).all()
    assert not coil(regular(24, -60, -45), np.arange(24)).any()


def test_a_sheet_is_not_coil_and_its_single_strand_is():
    """Strands 0.48 nm apart in their plane hydrogen-bond each other."""
    strand = regular(12, -180, 180)
    axis = strand[-1, 1] - strand[0, 1]
    towards_o = strand[:, 3] - strand[:, 2]
    side = towards_o[::2].mean(0) - (towards_o[::2].mean(0) @ axis) / (axis @ axis) * axis
    other = strand + 0.48 * side / np.linalg.norm(side)
    pair = np.concatenate([strand, other])
    index = np.concatenate([np.arange(12), np.arange(100, 112)])
    assert coil(strand, np.arange(12)).all()
    assert coil(pair, index).sum() < 12


def test_residues_with_many_neighbours_are_not_coil():
    x = regular(30, -120, 130)
    crowd = x[15, 1] + np.random.default_rng(0).normal(size=(10, 1, 3)) * 0.3
    crowd = np.broadcast_to(crowd, (10, 4, 3))
    both, index = np.concatenate([x, crowd]), np.append(np.arange(30), 200 + 33 * np.arange(10))
    found = coil(both, index)
    assert not found[15]
    assert found[:8].all()


def test_absent_residues_and_short_stretches_are_not_coil():
    x = regular(12, -120, 130)
    x[3] = np.nan
    found = coil(x, np.arange(12))
    assert found.tolist() == [False] * 4 + [True] * 8
