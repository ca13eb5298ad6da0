"""Baselines from a template: amplitudes are what they are said to be, modes are those of a body."""

from __future__ import annotations

import mdtraj
import numpy as np
import pytest
from builders import helix, ideal_backbone

from openmm_slm.comparison.baselines import (
    elastic_network,
    jitter,
    mean_rmsf,
    repeated,
)
from openmm_slm.protein.elastic_network import (
    ElasticNetwork,
    PackedNetwork,
    network_hessian,
    network_modes,
    packed_stiffness,
    rigid_motions,
    spring_hessian,
)
from openmm_slm.protein.superposition import superpose
from openmm_slm.protein.trajectory import backbone_trajectory

RMSF = 0.05  # nm


def hairpin() -> np.ndarray:
    """Two helices and a turn: float32 [30, 4, 3], neither straight nor symmetric."""
    phi, psi = np.full(30, -60.0), np.full(30, -45.0)
    phi[13:17], psi[13:17] = [-120, 60, -90, -70], [130, 30, 0, 150]
    return ideal_backbone(np.radians(phi), np.radians(psi), np.full(30, np.pi))


@pytest.fixture
def template() -> mdtraj.Trajectory:
    return backbone_trajectory(hairpin()[None], "ACDEFGHIKL" * 3)


def turned(traj: mdtraj.Trajectory, seed: int = 0) -> tuple[mdtraj.Trajectory, np.ndarray]:
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    return mdtraj.Trajectory(traj.xyz @ rotation.T + [1, 2, 3], traj.topology), rotation


def ca(traj: mdtraj.Trajectory) -> np.ndarray:
    return traj.xyz[:, traj.topology.select("name CA")].astype(np.float64)


def test_a_network_has_six_zero_modes_and_they_are_rigid_motions(template):
    x = ca(template)[0]
    hessian = network_hessian(x)
    values, vectors = np.linalg.eigh(hessian)
    assert (np.abs(values) < 1e-9 * values[-1]).sum() == 6
    rigid = rigid_motions(x)
    np.testing.assert_allclose(np.linalg.norm(rigid.T @ vectors[:, :6]), np.sqrt(6), rtol=1e-9)
    stiffness, modes = network_modes(x)
    assert stiffness.shape == (84,) and modes.shape == (90, 84) and stiffness[0] > 0
    assert np.abs(rigid.T @ modes).max() < 1e-9


def test_the_hessian_is_the_second_derivative_of_the_springs(template):
    x = ca(template)[0][:8]
    joined = np.triu(np.linalg.norm(x[:, None] - x[None], axis=-1) < 1.5, 1)
    rest = np.linalg.norm(x[:, None] - x[None], axis=-1)[joined]

    def energy(flat):
        y = flat.reshape(-1, 3)
        return 0.5 * ((np.linalg.norm(y[:, None] - y[None], axis=-1)[joined] - rest) ** 2).sum()

    h, n = 1e-4, x.size
    steps, numeric = h * np.eye(n), np.empty((n, n))
    for i in range(n):
        for j in range(n):
            a, b, o = steps[i], steps[j], x.ravel()
            numeric[i, j] = energy(o + a + b) - energy(o + a - b)
            numeric[i, j] += energy(o - a - b) - energy(o - a + b)
    np.testing.assert_allclose(network_hessian(x), numeric / (4 * h * h), atol=1e-5)


@pytest.mark.parametrize("make", [jitter, elastic_network])
def test_frames_fluctuate_as_much_as_was_asked(template, make):
    small = 0.01  # where linear displacements are exact
    drawn = make(template, 20000, small, seed=3)
    assert drawn.n_frames == 20000 and drawn.topology == template.topology
    assert mean_rmsf(drawn) == pytest.approx(small, rel=0.01)
    assert mean_rmsf(make(template, 1000, 5 * small, seed=3)) == pytest.approx(0.05, rel=0.03)


