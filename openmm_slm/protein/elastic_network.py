"""Harmonic motions of a structure, NumPy only.

The anisotropic network model (ANM) has springs of unit stiffness between CA atoms closer than a
cutoff, at rest in the structure (Atilgan et al., Biophys. J. 2001); `PackedNetwork`, with which
templates are moved, springs whose stiffness falls with the distance.
"""

from __future__ import annotations

import numpy as np

from ..errors import StructureError

CUTOFF = 1.5  # nm, between CA atoms
_NEIGHBOUR = 0.38  # nm, CA to CA along a chain
_CHAIN = 10.0  # stiffness between neighbours in a chain; 1: any others that are as close
_FLOOR = 3e-4  # stiffness that holds every CA where it is, so that nothing is free
_TYPICAL = 4.8  # thermal motion of a typical protein in this network (median of training pairs)
_SOFTEST = 3.0  # times as far as a typical protein moves, at most: loose parts would fly off
_FLAT = 1e-8  # of the largest eigenvalue: below, a mode costs nothing


def network_hessian(ca: np.ndarray, cutoff: float = CUTOFF) -> np.ndarray:
    """Second derivatives [3 L, 3 L] of unit springs between CA [L, 3] closer than `cutoff` (nm)."""
    square = _square_distances(ca)
    return spring_hessian(ca, (square < cutoff**2).astype(float))


def spring_hessian(ca: np.ndarray, stiffness: np.ndarray) -> np.ndarray:
    """Second derivatives [3 L, 3 L] of springs at rest in `ca` [L, 3].

    With the stiffness [L, L] (the diagonal is not read), block ij off the diagonal is -k d d^T /
    d^2 with d = x_j - x_i, and rows sum to zero (Atilgan et al., Biophys. J. 2001, equations 3-6).

    Raises
    ------
    StructureError
        Two joined atoms in one place; it names them.
    """
    length = len(ca)
    apart, square = ca[None] - ca[:, None], _square_distances(ca)
    joined = (stiffness > 0) & ~np.eye(length, dtype=bool)
    if (square[joined] == 0).any():
        i, j = np.argwhere(joined & (square == 0))[0]
        raise StructureError(
            f"CA atoms of residues {i} and {j} are in one place; mend the template"
        )
    weight = np.where(joined, stiffness / np.where(joined, square, 1), 0)
    block = -weight[..., None, None] * apart[..., :, None] * apart[..., None, :]
    block[np.arange(length), np.arange(length)] = -block.sum(1)
    return block.transpose(0, 2, 1, 3).reshape(3 * length, 3 * length)


def packed_stiffness(ca: np.ndarray, index: np.ndarray | None = None) -> np.ndarray:
    """Stiffness [L, L] of springs between all pairs of CA [L, 3]: close packing is stiff.

    It falls with the sixth power of the distance from 1 at that of neighbours in a chain (Hinsen,
    Proteins 1998; Yang et al., PNAS 2009, have such powers); residues one, two and three apart in a
    chain are held by 10, 10 / 4 and 10 / 9 (the form of Orellana et al., JCTC 2010). On pairs of
    conformers of training chains it says better than a cutoff which residues differ.

    Parameters
    ----------
    ca : ndarray [L, 3]
        nm.
    index : ndarray, int [L], optional
        Residue index, rising by 1 along a chain and by more than 3 between chains; default: one
        chain without gaps.
    """
    index = np.arange(len(ca)) if index is None else np.asarray(index)
    square = _square_distances(ca) + np.eye(len(ca))
    stiffness = np.minimum(_NEIGHBOUR**6 / np.maximum(square, 1e-6) ** 3, 1)
    along = np.abs(index[:, None] - index[None])
    for step in (1, 2, 3):
        held = along == step
        stiffness[held] = np.maximum(stiffness[held], _CHAIN / step**2)
    return stiffness


def _square_distances(ca: np.ndarray) -> np.ndarray:
    return ((ca[None] - ca[:, None]) ** 2).sum(-1)


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

    def displacement(self, rng: np.random.Generator, rms: float | None = None) -> np.ndarray:
        """One draw [L, 3], scaled to `rms` nm over all residues (None: as the network has it)."""
        normal = rng.standard_normal(len(self._lower))
        move = np.linalg.solve(self._lower.T, normal).reshape(-1, 3)
        return move if rms is None else move * (rms / np.sqrt((move**2).sum(1).mean()))


class PackedNetwork:
    """Motions of a template: how springs of `packed_stiffness` give way to random forces.

    A force f on the CA atoms displaces them by C f, C the covariance of thermal motion. Along a
    mode of stiffness k this goes as 1 / k where thermal motion goes as 1 / sqrt(k): few frames show
    where a structure is soft. The size is that of thermal motion at one temperature for all
    proteins, so that soft ones move more.

    Parameters
    ----------
    ca, index
        See `packed_stiffness`. Loose ends and parts that do not touch are no error.
    """

    def __init__(self, ca: np.ndarray, index: np.ndarray | None = None) -> None:
        ca = np.asarray(ca, np.float64)
        hessian = spring_hessian(ca, packed_stiffness(ca, index))
        rigid = rigid_motions(ca)
        hessian += 1e6 * rigid @ rigid.T + _FLOOR * np.eye(len(hessian))
        self._covariance = np.linalg.inv(hessian)
        thermal = np.sqrt(self.mean_square().mean())
        response = np.sqrt((self._covariance**2).sum() / len(ca))
        self._scale = min(thermal / _TYPICAL, _SOFTEST) / response

    def displacement(self, rng: np.random.Generator, amplitude: float) -> np.ndarray:
        """One draw [L, 3]; `amplitude` (nm): root mean square over draws for a typical protein."""
        force = rng.standard_normal(len(self._covariance))
        return (amplitude * self._scale * (self._covariance @ force)).reshape(-1, 3)

    def mean_square(self) -> np.ndarray:
        """Mean square thermal displacement of each residue, up to one factor for all proteins."""
        return np.diag(self._covariance).reshape(-1, 3).sum(1)


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
