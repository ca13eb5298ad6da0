"""Elastic network models of a structure (NumPy only).

The anisotropic network model (ANM; Atilgan et al., Biophys. J. 2001) joins CA atoms closer than a
cutoff by springs of unit stiffness, relaxed in the given structure. `gaussian_network` (GNM) has
fluctuations without direction. `PackedNetwork` joins all CA atoms by springs whose stiffness falls
with distance.
"""

from __future__ import annotations

import numpy as np

from ..errors import StructureError

CUTOFF = 1.5  # nm, between CA atoms
GAUSSIAN_CUTOFF = 0.8  # nm; of 0.7, 0.73, 0.8 and 1.0 the best on B-factors of validation chains
_NEIGHBOUR = 0.38  # nm, CA to CA along a chain
_CHAIN = 10.0  # stiffness between chain neighbours; other pairs at that distance have 1
_FLOOR = 3e-4  # stiffness of a spring from every CA to its start, so that no mode is free
_TYPICAL = 4.8  # RMS thermal displacement of a typical protein (median of training pairs)
_SOFTEST = 3.0  # largest softness, for structures with loose parts
_FLAT = 1e-8  # modes below this share of the largest eigenvalue cost no energy


def network_hessian(ca: np.ndarray, cutoff: float = CUTOFF) -> np.ndarray:
    """Hessian [3 L, 3 L] of unit springs between CA [L, 3] closer than `cutoff` (nm)."""
    square = _square_distances(ca)
    return spring_hessian(ca, (square < cutoff**2).astype(float))


def spring_hessian(ca: np.ndarray, stiffness: np.ndarray) -> np.ndarray:
    """Hessian [3 L, 3 L] of springs relaxed in `ca` [L, 3], with `stiffness` [L, L].

    The off-diagonal block ij is -k d d^T / d^2 with d = x_j - x_i; rows sum to zero (Atilgan et
    al., Biophys. J. 2001, equations 3-6). The diagonal of `stiffness` is ignored.

    Raises
    ------
    StructureError
        Two atoms joined by a spring coincide; the message names their residues.
    """
    length = len(ca)
    apart, square = ca[None] - ca[:, None], _square_distances(ca)
    joined = (stiffness > 0) & ~np.eye(length, dtype=bool)
    if (square[joined] == 0).any():
        i, j = np.argwhere(joined & (square == 0))[0]
        raise StructureError(f"CA atoms of residues {i} and {j} coincide; correct the template")
    weight = np.where(joined, stiffness / np.where(joined, square, 1), 0)
    block = -weight[..., None, None] * apart[..., :, None] * apart[..., None, :]
    block[np.arange(length), np.arange(length)] = -block.sum(1)
    return block.transpose(0, 2, 1, 3).reshape(3 * length, 3 * length)


def packed_stiffness(ca: np.ndarray, index: np.ndarray | None = None) -> np.ndarray:
    """Stiffness [L, L] of springs between all pairs of CA [L, 3]; closely packed parts are stiff.

    The stiffness is 1 at the CA-CA distance of chain neighbours and falls with the sixth power of
    the distance (powers as in Hinsen, Proteins 1998, and Yang et al., PNAS 2009). Residues one,
    two and three apart in a chain have at least 10, 10 / 4 and 10 / 9 (the form of Orellana et
    al., JCTC 2010). On pairs of conformers of training chains, this network predicted better than
    a cutoff which residues move.

    Parameters
    ----------
    ca : ndarray [L, 3]
        nm.
    index : ndarray, int [L], optional
        Residue index: steps of 1 along a chain and of more than 3 between chains. Default: one
        chain without gaps.
    """
    index = np.arange(len(ca)) if index is None else np.asarray(index)
    square = _square_distances(ca) + np.eye(len(ca))
    stiffness = np.minimum(_NEIGHBOUR**6 / np.maximum(square, 1e-6) ** 3, 1)
    along = np.abs(index[:, None] - index[None])
    for step in (1, 2, 3):
        pairs = along == step
        stiffness[pairs] = np.maximum(stiffness[pairs], _CHAIN / step**2)
    return stiffness


def _square_distances(ca: np.ndarray) -> np.ndarray:
    return ((ca[None] - ca[:, None]) ** 2).sum(-1)


