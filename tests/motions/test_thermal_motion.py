"""Random displacements of a structure by thermal motion."""

from __future__ import annotations

import numpy as np
import pytest
from builders import helix

from openmm_slm.models.registry import load_springs
from openmm_slm.motions.springs import NEAR, Springs
from openmm_slm.motions.thermal_motion import ThermalMotion
from openmm_slm.protein.elastic_network import PackedNetwork, rigid_motions

SEQUENCE = "GEWTYDDATKTFTVTEGDYTLKLVGRNSAQ"
INDEX = np.arange(30)


@pytest.fixture(scope="module")
def springs() -> Springs:
    return load_springs("default", "cpu")


def number_of_modes(drawn: np.ndarray) -> float:
    """Square of the sum over the sum of squares of the variances along all modes."""
    variances = np.linalg.eigvalsh(np.cov(drawn.reshape(len(drawn), -1).T))
    return variances.sum() ** 2 / (variances**2).sum()


@pytest.mark.parametrize("soft", [False, True])
def test_displacements_have_the_size_of_thermal_motion(springs, soft):
    backbone = helix(30).astype(float)
    motion = ThermalMotion(backbone, SEQUENCE, INDEX, springs, soft)
    rng, thermal = np.random.default_rng(0), motion.mean_square()
    drawn = np.stack([motion.displacement(rng, 2.0) for _ in range(4000)])
    square = (drawn**2).sum(-1).mean(0)
    assert square.mean() == pytest.approx(4 * thermal.mean(), rel=0.1)
    if soft:  # fewer modes
        other = ThermalMotion(backbone, SEQUENCE, INDEX, springs)
        assert number_of_modes(drawn) < 0.7 * number_of_modes(
            np.stack([other.displacement(rng, 2.0) for _ in range(4000)])
        )
    else:
        np.testing.assert_allclose(square, 4 * thermal, rtol=0.15)
    along = drawn.reshape(len(drawn), -1) @ rigid_motions(backbone[:, 1])
    assert np.abs(along).max() < 2e-2 * np.sqrt(30) * drawn.std()
    assert (motion.displacement(rng, 0.0) == 0).all()


def test_the_first_soft_displacements_go_both_ways_along_the_softest_modes(springs):
    backbone = helix(30).astype(float)
    motion = ThermalMotion(backbone, SEQUENCE, INDEX, springs, soft=True)
    rng = np.random.default_rng(0)
    first = np.stack([motion.displacement(rng, 1.0, k) for k in range(10)])
    np.testing.assert_array_equal(first[::2], -first[1::2])
    square = (first**2).sum((1, 2)) / 30
    np.testing.assert_allclose(square, motion.mean_square().mean(), rtol=1e-6)
    modes = first[::2].reshape(5, -1)
    assert np.abs(modes @ modes.T - np.diag(np.diag(modes @ modes.T))).max() < 1e-6
    # Random displacements have more of the first mode than of the second, and so on.
    drawn = np.stack([motion.displacement(rng, 1.0, 10 + k).ravel() for k in range(2000)])
    share = ((drawn @ modes.T) ** 2).mean(0)
    assert share[0] > share[1] > share[2] > (drawn**2).mean() * (modes**2).sum(1).mean()


def test_thermal_motion_is_that_of_the_springs_and_soft_modes_are_half_those_of_distances(springs):
    backbone = helix(30).astype(float)
    learned = np.einsum("iaia->i", springs.motions(backbone, SEQUENCE, INDEX)[1]) * NEAR**2
    found = ThermalMotion(backbone, SEQUENCE, INDEX, springs).mean_square()
    np.testing.assert_allclose(found, learned, rtol=1e-6)
    packed = PackedNetwork(backbone[:, 1], INDEX).mean_square()
    expected = (learned + packed * learned.sum() / packed.sum()) / 2
    soft = ThermalMotion(backbone, SEQUENCE, INDEX, springs, soft=True).mean_square()
    np.testing.assert_allclose(soft, expected, rtol=1e-6)


def test_parts_that_touch_nowhere_move_less_than_half_a_nanometre(springs):
    one = helix(30).astype(float)
    backbone = np.concatenate([one, one + [9.0, 0, 0]])
    index = np.append(INDEX, INDEX + 95)
    motion = ThermalMotion(backbone, 2 * SEQUENCE, index, springs)
    assert 0.05 < np.sqrt(motion.mean_square().mean()) <= 0.5
