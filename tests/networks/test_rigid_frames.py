"""Rigid frames: exact geometry, composition, invariance."""

from __future__ import annotations

import math

import pytest
import torch

from openmm_slm.networks import rigid_frames as fr


def random_frames(*shape: int, seed: int = 0) -> fr.RigidFrames:
    generator = torch.Generator().manual_seed(seed)
    rotation = fr.rotation_from_6d(torch.randn(*shape, 6, generator=generator))
    return rotation, torch.randn(*shape, 3, generator=generator)


def angle(a, b, c):
    u, v = a - b, c - b
    return torch.acos((u * v).sum(-1) / (u.norm(dim=-1) * v.norm(dim=-1)))


def test_atoms_of_a_frame_have_ideal_geometry_and_give_the_frame_back():
    frames = random_frames(2, 7)
    bonded = torch.ones(2, 7, dtype=torch.bool)
    x = fr.place_backbone(frames, torch.randn(2, 7, 2), bonded)
    n, ca, c, o = x.unbind(-2)
    torch.testing.assert_close((n - ca).norm(dim=-1), torch.full((2, 7), 0.1459))
    torch.testing.assert_close((c - ca).norm(dim=-1), torch.full((2, 7), 0.1525))
    torch.testing.assert_close((o - c).norm(dim=-1), torch.full((2, 7), 0.1231))
    torch.testing.assert_close(angle(n, ca, c), torch.full((2, 7), math.radians(111.0)))
    torch.testing.assert_close(angle(ca, c, o), torch.full((2, 7), math.radians(120.4)))
    again = fr.frames_from_backbone(x)
    torch.testing.assert_close(again[0], frames[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(again[1], frames[1])


def test_oxygen_lies_in_the_peptide_plane_or_follows_the_torsion():
    frames = random_frames(1, 5)
    bonded = torch.tensor([[True, True, False, True, False]])
    torsion = torch.randn(1, 5, 2)
    x = fr.place_backbone(frames, torsion, bonded)
    for i in (0, 1, 3):
        normal = torch.linalg.cross(x[0, i, 1] - x[0, i, 2], x[0, i + 1, 0] - x[0, i, 2])
        assert abs(torch.dot(normal, x[0, i, 3] - x[0, i, 2])) < 1e-4
        # and on the other side of CA-C than the next N
        axis = torch.nn.functional.normalize(x[0, i, 1] - x[0, i, 2], dim=-1)
        across = [
            v - torch.dot(v, axis) * axis
            for v in (x[0, i + 1, 0] - x[0, i, 2], x[0, i, 3] - x[0, i, 2])
        ]
        assert torch.dot(*across) < 0
    found = fr.oxygen_torsion(x)[0, [2, 4]]
    expected = torch.nn.functional.normalize(torsion[0, [2, 4]], dim=-1)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("length", [1, 2, 5, 16, 33])
def test_chaining_in_log_steps_equals_one_by_one(length):
    relative = random_frames(2, length)
    rotation, origin = fr.chain_frames(relative)
    current = (relative[0][:, 0], relative[1][:, 0])
    for i in range(length):
        if i:
            current = fr.compose(current, (relative[0][:, i], relative[1][:, i]))
        torch.testing.assert_close(rotation[:, i], current[0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(origin[:, i], current[1], atol=1e-4, rtol=1e-4)


def test_local_coordinates_do_not_turn_with_the_molecule():
    frames, points = random_frames(4), torch.randn(4, 6, 3)
    turn = random_frames(1, seed=3)
    moved = fr.compose((turn[0].expand(4, 3, 3), turn[1].expand(4, 3)), frames)
    world = points @ turn[0][0].T + turn[1][0]
    torch.testing.assert_close(
        fr.to_local(moved, world), fr.to_local(frames, points), atol=1e-5, rtol=1e-4
    )
    back = fr.to_global(frames, fr.to_local(frames, points))
    torch.testing.assert_close(back, points, atol=1e-5, rtol=1e-4)


def test_small_update_of_zero_is_the_identity():
    eye = torch.eye(3)
    torch.testing.assert_close(fr.rotation_from_vector(torch.zeros(3, 3)), eye.expand(3, 3, 3))
    r = fr.rotation_from_vector(torch.randn(10, 3))
    square = r @ r.transpose(-1, -2)
    torch.testing.assert_close(square, eye.expand(10, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(r), torch.ones(10), atol=1e-5, rtol=0)