def test_network_frames_have_the_covariance_of_the_modes(template):
    drawn = ca(elastic_network(template, 4000, 0.01, seed=1)).reshape(4000, -1)
    stiffness, modes = network_modes(ca(template)[0])
    expected = (modes / stiffness) @ modes.T
    found = np.cov(drawn.T, bias=True)
    scale = np.trace(found) / np.trace(expected)
    assert np.abs(found - scale * expected).max() < 0.07 * found.max()
    ends = np.sqrt(found.diagonal().reshape(-1, 3).sum(1))
    assert ends[[0, -1]].min() > 1.3 * np.median(ends)  # chain ends are loose


def test_jitter_is_the_same_everywhere(template):
    drawn = ca(jitter(template, 4000, RMSF, seed=1))
    each = drawn.std(0)
    # Six of ninety degrees of freedom are rigid motions: those far out lose more to them.
    assert each.mean() == pytest.approx(RMSF / np.sqrt(3), rel=0.01)
    assert each.min() > 0.75 * each.max()


def test_the_modes_turn_with_the_template(template):
    moved, rotation = turned(template)
    stiffness, modes = network_modes(ca(template)[0])
    there, turned_modes = network_modes(ca(moved)[0])
    np.testing.assert_allclose(there, stiffness, rtol=1e-3)
    here, there = (
        ((m / s) @ m.T).reshape(30, 3, 30, 3).transpose(0, 2, 1, 3)
        for s, m in ((stiffness, modes), (there, turned_modes))
    )
    np.testing.assert_allclose(rotation.T @ there @ rotation, here, atol=1e-3 * here.max())


@pytest.mark.parametrize("make", [jitter, elastic_network])
def test_residues_move_as_bodies(template, make):
    drawn = make(template, 5, RMSF).xyz.reshape(5, 30, 4, 3)
    inside = drawn - drawn[:, :, 1:2]
    still = hairpin() - hairpin()[:, 1:2]
    np.testing.assert_allclose(inside, np.broadcast_to(still, inside.shape), atol=1e-6)


@pytest.mark.parametrize("make", [jitter, elastic_network])
def test_frame_i_depends_on_the_seed_and_i_alone(template, make):
    few, many = make(template, 3, RMSF, seed=9), make(template, 7, RMSF, seed=9)
    np.testing.assert_array_equal(few.xyz, many.xyz[:3])
    assert not np.allclose(few.xyz, make(template, 3, RMSF, seed=10).xyz)


def test_side_chains_and_ca_only_chains_are_carried(template):
    alone = template.atom_slice(template.topology.select("name CA"))
    whole = elastic_network(template, 4, RMSF, seed=2)
    np.testing.assert_allclose(elastic_network(alone, 4, RMSF, seed=2).xyz, ca(whole), atol=1e-6)


def test_the_repeated_template_does_not_move(template):
    same = repeated(template, 6)
    assert same.n_frames == 6 and mean_rmsf(same) < 1e-6
    np.testing.assert_array_equal(same.xyz[5], template.xyz[0])


def test_rmsf_ignores_tumbling_and_counts_weights(template):
    drawn = jitter(template, 50, RMSF)
    tumbled = drawn[:]
    for frame in range(50):
        tumbled.xyz[frame] = turned(drawn[frame], frame)[0].xyz[0]
    assert mean_rmsf(tumbled) == pytest.approx(mean_rmsf(drawn), rel=1e-4)
    twice = drawn[list(range(50)) + list(range(10))]
    weights = np.where(np.arange(50) < 10, 2, 1)
    assert mean_rmsf(drawn, weights) == pytest.approx(mean_rmsf(twice), rel=1e-4)


@pytest.mark.slow
def test_a_thousand_residues_take_seconds():
    import time

    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(11)] * 3), -1).reshape(-1, 3)[:1024] * 0.55
    x = (grid + rng.normal(0, 0.03, (1024, 3))).astype(np.float32)
    backbone = x[:, None] + (helix(4)[0] - helix(4)[0, 1])
    traj = backbone_trajectory(backbone[None], "A" * 1024)
    start = time.process_time()
    elastic_network(traj, 20, RMSF)
    assert time.process_time() - start < 60  # 5 s on one core of 2026


