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


class ElasticNetwork:
    """Thermal motion of a network, drawn with a Cholesky factor: no eigenvectors are needed.

    Rigid motions are made stiff, and motions that cost nothing nearly so soft as the softest, so
    that loose ends and parts that do not touch are no error. Amplitudes mean nothing: scale them.

    Parameters
    ----------
    ca : ndarray [L, 3]
        nm.
    cutoff : float
        Springs join CA atoms closer than this (nm).
    """

    def __init__(self, ca: np.ndarray, cutoff: float = CUTOFF) -> None:
        ca = np.asarray(ca, np.float64)
        hessian = network_hessian(ca, cutoff)
        stiffest = np.trace(hessian) / len(hessian)
        rigid = rigid_motions(ca)
        hessian += stiffest * (1e6 * rigid @ rigid.T + 1e-4 * np.eye(len(hessian)))
        self._lower = np.linalg.cholesky(hessian)
        self._root: np.ndarray | None = None  # of the covariance; made when it pays

    def displacement(self, rng: np.random.Generator, rms: float | None = None) -> np.ndarray:
        """One draw [L, 3], scaled to `rms` nm over all residues (None: as the network has it)."""
        normal = rng.standard_normal(len(self._lower))
        if self._root is None:
            move = np.linalg.solve(self._lower.T, normal).reshape(-1, 3)
        else:
            move = (self._root @ normal).reshape(-1, 3)
        return move if rms is None else move * (rms / np.sqrt((move**2).sum(1).mean()))

    def mean_square(self) -> np.ndarray:
        """Mean square displacement of each residue, up to a common factor: [L].

        Later draws cost a product with a matrix that is kept, not a solution.
        """
        if self._root is None:
            self._root = np.linalg.inv(self._lower).T
        return (self._root**2).sum(1).reshape(-1, 3).sum(1)


def displace(backbone: np.ndarray, move: np.ndarray, turn: bool = True) -> np.ndarray:
    """Residues [L, 4, 3] moved as rigid bodies with their CA, by `move` [L, 3].

    With `turn` they also follow the turning of the CA beside them.
    """
    ca = backbone[:, 1].astype(np.float64)
    local = backbone - ca[:, None]
    if turn:
        rotation = _triads(ca + move) @ np.swapaxes(_triads(ca), -1, -2)
        local = local @ np.swapaxes(rotation, -1, -2)
    return (local + (ca + move)[:, None]).astype(np.float32)


def _triads(ca: np.ndarray) -> np.ndarray:
    """Frames [L, 3, 3] of three CA in a row; ends have those beside them."""
    first = ca[2:] - ca[:-2]
    second = 2 * ca[1:-1] - ca[2:] - ca[:-2]
    e1 = first / np.maximum(np.linalg.norm(first, axis=-1, keepdims=True), 1e-6)
    e2 = second - (e1 * second).sum(-1, keepdims=True) * e1
    e2 /= np.maximum(np.linalg.norm(e2, axis=-1, keepdims=True), 1e-6)
    frames = np.stack([e1, e2, np.cross(e1, e2)], -1)
    return np.concatenate([frames[:1], frames, frames[-1:]])
