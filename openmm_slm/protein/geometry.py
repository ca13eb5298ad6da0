"""Geometry of backbones in NumPy: torsions, CB and O positions, peptide bonds, lDDT.

Lengths are in nm, angles in radians. Backbones are [..., L, 4, 3] with atoms N, CA, C, O and any
leading dimensions.
"""

from __future__ import annotations

import math

import numpy as np

#: Ideal bond lengths (nm) and angles of the backbone (Engh and Huber, 2001).
N_CA, CA_C, C_O = 0.1459, 0.1525, 0.1231
C_N = 0.133
N_CA_C_ANGLE, CA_C_O_ANGLE = math.radians(111.0), math.radians(120.4)


def unit_vector(v: np.ndarray) -> np.ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12)


def dihedral(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Torsion angle a-b-c-d of points [..., 3], in (-pi, pi], IUPAC sign."""
    axis = unit_vector(c - b)
    left, right = a - b, d - c
    left = left - (left * axis).sum(-1, keepdims=True) * axis
    right = right - (right * axis).sum(-1, keepdims=True) * axis
    return np.arctan2((np.cross(axis, left) * right).sum(-1), (left * right).sum(-1))


def backbone_torsions(
    backbone: np.ndarray, chain_break: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """phi, psi, omega of each residue, NaN where undefined.

    Parameters
    ----------
    backbone : ndarray [..., L, 4, 3]
    chain_break : ndarray, bool [L], optional
        True where residue i is not bonded to residue i - 1.

    Returns
    -------
    phi, psi, omega : ndarray [..., L]
        omega[i] is the torsion of the peptide bond *before* residue i:
        CA(i-1), C(i-1), N(i), CA(i).
    """
    x = np.asarray(backbone)
    length = x.shape[-3]
    n, ca, c = x[..., 0, :], x[..., 1, :], x[..., 2, :]
    bonded = np.ones(max(0, length - 1), bool)
    if chain_break is not None:
        bonded = ~np.asarray(chain_break, bool)[1:]
    phi, psi, omega = (np.full(x.shape[:-2], np.nan) for _ in range(3))
    before, after = (..., slice(None, -1), slice(None)), (..., slice(1, None), slice(None))
    nan = np.nan
    phi[..., 1:] = np.where(bonded, dihedral(c[before], n[after], ca[after], c[after]), nan)
    psi[..., :-1] = np.where(bonded, dihedral(n[before], ca[before], c[before], n[after]), nan)
    omega[..., 1:] = np.where(bonded, dihedral(ca[before], c[before], n[after], ca[after]), nan)
    return phi, psi, omega


def cb_position(backbone: np.ndarray) -> np.ndarray:
    """Ideal CB [..., 3] of an L residue from N, CA, C [..., >=3, 3]."""
    n, ca, c = backbone[..., 0, :], backbone[..., 1, :], backbone[..., 2, :]
    b, k = ca - n, c - ca
    # The usual coefficients are for Å; the cross product scales with length squared, hence the 10.
    a = np.cross(b, k) * 10.0
    return ca - 0.58273431 * a + 0.56802827 * b - 0.54067466 * k


def chirality(n: np.ndarray, ca: np.ndarray, c: np.ndarray, cb: np.ndarray) -> np.ndarray:
    """Signed volume (N-CA) x (C-CA) . (CB-CA) [...] in nm^3: positive for L, negative for D."""
    return (np.cross(n - ca, c - ca) * (cb - ca)).sum(-1)


def place_oxygen(
    backbone: np.ndarray, chain_break: np.ndarray, end_psi: float = np.radians(140.0)
) -> np.ndarray:
    """Ideal O [..., L, 3] of residues from N, CA, C [..., L, >=3, 3].

    O lies in the plane of CA, C and the next N. At a chain end, psi is taken to be `end_psi`.
    """
    n, ca, c = (np.asarray(backbone)[..., i, :] for i in range(3))
    axis = unit_vector(ca - c)
    following = np.roll(n, -1, axis=-2)
    in_plane = following - c
    in_plane = unit_vector(in_plane - (in_plane * axis).sum(-1, keepdims=True) * axis)
    # Component perpendicular to CA-C of a next N at psi = end_psi.
    across = n - ca
    across = unit_vector(across - (across * axis).sum(-1, keepdims=True) * axis)
    turned = np.cos(end_psi) * across + np.sin(end_psi) * np.cross(-axis, across)
    bonded = np.append(~np.asarray(chain_break, bool)[1:], False)
    bonded = bonded[:, None] & np.isfinite(following).all(-1, keepdims=True)
    side = np.where(bonded, in_plane, turned)
    return c + C_O * (np.cos(CA_C_O_ANGLE) * axis - np.sin(CA_C_O_ANGLE) * side)


def peptide_bond_lengths(backbone: np.ndarray, chain_break: np.ndarray) -> np.ndarray:
    """C(i-1)-N(i) distances [..., L] (nm), NaN where residue i is not bonded to i - 1."""
    x = np.asarray(backbone)
    out = np.full(x.shape[:-2], np.nan)
    length = np.linalg.norm(x[..., 1:, 0, :] - x[..., :-1, 2, :], axis=-1)
    out[..., 1:] = np.where(np.asarray(chain_break, bool)[1:], np.nan, length)
    return out


def lddt_ca(
    predicted: np.ndarray,
    true: np.ndarray,
    cutoff: float = 1.5,
    thresholds: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4),
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Local distance difference test of CA atoms (Mariani et al., 2013), no stereochemistry check.

    Parameters
    ----------
    predicted, true : ndarray [..., L, 3]
        nm; leading dimensions broadcast. A residue absent (NaN) in `true` has no pairs; pairs of
        a residue absent in `predicted` count as failed.
    cutoff : float
        Pairs closer than this in `true` count (nm).
    thresholds : tuple of float
        Tolerances (nm); the score is the share of pairs within each, averaged over them.
    mask : ndarray, bool [..., L], optional
        Residues to use; default all.

    Returns
    -------
    per_residue : ndarray [..., L]
        NaN for a residue without pairs.
    score : ndarray [...]
        Over all pairs.
    """
    predicted, true = np.broadcast_arrays(np.asarray(predicted), np.asarray(true))
    shape = true.shape[:-1]
    wanted = np.broadcast_to(True if mask is None else np.asarray(mask, bool), shape)
    kept, pairs = np.zeros((2, *shape))
    for frame in np.ndindex(shape[:-1]):  # one frame's L x L arrays at a time, to save memory
        with np.errstate(invalid="ignore"):
            d_true, d_pred = (distance_matrix(x[frame]) for x in (true, predicted))
            near = (d_true < cutoff) & ~np.eye(len(d_true), dtype=bool)
            near &= wanted[frame][:, None] & wanted[frame][None]
            error = np.abs(d_true - d_pred)
            share = sum((error < t).astype(np.float64) for t in thresholds) / len(thresholds)
        kept[frame], pairs[frame] = (share * near).sum(-1), near.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return kept / pairs, kept.sum(-1) / pairs.sum(-1)


def distance_matrix(x: np.ndarray) -> np.ndarray:
    """Distances [L, L] between points [L, 3]."""
    return np.linalg.norm(x[:, None] - x[None], axis=-1)
