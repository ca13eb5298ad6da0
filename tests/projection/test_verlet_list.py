"""Pairs remembered while frames move are those that a search afresh finds."""

from __future__ import annotations

import numpy as np
import pytest
from builders import helix

from openmm_slm.projection.backbone_sites import BackboneSites
from openmm_slm.projection.rigid_body_step import Contacts
from openmm_slm.projection.verlet_list import VerletList

LENGTH, FRAMES = 20, 4
START = np.arange(2 * LENGTH) % LENGTH == 0
SEQUENCE = "ALPKGFELSW" * 4


def crossing(rng: np.random.Generator) -> np.ndarray:
    """Two helices through each other: [3, 3, 2 L, F]."""
    one = helix(LENGTH)[:, :3]
    x = np.concatenate([one, one + np.float32(0.4)])[None]
    x = x + rng.normal(0, 0.03, (FRAMES, 2 * LENGTH, 1, 3)).astype(np.float32)
    return np.ascontiguousarray(x.transpose(2, 3, 1, 0))


def listed(found: Contacts) -> set[tuple]:
    """Bodies, local coordinates and distances of contacts."""
    bodies = found.bodies[:, found.body].reshape(6, -1)
    columns = np.concatenate([bodies, found.local.reshape(8, -1), found.distance[None]])
    return set(map(tuple, columns.T.tolist()))


@pytest.mark.parametrize("step", [0.001, 0.02, 0.2])
def test_contacts_after_many_moves_are_those_of_a_new_search(step):
    rng = np.random.default_rng(1)
    sites = BackboneSites(SEQUENCE, START, np.ones(2 * LENGTH), 0.34)
    frames, row = np.arange(FRAMES), np.arange(2 * LENGTH)
    x = crossing(rng)
    near, seen = VerletList(sites, frames, row), []
    for turn in range(8):
        x = x + rng.normal(0, step, (1, 3, 2 * LENGTH, 1)).astype(np.float32)
        found = listed(near.contacts(x))
        afresh = VerletList(sites, near.frames, row, near.marked)
        assert found == listed(afresh.contacts(x))
        seen.append(len(found))
        if turn == 4:  # a frame is done
            kept = np.array([True, False, True, True])
            near.select(kept)
            x = x.compress(kept, 3)
    assert min(seen) > 20
