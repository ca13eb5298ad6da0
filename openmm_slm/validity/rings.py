"""Bonds that pass through rings."""

from __future__ import annotations

import numpy as np

from ..protein.bonding import Bonding
from ..protein.fan_crossings import fan_crossings


def pierced_rings(atoms: np.ndarray, bonding: Bonding) -> np.ndarray:
    """Number of rings pierced by a bond, int64 [F].

    The surface of a ring is the fan of triangles between its atoms and their mean, which also fits
    the puckered ring of proline. A bond pierces the ring if it intersects a triangle. Bonds that
    share an atom with the ring are ignored.

    Parameters
    ----------
    atoms : ndarray [F, 15 * L, 3]
        nm; rings and bonds with an atom that is not finite are ignored.
    bonding : Bonding
    """
    x = np.asarray(atoms, np.float64)
    rings, bonds = bonding.rings, bonding.bonds
    with np.errstate(invalid="ignore", over="ignore"):
        corner = x[:, rings]  # [F, R, 6, 3]
        centre = corner.mean(2)
        ring_radius = np.linalg.norm(corner - centre[:, :, None], axis=-1).max(-1)
        start, end = x[:, bonds[:, 0]], x[:, bonds[:, 1]]
        middle, half = (start + end) / 2, np.linalg.norm(end - start, axis=-1) / 2
        near = _distance(centre, middle) < ring_radius[:, :, None] + half[:, None]
    frame, ring, bond = np.nonzero(near)
    apart = (rings[ring][:, :, None] != bonds[bond][:, None]).all((1, 2))
    frame, ring, bond = frame[apart], ring[apart], bond[apart]
    pierced = np.zeros((len(x), len(rings)), bool)
    for first in range(0, len(frame), 50_000):  # one pass, except for badly distorted frames
        f, r, b = (index[first : first + 50_000] for index in (frame, ring, bond))
        reaches = _distance_to(start[f, b], end[f, b], centre[f, r]) <= ring_radius[f, r]
        f, r, b = f[reaches], r[reaches], b[reaches]
        through = fan_crossings(start[f, b], end[f, b], corner[f, r], centre[f, r]).any(1)
        pierced[f[through], r[through]] = True
    return pierced.sum(1)


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distances [F, R, B] between points [F, R, 3] and [F, B, 3]; one axis at a time."""
    square = sum((a[:, :, None, k] - b[:, None, :, k]) ** 2 for k in range(3))
    return np.sqrt(square)


def _distance_to(start: np.ndarray, end: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Distances [P] of points [P, 3] from segments between `start` and `end` [P, 3]."""
    along = end - start
    square = np.maximum((along**2).sum(-1), 1e-30)
    share = np.clip(((point - start) * along).sum(-1) / square, 0, 1)
    return np.linalg.norm(start + share[:, None] * along - point, axis=-1)
