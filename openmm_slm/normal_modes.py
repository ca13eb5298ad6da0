"""Harmonic motions of a structure: the anisotropic network model (ANM), NumPy only.

Springs of unit stiffness join CA atoms closer than a cutoff, at rest in the structure (Atilgan et
al., Biophys. J. 2001).
"""

from __future__ import annotations

import numpy as np

from .errors import StructureError

CUTOFF = 1.5  # nm, between CA atoms
_FLAT = 1e-8  # of the largest eigenvalue: below, a mode costs nothing


def network_hessian(ca: np.ndarray, cutoff: float = CUTOFF) -> np.ndarray:
    """Second derivatives [3 L, 3 L] of the springs between CA [L, 3] closer than `cutoff` (nm).

    Springs of unit stiffness at rest in `ca`: off the diagonal, block ij is -d d^T / d^2 with
    d = x_j - x_i, and rows sum to zero (Atilgan et al., Biophys. J. 2001, equations 3-6).
    """
    length = len(ca)
    apart = ca[None] - ca[:, None]
    square = (apart**2).sum(-1)
    joined = (square < cutoff**2) & ~np.eye(length, dtype=bool)
    if (square[joined] == 0).any():
        i, j = np.argwhere(joined & (square == 0))[0]
        raise StructureError(
            f"CA atoms of residues {i} and {j} are in one place; mend the template"
        )
    weight = np.where(joined, 1 / np.where(joined, square, 1), 0)
    block = -weight[..., None, None] * apart[..., :, None] * apart[..., None, :]
    block[np.arange(length), np.arange(length)] = -block.sum(1)
    return block.transpose(0, 2, 1, 3).reshape(3 * length, 3 * length)


def network_modes(ca: np.ndarray, cutoff: float = CUTOFF) -> tuple[np.ndarray, np.ndarray]:
    """Internal modes of an anisotropic network, softest first.

    Parameters
    ----------
    ca : ndarray [L, 3]
        CA positions, nm.
    cutoff : float
        nm.

    Returns
    -------
    stiffness : ndarray [3 L - 6]
        Eigenvalues of `network_hessian`; the covariance is sum_k v_k v_k^T / stiffness_k.
    modes : ndarray [3 L, 3 L - 6]
        Unit vectors v_k in columns; coordinates in the order x, y, z of residue after residue.

    Raises
    ------
    StructureError
        More than six modes cost nothing: the network falls apart or hinges freely.
    """
    if not cutoff > 0:
        raise StructureError(f"cutoff is {cutoff!r} nm; it must be positive (usually {CUTOFF})")
    values, vectors = np.linalg.eigh(network_hessian(np.asarray(ca, np.float64), cutoff))
    free = int((values < _FLAT * values[-1]).sum()) if values[-1] > 0 else len(values)
    if free > 6:
        raise StructureError(
            f"{free - 6} internal modes of the network of {len(ca)} CA atoms cost no energy at a "
            f"cutoff of {cutoff:g} nm; raise the cutoff, or leave out loose parts of the template"
        )
    return values[6:], vectors[:, 6:]


def rigid_motions(ca: np.ndarray) -> np.ndarray:
    """Orthonormal basis [3 L, 6] of the translations and infinitesimal rotations of CA [L, 3]."""
    x = ca - ca.mean(0)
    axes = np.eye(3)
    shifts = [np.broadcast_to(axis, x.shape) for axis in axes]
    turns = [np.cross(axis, x) for axis in axes]
    return np.linalg.qr(np.stack([v.ravel() for v in (*shifts, *turns)], 1))[0]


def soft_displacement(
    ca: np.ndarray, rng: np.random.Generator, cutoff: float = CUTOFF
) -> np.ndarray:
    """One draw [L, 3] of the network's thermal motion, of any amplitude: scale it.

    A Cholesky factor instead of eigenvectors: a hundred residues take milliseconds, for training.
    Rigid motions are made stiff, and motions that cost nothing nearly so soft as the softest.
    """
    hessian = network_hessian(ca, cutoff)
    stiffest = np.trace(hessian) / len(hessian)
    rigid = rigid_motions(ca)
    hessian += stiffest * (1e6 * rigid @ rigid.T + 1e-4 * np.eye(len(hessian)))
    lower = np.linalg.cholesky(hessian)
    return np.linalg.solve(lower.T, rng.standard_normal(len(hessian))).reshape(-1, 3)
