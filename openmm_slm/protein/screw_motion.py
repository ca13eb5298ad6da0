"""Large displacements of a backbone along soft modes: parts turn instead of swelling (NumPy).

A linear displacement along a mode that turns a part stretches it. Here every residue moves by a
screw motion: its own displacement, and the rotation that best explains the displacements around it
(the idea of NOLB: Hoffmann and Grudinin, JCTC 2017). A part that turns as a rigid body does so
exactly, at any angle.
"""

from __future__ import annotations

import numpy as np

_REACH = 0.8  # nm: residues at this distance count 1 / e for a rotation
_LARGEST = np.pi / 2  # of the rotation of one residue, where displacements scatter


def screw_displaced(backbone: np.ndarray, move: np.ndarray) -> np.ndarray:
    """Backbone moved by screw motions.

    Parameters
    ----------
    backbone : ndarray [L, 4, 3]
        N, CA, C, O; nm.
    move : ndarray [L, 3]
        Displacement of each CA along the initial direction, nm.

    Returns
    -------
    ndarray, float32 [L, 4, 3]
        Residues keep their internal geometry.
    """
    ca, move = backbone[:, 1].astype(np.float64), np.asarray(move, np.float64)
    turn = local_rotations(ca, move)
    rotation, shift = screw(turn, move)
    local = backbone - ca[:, None]
    return ((local @ np.swapaxes(rotation, -1, -2)) + (ca + shift)[:, None]).astype(np.float32)


def local_rotations(ca: np.ndarray, move: np.ndarray) -> np.ndarray:
    """Rotation vectors [L, 3] (radians) that best explain the displacements around each CA.

    The least-squares solution w_i of (m_j - m_i) = w_i x (r_j - r_i) over residues j, weighted by
    exp(-(distance / 0.8 nm)^2), for CA r [L, 3] and displacements m [L, 3].
    """
    apart = ca[None] - ca[:, None]
    difference = move[None] - move[:, None]
    square = (apart**2).sum(-1)
    weight = np.exp(-square / _REACH**2)
    np.fill_diagonal(weight, 0)
    inertia = (weight * square).sum(1)[:, None, None] * np.eye(3)
    inertia -= np.einsum("ij,ija,ijb->iab", weight, apart, apart)
    torque = np.einsum("ij,ija->ia", weight, np.cross(apart, difference))
    scale = np.trace(inertia, axis1=1, axis2=2)[:, None, None]
    inertia += 1e-3 * np.maximum(scale, 1e-9) * np.eye(3)  # few residues may lie on a line
    turn = np.linalg.solve(inertia, torque[..., None])[..., 0]
    angle = np.linalg.norm(turn, axis=-1, keepdims=True)
    return turn * np.minimum(1, _LARGEST / np.maximum(angle, 1e-12))


def screw(turn: np.ndarray, move: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation [L, 3, 3] and translation [L, 3] of screws with rotation vectors and velocities.

    The exponential of the twist (turn, move): a point that moves with this velocity while it turns
    follows a helix.
    """
    angle = np.linalg.norm(turn, axis=-1)[..., None, None]
    cross = np.zeros((*turn.shape, 3))
    cross[..., [2, 0, 1], [1, 2, 0]] = turn
    cross[..., [1, 2, 0], [2, 0, 1]] = -turn
    small = angle < 1e-4
    safe = np.where(small, 1, angle)
    sine = np.where(small, 1 - angle**2 / 6, np.sin(safe) / safe)
    cosine = np.where(small, 0.5 - angle**2 / 24, (1 - np.cos(safe)) / safe**2)
    third = np.where(small, 1 / 6, (safe - np.sin(safe)) / safe**3)
    square = cross @ cross
    rotation = np.eye(3) + sine * cross + cosine * square
    along = np.eye(3) + cosine * cross + third * square
    return rotation, (along @ move[..., None])[..., 0]
