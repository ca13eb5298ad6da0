"""The choice of seeds: frames that stand for an ensemble."""

from __future__ import annotations

import mdtraj as md
import numpy as np
import pytest
from builders import ideal_backbone

import openmm_slm
from openmm_slm.errors import SLMError
from openmm_slm.protein.trajectory import backbone_trajectory
from openmm_slm.seeding.features import feature_space
from openmm_slm.seeding.selecting import METHODS, k_centers

EVERY = np.ones(60, bool)


def rotated(xyz: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each frame turned and shifted on its own."""
    turns = np.linalg.qr(rng.normal(size=(len(xyz), 3, 3)))[0]
    turns *= np.sign(np.linalg.det(turns))[:, None, None]
    return (xyz @ turns + rng.normal(size=(len(xyz), 1, 3))).astype(np.float32)


@pytest.fixture(scope="module")
def three() -> tuple[md.Trajectory, np.ndarray]:
    """60 frames of three shapes, 40 + 16 + 4, in a known order; and the shape of each."""
    rng = np.random.default_rng(0)
    shapes = []
    for phi, psi in ((-60, -45), (-120, 130), (-75, 150)):
        angles = np.full(12, np.radians(phi)), np.full(12, np.radians(psi))
        shapes.append(ideal_backbone(*angles, np.full(12, np.pi)))
    kinds = rng.permutation(np.repeat([0, 1, 2], [40, 16, 4]))
    xyz = np.stack([shapes[k] for k in kinds]) + rng.normal(0, 0.001, (60, 12, 4, 3))
    turned = rotated(xyz.reshape(60, 48, 3), rng)
    return backbone_trajectory(turned.reshape(60, 12, 4, 3), "A" * 12), kinds


@pytest.mark.parametrize("features", ["ca-rmsd", "dihedrals", "pca"])
@pytest.mark.parametrize("method", [name for name in METHODS if name != "drawn"])
def test_three_seeds_of_three_shapes(three, method, features):
    traj, kinds = three
    options = {"clusters": 3} if method == "least-populated" else {}
    chosen = openmm_slm.select_seeds(traj, 3, method, features, EVERY, **options)
    assert sorted(kinds[chosen]) == [0, 1, 2]
    again = openmm_slm.select_seeds(traj, 3, method, features, EVERY, **options)
    np.testing.assert_array_equal(chosen, again)


def test_the_least_populated_are_the_rare_and_kmeans_begins_with_the_common(three):
    traj, kinds = three
    valid = np.ones(60, bool)
    rare = openmm_slm.select_seeds(traj, 1, "least-populated", report=valid, clusters=3)
    assert kinds[rare].tolist() == [2]
    common = openmm_slm.select_seeds(traj, 3, "kmeans", report=valid)
    assert kinds[common].tolist() == [0, 1, 2]


@pytest.mark.parametrize("features", ["ca-rmsd", "dihedrals", "pca"])
def test_the_choice_does_not_depend_on_where_frames_lie(three, features):
    traj, _ = three
    turned = md.Trajectory(rotated(traj.xyz, np.random.default_rng(1)), traj.topology)
    spaces = [feature_space(t, features) for t in (traj, turned)]
    for i in (0, 17):
        np.testing.assert_allclose(spaces[0].distances(i), spaces[1].distances(i), atol=2e-5)


def test_k_centers_are_within_twice_the_best_radius(three):
    """Gonzalez's bound: three shapes have a radius of the noise, so must three centers."""
    space = feature_space(three[0], "ca-rmsd")
    centers, owner = k_centers(space, 3)
    radius = max(space.distances(c)[owner == k].max() for k, c in enumerate(centers))
    assert radius < 0.01 < min(space.distances(centers[0])[centers[1:]])


def test_frames_that_are_not_valid_are_skipped(three):
    traj, kinds = three
    chosen = openmm_slm.select_seeds(traj, 5, report={"valid": kinds != 1})
    assert 1 not in kinds[chosen] and len(set(chosen)) == 5
    broken = md.Trajectory(traj.xyz.copy(), traj.topology)
    broken.xyz[::2, 2] += 0.5
    assert (openmm_slm.select_seeds(broken, 10) % 2 == 1).all()
    broken.xyz[:55] = np.nan
    with pytest.raises(SLMError, match=r"4 seeds of 3 valid frames \(60 in all\)"):
        openmm_slm.select_seeds(broken, 4)


def test_tica_finds_the_slow_motion():
    """A slow switch of the chain's end and faster, larger noise: seeds lie on both sides."""
    rng = np.random.default_rng(2)
    straight = ideal_backbone(*[np.full(8, np.radians(a)) for a in (-120, 130, 180)])
    slow = np.repeat([0, 1, 0, 1], 50)
    xyz = straight + rng.normal(0, 0.002, (200, 8, 4, 3))
    xyz[:, 6:] += 0.05 * slow[:, None, None, None]
    xyz[:, 0] += rng.normal(0, 0.2, (200, 1, 1))
    traj = backbone_trajectory(xyz.astype(np.float32), "A" * 8)
    chosen = openmm_slm.select_seeds(traj, 2, "kmeans", "tica", np.ones(200, bool), lag=5)
    assert slow[chosen].sum() == 1


def test_equal_frames_give_different_seeds(three):
    same = md.Trajectory(three[0].xyz[:1].repeat(5, 0), three[0].topology)
    for method in METHODS:
        chosen = openmm_slm.select_seeds(same, 3, method, "pca", np.ones(5, bool))
        assert len(set(chosen.tolist())) == 3
