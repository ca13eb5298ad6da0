"""Free residues that pass through a closed loop of a fold (NumPy, nm)."""

from __future__ import annotations

import numpy as np

from ..protein.fan_crossings import fan_crossings

CLOSED = 0.7  # nm between the first and the last CA of a closed loop
SHORTEST = 10  # residues of a closed loop; nothing passes through a smaller one


def threaded_loops(ca: np.ndarray, free: np.ndarray, bonded: np.ndarray) -> np.ndarray:
    """Number of closed loops that a stretch of free residues passes through, int [F].

    The surface of a loop is the fan of triangles between its CA and their mean. A stretch that
    crosses it as often in one direction as in the other does not pass through.

    Parameters
    ----------
    ca : ndarray [F, L, 3]
    free : ndarray, bool [L]
        Residues of tails and linkers.
    bonded : ndarray, bool [L]
        Residue i is bonded to residue i - 1.
    """
    steps = np.flatnonzero(bonded & (free | np.append(False, free[:-1])))  # from CA i - 1 to CA i
    stretch = np.cumsum(np.append(True, np.diff(steps) > 1)) - 1 if len(steps) else steps
    return np.array([_passed(x, steps, stretch, closed_loops(x, free, bonded)) for x in ca], int)


def closed_loops(ca: np.ndarray, free: np.ndarray, bonded: np.ndarray) -> list[tuple[int, int]]:
    """First and last residues of the closed loops of one frame, CA [L, 3].

    The two are within 0.7 nm, no residue between them is free, and no part of the loop is a closed
    loop itself.
    """
    loops, inner = [], len(ca)
    end = np.append(np.flatnonzero(~bonded | free), len(ca))  # a loop ends before one of these
    for first in range(len(ca) - SHORTEST, -1, -1):
        stop = min(end[np.searchsorted(end, first, side="right")], inner)
        if free[first] or stop < first + SHORTEST:
            continue
        distance = np.linalg.norm(ca[first + SHORTEST - 1 : stop] - ca[first], axis=-1)
        near = np.flatnonzero(distance < CLOSED)
        if len(near):
            inner = first + SHORTEST - 1 + near[0]
            loops.append((first, int(inner)))
    return loops


def _passed(ca: np.ndarray, steps: np.ndarray, stretch: np.ndarray, loops: list) -> int:
    """Loops of one frame that a stretch passes through."""
    passed = 0
    for first, last in loops:
        corner = ca[first : last + 1]
        centre = corner.mean(0)
        radius = np.linalg.norm(corner - centre, axis=-1).max()
        start, end = ca[steps - 1], ca[steps]
        near = np.minimum(*(np.linalg.norm(x - centre, axis=-1) for x in (start, end))) < radius
        near &= (steps - 1 < first) | (steps - 1 > last)  # the step leaves the loop itself
        near &= (steps < first) | (steps > last)
        which = np.flatnonzero(near)
        if len(which):
            many = np.broadcast_to(corner, (len(which), *corner.shape))
            middle = np.broadcast_to(centre, (len(which), 3))
            net = fan_crossings(start[which], end[which], many, middle).sum(1)
            passed += bool(np.bincount(stretch[which], net).any())
    return passed
