"""Bonds that pass through rings."""

from __future__ import annotations

import numpy as np

from ..protein.bonding import Bonding

_EDGE = 1e-9  # of a triangle's side


def pierced_rings(atoms: np.ndarray, bonding: Bonding) -> np.ndarray:
    """Number of rings with a bond through them, int64 [F].

    A ring is the fan of triangles between its atoms and their mean, which also serves the puckered
    ring of proline; a bond pierces it where its segment meets one of them (Möller & Trumbore,
    1997). Bonds that share an atom with the ring are left out.

    Parameters
    ----------
    atoms : ndarray [F, 15 * L, 3]
        nm; rings and bonds with an atom that is not finite are left out.
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
    for first in range(0, len(frame), 50_000):  # few but for frames that have come apart
        f, r, b = (index[first : first + 50_000] for index in (frame, ring, bond))
        reaches = _distance_to(start[f, b], end[f, b], centre[f, r]) <= ring_radius[f, r]
        f, r, b = f[reaches], r[reaches], b[reaches]
        through = _meets_fan(start[f, b], end[f, b], corner[f, r], centre[f, r])
        pierced[f[through], r[through]] = True
    return pierced.sum(1)


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distances [F, R, B] of points [F, R, 3] and [F, B, 3], one axis at a time."""
    square = sum((a[:, :, None, k] - b[:, None, :, k]) ** 2 for k in range(3))
    return np.sqrt(square)


def _distance_to(start: np.ndarray, end: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Distances [P] of points from segments, all [P, 3]."""
    along = end - start
    square = np.maximum((along**2).sum(-1), 1e-30)
    share = np.clip(((point - start) * along).sum(-1) / square, 0, 1)
    return np.linalg.norm(start + share[:, None] * along - point, axis=-1)


def _meets_fan(
    start: np.ndarray, end: np.ndarray, corner: np.ndarray, centre: np.ndarray
) -> np.ndarray:
    """Whether segments [P, 3] meet a triangle of the fans of corners [P, 6, 3] and centres."""
    u = corner - centre[:, None]
    v = np.roll(corner, -1, axis=1) - centre[:, None]
    along = (end - start)[:, None]
    across = np.cross(along, v)
    volume = (u * across).sum(-1)
    from_centre = (start - centre)[:, None]
    twist = np.cross(from_centre, u)
    with np.errstate(divide="ignore", invalid="ignore"):
        a = (from_centre * across).sum(-1) / volume
        b = (along * twist).sum(-1) / volume
        t = (v * twist).sum(-1) / volume
        # A segment along an edge that two triangles share is in both, whatever is rounded.
        inside = (a >= -_EDGE) & (b >= -_EDGE) & (a + b <= 1) & (t >= 0) & (t <= 1)
    return (inside & (np.abs(volume) > 1e-12)).any(1)  # nm^3; 0: the repeat of a ring of five