def test_bad_templates_are_named(template):
    with pytest.raises(ValueError, match="3 frames; choose one"):
        jitter(repeated(template, 3), 2, RMSF)
    with pytest.raises(ValueError, match="modes .* cost no energy .* raise the cutoff"):
        elastic_network(template, 2, RMSF, cutoff=0.5)
    with pytest.raises(ValueError, match="rmsf is -1"):
        jitter(template, 2, -1)
    with pytest.raises(ValueError, match="n is 0"):
        repeated(template, 0)
    with pytest.raises(ValueError, match="cutoff is nan"):
        elastic_network(template, 2, RMSF, cutoff=np.nan)
    no_ca = template.atom_slice(template.topology.select("name N or resid > 0"))
    with pytest.raises(ValueError, match="ALA1 of the template has 0 CA"):
        repeated(no_ca, 2)
    broken = template[:]
    broken.xyz[0, 5] = np.nan
    with pytest.raises(ValueError, match="residue 1 .* not finite"):
        elastic_network(broken, 2, RMSF)


@pytest.mark.parametrize("make", [jitter, elastic_network])
def test_frames_lie_on_the_template_as_superposition_would_put_them(template, make):
    """Displacements without rigid motions meet the Eckart conditions: nothing is left to turn."""
    drawn = ca(make(template, 20, RMSF))
    moved, rotation, _ = superpose(drawn, ca(template)[0])
    np.testing.assert_allclose(rotation, np.broadcast_to(np.eye(3), rotation.shape), atol=1e-5)
    np.testing.assert_allclose(moved, drawn, atol=1e-5)


def test_soft_displacements_have_the_covariance_of_the_modes():
    """Two routes to one distribution: eigenvectors, and the Cholesky factor training uses."""
    ca = hairpin()[:, 1].astype(np.float64)
    stiffness, modes = network_modes(ca)
    expected = (modes / stiffness) @ modes.T
    rng = np.random.default_rng(0)
    network = ElasticNetwork(ca)
    drawn = np.stack([network.displacement(rng).ravel() for _ in range(3000)])
    assert np.abs(drawn @ rigid_motions(ca)).max() < 1e-2 * drawn.std()
    found = drawn.T @ drawn / len(drawn)
    assert np.linalg.norm(found - expected) < 0.15 * np.linalg.norm(expected)


def test_packed_network_has_the_covariance_of_its_modes():
    ca = hairpin()[:, 1].astype(np.float64)
    values, modes = np.linalg.eigh(spring_hessian(ca, packed_stiffness(ca)))
    values, modes = values[6:] + 3e-4, modes[:, 6:]  # with what holds every CA
    expected = (modes / values) @ modes.T
    np.testing.assert_allclose(PackedNetwork(ca).covariance, expected, atol=1e-4 * expected.max())


def test_packed_springs_hold_the_chain_and_know_where_it_ends():
    ca = hairpin()[:, 1].astype(np.float64)
    whole = packed_stiffness(ca)
    np.testing.assert_allclose(np.diag(whole, 1), 10)
    np.testing.assert_allclose(np.diag(whole, 2), 2.5)
    far = np.linalg.norm(ca[0] - ca[-1])
    np.testing.assert_allclose(whole[0, -1], (0.38 / far) ** 6)
    cut = packed_stiffness(ca, np.where(np.arange(30) < 15, 0, 65) + np.arange(30))
    np.testing.assert_allclose(cut[14, 15], (0.38 / np.linalg.norm(ca[14] - ca[15])) ** 6)


def test_packed_network_is_softer_for_parts_that_do_not_touch():
    ca = hairpin()[:, 1].astype(np.float64)
    tight = np.concatenate([ca, ca + [0.6, 0, 0]])
    loose = np.concatenate([ca, ca + [3.0, 0, 0]])
    index = np.arange(60) + 65 * (np.arange(60) >= 30)
    assert 1.5 * PackedNetwork(tight, index).softness < PackedNetwork(loose, index).softness <= 3
