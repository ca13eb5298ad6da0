"""Geometry against MDTraj and against structures built with known torsions."""

from __future__ import annotations

import mdtraj as md
import numpy as np
import pytest
from builders import helix, ideal_backbone
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from openmm_slm.protein import geometry
from openmm_slm.protein.protein import Protein
from openmm_slm.protein.superposition import rmsd, superpose
from openmm_slm.protein.trajectory import backbone_trajectory
from openmm_slm.validity.close_contacts import ca_clashes
from openmm_slm.validity.report import backbone_report

RNG = np.random.default_rng(0)


def random_chain(length: int = 40, seed: int = 0) -> tuple[np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    torsions = [rng.uniform(-np.pi, np.pi, length) for _ in range(3)]
    return ideal_backbone(*torsions), torsions


@pytest.mark.parametrize("seed", range(3))
def test_torsions_are_those_the_chain_was_built_with(seed):
    backbone, expected = random_chain(seed=seed)
    found = geometry.backbone_torsions(backbone.astype(np.float64))
    for mine, theirs, span in zip(found, expected, (np.s_[1:], np.s_[:-1], np.s_[1:]), strict=True):
        np.testing.assert_allclose(np.exp(1j * mine[span]), np.exp(1j * theirs[span]), atol=1e-4)
    assert np.isnan([found[0][0], found[1][-1], found[2][0]]).all()


def test_torsions_agree_with_mdtraj():
    backbone, _ = random_chain()
    traj = backbone_trajectory(backbone[None], "A" * 40)
    phi, psi, omega = geometry.backbone_torsions(backbone)
    np.testing.assert_allclose(md.compute_phi(traj)[1][0], phi[1:], atol=1e-4)
    np.testing.assert_allclose(md.compute_psi(traj)[1][0], psi[:-1], atol=1e-4)
    # +pi and -pi are the same angle
    np.testing.assert_allclose(np.cos(md.compute_omega(traj)[1][0]), np.cos(omega[1:]), atol=1e-4)


def test_no_torsion_over_a_chain_break():
    broken = np.zeros(40, bool)
    broken[[0, 17]] = True
    phi, psi, omega = geometry.backbone_torsions(random_chain()[0], broken)
    assert np.isnan([phi[17], psi[16], omega[17]]).all()
    assert np.isfinite(phi[1:17]).all() and np.isfinite(psi[17:-1]).all()


@given(st.integers(0, 10_000))
def test_superposition_finds_the_rotation_and_never_a_mirror(seed):
    rng = np.random.default_rng(seed)
    target = rng.normal(size=(12, 3))
    rotation = Rotation.random(rng=rng).as_matrix()
    mobile = (target - rng.normal(size=3)) @ rotation
    moved, found, _ = superpose(mobile, target)
    np.testing.assert_allclose(moved, target, atol=1e-9)
    assert abs(np.linalg.det(found) - 1) < 1e-9
    _, mirrored, _ = superpose(mobile * [1, 1, -1], target)
    assert abs(np.linalg.det(mirrored) - 1) < 1e-9
    assert rmsd(mobile * [1, 1, -1], target) > 1e-3


def test_rmsd_agrees_with_mdtraj_over_many_frames():
    x = RNG.normal(size=(5, 30, 4, 3)).astype(np.float32)
    traj = backbone_trajectory(x, "A" * 30)
    flat = x.reshape(5, -1, 3)
    np.testing.assert_allclose(rmsd(flat, flat[2]), md.rmsd(traj, traj, 2), atol=1e-4)


def test_masked_points_do_not_count():
    a = RNG.normal(size=(20, 3))
    b = a.copy()
    b[5] += 10
    mask = np.arange(20) != 5
    assert rmsd(a, b, mask) < 1e-9 < 1 < rmsd(a, b)


def test_oxygen_is_where_a_peptide_has_it():
    """O is trans to the next CA about C-N, in the peptide plane."""
    x = helix(12).astype(np.float64)
    torsion = geometry.dihedral(x[:-1, 3], x[:-1, 2], x[1:, 0], x[1:, 1])
    assert np.abs(torsion).max() < 0.02  # O-C-N-CA is cis where CA-C-N-CA is trans
    np.testing.assert_allclose(np.linalg.norm(x[:, 3] - x[:, 2], axis=-1), 0.1231, atol=1e-5)
    donors = np.linalg.norm(x[:-4, 3] - x[4:, 0], axis=-1)
    assert ((donors > 0.26) & (donors < 0.34)).all()  # the helix's hydrogen bonds


def test_last_oxygen_follows_the_given_torsion():
    x = helix(6).astype(np.float64)
    for psi in (-0.8, 2.4):
        o = geometry.place_oxygen(x, np.arange(6) == 0, end_psi=psi)
        torsion = geometry.dihedral(x[-1, 0], x[-1, 1], x[-1, 2], o[-1])
        assert abs(np.angle(np.exp(1j * (torsion - psi - np.pi)))) < 1e-6


def test_virtual_cb_is_l_and_tetrahedral():
    x = helix(8).astype(np.float64)
    cb = geometry.cb_position(x)
    np.testing.assert_allclose(np.linalg.norm(cb - x[:, 1], axis=-1), 0.153, atol=0.004)
    assert (geometry.chirality(x[:, 0], x[:, 1], x[:, 2], cb) > 0).all()
    mirror = x * [1, 1, -1]
    d = geometry.chirality(mirror[:, 0], mirror[:, 1], mirror[:, 2], cb * [1, 1, -1])
    assert (d < 0).all()


def test_lddt_is_one_for_any_pose_and_falls_with_noise():
    ca = helix(50)[:, 1].astype(np.float64)
    turned = ca @ Rotation.random(rng=1).as_matrix().T + 3
    assert geometry.lddt_ca(turned, ca)[1] == 1
    scores = [geometry.lddt_ca(ca + RNG.normal(0, s, ca.shape), ca)[1] for s in (0.02, 0.1, 0.5)]
    assert 1 > scores[0] > scores[1] > scores[2]


def test_lddt_equals_a_loop():
    true, pred = RNG.normal(size=(2, 15, 3))
    kept, pairs = 0.0, 0
    for i in range(15):
        for j in range(15):
            d = np.linalg.norm(true[i] - true[j])
            if i != j and d < 1.5:
                error = abs(d - np.linalg.norm(pred[i] - pred[j]))
                kept += np.mean([error < t for t in (0.05, 0.1, 0.2, 0.4)])
                pairs += 1
    assert abs(geometry.lddt_ca(pred, true)[1] - kept / pairs) < 1e-12


def test_clashes_are_counted_by_hand():
    ca = np.array([[0, 0, 0], [0.38, 0, 0], [0.1, 0, 0], [5, 0, 0]])
    assert ca_clashes(ca) == 1  # 0-2; 1-2 are neighbours
    assert ca_clashes(np.stack([ca, ca * 10])).tolist() == [1, 0]


# -- validity ---------------------------------------------------------------------------------


def report(backbone, sequence=None):
    length = len(backbone)
    return {
        key: value[0]
        for key, value in backbone_report(
            backbone[None], Protein(sequence or "A" * length, np.arange(length) == 0)
        ).items()
    }


def test_an_ideal_helix_is_valid():
    assert report(helix(20))["valid"]
    assert report(helix(20))["c_n_deviation_nm"] < 1e-3


def chain_with_omega(value, at=8, length=16):
    omega = np.full(length, np.pi)
    omega[at] = value
    strand = np.full(length, np.radians(-120)), np.full(length, np.radians(130))
    return ideal_backbone(*strand, omega)


def test_cis_is_invalid_except_before_proline():
    cis = chain_with_omega(0.0)
    assert report(cis)["cis"] == 1 and not report(cis)["valid"]
    assert report(cis, "AAAAAAAAPAAAAAAA")["valid"]
    twisted = report(chain_with_omega(np.radians(120)), "AAAAAAAAPAAAAAAA")
    assert twisted["twisted_omega"] == 1 and not twisted["valid"]


@pytest.mark.parametrize(
    ("spoil", "column"),
    [
        (lambda x: x.__setitem__((slice(9, None),), x[9:] + 0.1), "c_n_deviation_nm"),
        (lambda x: x.__setitem__((5, 1), x[5, 1] + 0.03), "bond_deviation_nm"),
        (lambda x: x.__setitem__((5, 0, 0), np.nan), "finite"),
    ],
)
def test_each_fault_makes_a_frame_invalid(spoil, column):
    x = helix(16).copy()
    good = report(x)
    spoil(x)
    bad = report(x)
    assert good["valid"] and not bad["valid"]
    assert bad[column] != good[column]


def test_crossing_chains_are_invalid():
    x = np.concatenate([helix(10), helix(10) + [0.05, 0.05, 0.0]])
    judged = backbone_report(x[None], Protein("A" * 20, np.isin(np.arange(20), [0, 10])))
    assert judged["closest_ca_nm"][0] < 0.3 and not judged["valid"][0]
