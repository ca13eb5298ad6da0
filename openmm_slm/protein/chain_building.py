"""Backbones from torsions: residues are rigid, and torsions link each to the next (NumPy, nm).

The frame of a residue has its origin at CA, e1 towards C, and N in the half plane of e2. Bond
lengths and angles are ideal (Engh and Huber, 2001).
"""

from __future__ import annotations

import math

import numpy as np

from .geometry import C_N, CA_C, N_CA, N_CA_C_ANGLE, place_oxygen, unit_vector

_CA_C_N_ANGLE, _C_N_CA_ANGLE = math.radians(116.9), math.radians(121.7)
#: N, CA and C of a residue in its own frame.
IDEAL = np.array(
    [
        [N_CA * math.cos(N_CA_C_ANGLE), N_CA * math.sin(N_CA_C_ANGLE), 0.0],
        [0.0, 0.0, 0.0],
        [CA_C, 0.0, 0.0],
    ]
)


def residue_axes(backbone: np.ndarray) -> np.ndarray:
    """Axes as columns [..., 3, 3] of residues with N, CA, C [..., 3 or more, 3]."""
    n, ca, c = (backbone[..., atom, :] for atom in range(3))
    return axes(c - ca, n - ca)


def axes(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Gram-Schmidt: axes as columns [..., 3, 3], e1 along the first vector, e2 near the second."""
    e1 = unit_vector(first)
    e2 = unit_vector(second - (second * e1).sum(-1, keepdims=True) * e1)
    return np.stack([e1, e2, np.cross(e1, e2)], -1)


def links(psi: np.ndarray, omega: np.ndarray, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frame of the next residue in that of a residue.

    Parameters
    ----------
    psi : ndarray [...]
        Of the residue; radians.
    omega, phi : ndarray [...]
        Of the next residue; omega is the torsion of the peptide bond between the two.

    Returns
    -------
    rotation : ndarray [..., 3, 3]
    shift : ndarray [..., 3]
    """
    n, ca, c = (np.broadcast_to(atom, (*np.shape(psi), 3)) for atom in IDEAL)
    next_n = _placed(n, ca, c, C_N, _CA_C_N_ANGLE, psi)
    next_ca = _placed(ca, c, next_n, N_CA, _C_N_CA_ANGLE, omega)
    next_c = _placed(c, next_n, next_ca, CA_C, N_CA_C_ANGLE, phi)
    return residue_axes(np.stack([next_n, next_ca, next_c], -2)), next_ca


def chain_frames(
    phi: np.ndarray, psi: np.ndarray, omega: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Frames of one chain from its torsions [..., L]: rotation [..., L, 3, 3], origin [..., L, 3].

    The first residue is at the origin. Its phi and omega, and the last psi, are not used.
    """
    turn, shift = links(psi[..., :-1], omega[..., 1:], phi[..., 1:])
    rotation = np.empty((*phi.shape, 3, 3))
    origin = np.zeros((*phi.shape, 3))
    rotation[..., 0, :, :] = np.eye(3)
    for i in range(phi.shape[-1] - 1):
        rotation[..., i + 1, :, :] = rotation[..., i, :, :] @ turn[..., i, :, :]
        step = (rotation[..., i, :, :] @ shift[..., i, :, None])[..., 0]
        origin[..., i + 1, :] = origin[..., i, :] + step
    return rotation, origin


def backbone_of(rotation: np.ndarray, origin: np.ndarray, chain_break: np.ndarray) -> np.ndarray:
    """N, CA, C and O [..., L, 4, 3] of frames; `chain_break` bool [L]."""
    atoms = origin[..., None, :] + IDEAL @ np.swapaxes(rotation, -1, -2)
    oxygen = place_oxygen(atoms, chain_break)
    return np.concatenate([atoms, oxygen[..., None, :]], -2)


def _placed(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, length: float, angle: float, torsion: np.ndarray
) -> np.ndarray:
    """Atom bonded to c at a bond length, an angle b-c-atom and a torsion a-b-c-atom."""
    axis = unit_vector(c - b)
    normal = unit_vector(np.cross(b - a, axis))
    across = np.cross(normal, axis)
    torsion = np.asarray(torsion)[..., None]
    sideways = np.cos(torsion) * across + np.sin(torsion) * normal
    return c + length * (math.sin(angle) * sideways - math.cos(angle) * axis)
