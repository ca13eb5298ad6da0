"""Segments that pass through the surface of a ring or a loop."""

from __future__ import annotations

import numpy as np

_EDGE = 1e-9  # tolerance at edges, relative to the side of a triangle


def fan_crossings(
    start: np.ndarray, end: np.ndarray, corner: np.ndarray, centre: np.ndarray
) -> np.ndarray:
    """Triangles of fans that segments intersect, and from which side (Möller & Trumbore, 1997).

    Parameters
    ----------
    start, end : ndarray [P, 3]
    corner : ndarray [P, N, 3]
        Corners of a closed loop in order. Triangle i is between corners i and i + 1 and the centre.
    centre : ndarray [P, 3]

    Returns
    -------
    ndarray, int8 [P, N]
        1 or -1, by the side from which the segment comes; 0 where it misses the triangle.
    """
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
        # The tolerance puts a segment through an edge into both triangles despite rounding.
        inside = (a >= -_EDGE) & (b >= -_EDGE) & (a + b <= 1) & (t >= 0) & (t <= 1)
    # nm^3; triangles from a repeated corner have no volume.
    return np.where(inside & (np.abs(volume) > 1e-12), np.sign(volume), 0).astype(np.int8)
