"""Oxygens of chain ends, which turn about CA-C where they overlap (NumPy).

Elsewhere the next residue fixes the place of O. At a chain end, psi is free. The second oxygen,
OXT, lies opposite O; it follows from the other atoms, and has to have room too.
"""

from __future__ import annotations

import numpy as np

from ..validity.criteria import CLASH

_ROOM = 0.29  # nm from both oxygens to other atoms: an ordinary contact
_ANGLES = np.radians(np.arange(-180.0, 180, 15))
_NEAREST = np.argsort(np.abs(_ANGLES), kind="stable")
C_OXT, CA_C_OXT = 0.125, np.radians(117.0)  # length (nm) and angle of OXT
_OWN = 5  # N, CA, C, O and CB of the residue itself: never too near


def turn_end_oxygens(atoms: np.ndarray, chain_break: np.ndarray, movable: np.ndarray) -> None:
    """Turn the O of chain ends away from other atoms, in place.

    Where O or OXT is about to clash, O turns by the smallest angle that gives both room, or to
    where they have most. Where OXT clashes at any angle, O alone counts.

    Parameters
    ----------
    atoms : ndarray [F, L, 4 or 14, 3]
        N, CA, C, O and side chains; nm, NaN where absent.
    chain_break : ndarray, bool [L]
        True where residue i is not bonded to residue i - 1.
    movable : ndarray, bool [L]
        Residues whose O may turn.
    """
    breaks = np.asarray(chain_break, bool)
    for row in np.flatnonzero(np.append(breaks[1:], True) & movable):
        others = np.ones(atoms.shape[1:3], bool)
        others[row, :_OWN] = False
        around = atoms[:, others]
        _, ca, c, o = np.moveaxis(atoms[:, row, :4], 1, 0)
        both = np.stack([o, second_oxygen(ca, c, o)], 1)
        for frame in np.flatnonzero(_room(around, both).min(1) < CLASH):
            places = _turned(o[frame] - c[frame], c[frame] - ca[frame]) + c[frame]
            second = _room(around[frame], second_oxygen(ca[frame], c[frame], places))
            room = _room(around[frame], places)
            with_second = np.minimum(room, second)
            room = with_second if with_second.max() >= CLASH else room
            free = _NEAREST[room[_NEAREST] >= _ROOM]
            atoms[frame, row, 3] = places[free[0] if len(free) else room.argmax()]


def second_oxygen(ca: np.ndarray, c: np.ndarray, o: np.ndarray) -> np.ndarray:
    """OXT [..., 3] of a carboxylate, opposite O."""
    with np.errstate(invalid="ignore", divide="ignore"):
        axis = (c - ca) / np.linalg.norm(c - ca, axis=-1, keepdims=True)
        off = (o - c) - axis * ((o - c) * axis).sum(-1, keepdims=True)
        off = off / np.linalg.norm(off, axis=-1, keepdims=True)
        return c - C_OXT * (np.cos(CA_C_OXT) * axis + np.sin(CA_C_OXT) * off)


def _room(atoms: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Distance [..., A] of each place [..., A, 3] to the nearest of the atoms [..., N, 3]."""
    with np.errstate(invalid="ignore"):
        square = ((atoms[..., None, :, :] - places[..., None, :]) ** 2).sum(-1)
    return np.sqrt(np.fmin.reduce(square, -1, initial=np.inf))


def _turned(vector: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """A vector [3] turned about an axis by each of the angles [A, 3] (Rodrigues)."""
    axis = axis / np.linalg.norm(axis)
    along = axis * (vector @ axis)
    sine, cosine = np.sin(_ANGLES)[:, None], np.cos(_ANGLES)[:, None]
    return along + cosine * (vector - along) + sine * np.cross(axis, vector)
