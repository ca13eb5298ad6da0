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


def test_displacements_have_the_size_of_thermal_motion_and_more_of_the_soft_modes(springs):
    backbone = helix(30).astype(float)
    motion, rng = ThermalMotion(backbone, SEQUENCE, INDEX, springs), np.random.default_rng(0)
    drawn = np.stack([motion.displacement(rng, 2.0) for _ in range(4000)])
    square = (drawn**2).sum(-1).mean(0)
    assert square.mean() == pytest.approx(4 * motion.mean_square().mean(), rel=0.1)
    spread = square.std() / square.mean()
    assert spread > motion.mean_square().std() / motion.mean_square().mean()
    along = drawn.reshape(len(drawn), -1) @ rigid_motions(backbone[:, 1])
    assert np.abs(along).max() < 1e-2 * drawn.std()
    assert (motion.displacement(rng, 0.0) == 0).all()


def test_the_size_is_that_of_the_springs_and_the_shape_half_that_of_distances(springs):
    backbone = helix(30).astype(float)
    learned = np.einsum("iaia->i", springs.motions(backbone, SEQUENCE, INDEX)[1])
    packed = PackedNetwork(backbone[:, 1], INDEX).mean_square()
    expected = (learned + packed * learned.sum() / packed.sum()) / 2 * NEAR**2
    found = ThermalMotion(backbone, SEQUENCE, INDEX, springs).mean_square()
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_parts_that_touch_nowhere_move_less_than_half_a_nanometre(springs):
    one = helix(30).astype(float)
    backbone = np.concatenate([one, one + [9.0, 0, 0]])
    index = np.append(INDEX, INDEX + 95)
    motion = ThermalMotion(backbone, 2 * SEQUENCE, index, springs)
    assert 0.05 < np.sqrt(motion.mean_square().mean()) <= 0.5
