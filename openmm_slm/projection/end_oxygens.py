"""Oxygens of chain ends, which turn about CA-C where they overlap (NumPy).

Elsewhere the next residue fixes the place of O. At a chain end, psi is free.
"""

from __future__ import annotations

import numpy as np

from ..validity.criteria import CLASH

_ROOM = 0.29  # nm from O to other residues: an ordinary contact
_ANGLES = np.radians(np.array([*range(15, 181, 15), *range(-15, -180, -15)], float))


def turn_end_oxygens(backbone: np.ndarray, chain_break: np.ndarray, movable: np.ndarray) -> None:
    """Turn the O of chain ends away from atoms of other residues, in place.

    An O that is closer than 0.25 nm to one turns by the smallest angle that gives it room, or to
    where it has most.

    Parameters
    ----------
    backbone : ndarray [F, L, 4, 3]
        N, CA, C, O; nm.
    chain_break : ndarray, bool [L]
        True where residue i is not bonded to residue i - 1.
    movable : ndarray, bool [L]
        Residues whose O may turn.
    """
    breaks = np.asarray(chain_break, bool)
    for row in np.flatnonzero(np.append(breaks[1:], True) & movable):
        others = np.arange(len(breaks)) != row
        atoms = backbone[:, others].reshape(len(backbone), -1, 3)
        _, ca, c, o = np.moveaxis(backbone[:, row], 1, 0)
        with np.errstate(invalid="ignore"):
            near = np.linalg.norm(atoms - o[:, None], axis=-1).min(1, initial=np.inf) < CLASH
        for frame in np.flatnonzero(near):
            places = _turned(o[frame] - c[frame], c[frame] - ca[frame]) + c[frame]
            room = np.linalg.norm(atoms[frame] - places[:, None], axis=-1).min(1)
            order = np.argsort(np.abs(_ANGLES), kind="stable")
            free = order[room[order] >= _ROOM]
            backbone[frame, row, 3] = places[free[0] if len(free) else room.argmax()]


def _turned(vector: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """A vector [3] turned about an axis by each of the angles [A, 3] (Rodrigues)."""
    axis = axis / np.linalg.norm(axis)
    along = axis * (vector @ axis)
    sine, cosine = np.sin(_ANGLES)[:, None], np.cos(_ANGLES)[:, None]
    return along + cosine * (vector - along) + sine * np.cross(axis, vector)
