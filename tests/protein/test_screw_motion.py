"""Screw motions: parts that turn keep their shape."""

from __future__ import annotations

import numpy as np
import pytest
from builders import helix
from scipy.spatial.transform import Rotation

from openmm_slm.protein.screw_motion import local_rotations, screw, screw_displaced
from openmm_slm.protein.superposition import rmsd


@pytest.mark.parametrize("degrees", [1.0, 40.0, 80.0])
def test_a_rigid_rotation_is_exact_at_any_angle(degrees):
    backbone = helix(20).astype(np.float64)
    turn = np.radians(degrees) * np.array([1, 2, -2]) / 3
    ca = backbone[:, 1]
    moved = screw_displaced(backbone, np.cross(turn, ca)).astype(np.float64)
    expected = Rotation.from_rotvec(turn).apply(backbone.reshape(-1, 3)).reshape(backbone.shape)
    assert np.abs(moved - expected).max() < 0.02 * np.radians(degrees)
    stretched = ca + np.cross(turn, ca)  # what a linear displacement does
    if degrees > 30:
        assert rmsd(stretched[None], ca[None])[0] > 20 * rmsd(moved[None, :, 1], ca[None])[0]


def test_rotations_and_translations_agree_with_scipy():
    rng = np.random.default_rng(0)
    turn, move = rng.normal(size=(2, 6, 3))
    turn[0], turn[1] = 0, 1e-6
    rotation, shift = screw(turn, move)
    np.testing.assert_allclose(rotation, Rotation.from_rotvec(turn).as_matrix(), atol=1e-9)
    steps = 2000  # the velocity turns with the body
    times = (np.arange(steps) + 0.5) / steps
    path = np.mean([Rotation.from_rotvec(t * turn).apply(move) for t in times], 0)
    np.testing.assert_allclose(shift, path, atol=1e-5)


def test_translations_do_not_turn_and_hinges_keep_bonds():
    backbone = helix(24)
    assert np.abs(local_rotations(backbone[:, 1], np.ones((24, 3)))).max() < 1e-9
    ca = backbone[:, 1].astype(np.float64)
    move = np.zeros((24, 3))
    move[12:] = np.cross([0.8, 0, 0], ca[12:] - ca[12])
    moved = screw_displaced(backbone, move)
    bond = np.linalg.norm(np.diff(ca, axis=0), axis=-1)
    change = np.linalg.norm(np.diff(moved[:, 1], axis=0), axis=-1) / bond
    linear = np.linalg.norm(np.diff(ca + move, axis=0), axis=-1) / bond
    assert np.abs(change[14:] - 1).max() < 0.3 * np.abs(linear[14:] - 1).max()