def network_modes(ca: np.ndarray, cutoff: float = CUTOFF) -> tuple[np.ndarray, np.ndarray]:
    """Internal normal modes of an anisotropic network, softest first.

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
        Unit vectors v_k as columns; rows are x, y, z of residue 1, then of residue 2, and so on.

    Raises
    ------
    StructureError
        More than six modes cost no energy: parts of the network are unconnected or hinge freely.
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


def gaussian_network(ca: np.ndarray, cutoff: float = GAUSSIAN_CUTOFF) -> np.ndarray:
    """Mean square fluctuations [L] of the Gaussian network model, in arbitrary units.

    The diagonal of the pseudo-inverse of the contact matrix (Haliloglu, Bahar and Erman, Phys. Rev.
    Lett. 1997) of CA [L, 3] closer than `cutoff` (nm).
    """
    near = _square_distances(np.asarray(ca, np.float64)) < cutoff**2
    contacts = -near.astype(float)
    np.fill_diagonal(contacts, 0)
    np.fill_diagonal(contacts, -contacts.sum(1))
    return np.diag(np.linalg.pinv(contacts, rcond=1e-9, hermitian=True)).copy()


def rigid_motions(ca: np.ndarray) -> np.ndarray:
    """Orthonormal basis [3 L, 6] of the translations and infinitesimal rotations of CA [L, 3]."""
    x = ca - ca.mean(0)
    axes = np.eye(3)
    shifts = [np.broadcast_to(axis, x.shape) for axis in axes]
    turns = [np.cross(axis, x) for axis in axes]
    return np.linalg.qr(np.stack([v.ravel() for v in (*shifts, *turns)], 1))[0]


class ElasticNetwork:
    """Thermal motion of an anisotropic network, sampled with a Cholesky factor of its Hessian.

    Stiff restraints suppress rigid-body motions; a weak one keeps free modes finite, so loose ends
    and unconnected parts are allowed. Amplitudes have no physical scale: pass `rms` to set it.

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
        """One random displacement [L, 3], scaled to an RMS of `rms` nm (None: not scaled)."""
        normal = rng.standard_normal(len(self._lower))
        move = np.linalg.solve(self._lower.T, normal).reshape(-1, 3)
        return move if rms is None else move * (rms / np.sqrt((move**2).sum(1).mean()))


class PackedNetwork:
    """Elastic network with the springs of `packed_stiffness`.

    Parameters
    ----------
    ca, index
        See `packed_stiffness`. Loose ends and unconnected parts are allowed.

    Attributes
    ----------
    covariance : ndarray [3 L, 3 L]
        Of thermal motion, without rigid-body motion, in units common to all proteins.
    softness : float
        Root mean square thermal displacement relative to that of a typical protein; at most 3.
    """

    def __init__(self, ca: np.ndarray, index: np.ndarray | None = None) -> None:
        ca = np.asarray(ca, np.float64)
        hessian = spring_hessian(ca, packed_stiffness(ca, index))
        rigid = rigid_motions(ca)
        hessian += 1e6 * rigid @ rigid.T + _FLOOR * np.eye(len(hessian))
        self.covariance = np.linalg.inv(hessian)
        self.softness = min(np.sqrt(self.mean_square().mean()) / _TYPICAL, _SOFTEST)

    def mean_square(self) -> np.ndarray:
        """Mean square thermal displacement [L], in units common to all proteins."""
        return np.diag(self.covariance).reshape(-1, 3).sum(1)


def displace(backbone: np.ndarray, move: np.ndarray, turn: bool = True) -> np.ndarray:
    """Residues [L, 4, 3] translated as rigid bodies by the displacement `move` [L, 3] of their CA.

    With `turn` each residue also rotates with the triad of CA atoms around it.
    """
    ca = backbone[:, 1].astype(np.float64)
    local = backbone - ca[:, None]
    if turn:
        rotation = _triads(ca + move) @ np.swapaxes(_triads(ca), -1, -2)
        local = local @ np.swapaxes(rotation, -1, -2)
    return (local + (ca + move)[:, None]).astype(np.float32)


def _triads(ca: np.ndarray) -> np.ndarray:
    """Orthonormal frames [L, 3, 3] of CA i - 1, i, i + 1; end residues copy their neighbour's."""
    first = ca[2:] - ca[:-2]
    second = 2 * ca[1:-1] - ca[2:] - ca[:-2]
    e1 = first / np.maximum(np.linalg.norm(first, axis=-1, keepdims=True), 1e-6)
    e2 = second - (e1 * second).sum(-1, keepdims=True) * e1
    e2 /= np.maximum(np.linalg.norm(e2, axis=-1, keepdims=True), 1e-6)
    frames = np.stack([e1, e2, np.cross(e1, e2)], -1)
    return np.concatenate([frames[:1], frames, frames[-1:]])
