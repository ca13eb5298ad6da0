"""Geometry of backbones in NumPy: torsions, superposition, oxygens, lDDT, clashes.

Lengths in nm, angles in radians, any leading dimensions. Backbones are [..., L, 4, 3]: N, CA, C, O.
"""

from __future__ import annotations

import numpy as np

C_O_BOND = 0.1231
CA_C_O_ANGLE = np.radians(120.4)


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12)


def dihedral(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Torsion a-b-c-d of points [..., 3], in (-pi, pi], IUPAC sign."""
    axis = _unit(c - b)
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


def _fit_weights(a: np.ndarray, b: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """1 for points to fit, present in both sets and in `mask`; [..., P]."""
    fit = np.isfinite(a).all(-1) & np.isfinite(b).all(-1)
    return (fit if mask is None else fit & np.asarray(mask, bool)).astype(np.float64)


def superpose(
    mobile: np.ndarray, target: np.ndarray, mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best proper rotation and translation of `mobile` onto `target` (Kabsch, 1976).

    Parameters
    ----------
    mobile, target : ndarray [..., P, 3]
        Leading dimensions broadcast. Points that are not finite in either are not fitted.
    mask : ndarray, bool [..., P], optional
        Points to fit; all are moved.

    Returns
    -------
    moved : ndarray [..., P, 3]
    rotation : ndarray [..., 3, 3]
        moved = mobile @ rotation.T + translation. Its determinant is +1: never a mirror image.
    translation : ndarray [..., 3]
        All three are NaN for a set without a point to fit, so that one bad frame stays one.
    """
    mobile, target = np.asarray(mobile, np.float64), np.asarray(target, np.float64)
    weight = _fit_weights(mobile, target, mask)[..., None]
    a, b = (np.where(weight > 0, x, 0.0) for x in (mobile, target))
    count = weight.sum(-2, keepdims=True)
    with np.errstate(invalid="ignore"):
        centre_a, centre_b = (x.sum(-2, keepdims=True) / count for x in (a, b))
    covariance = np.swapaxes((a - centre_a) * weight, -1, -2) @ (b - centre_b)
    u, _, vt = np.linalg.svd(np.nan_to_num(covariance))
    sign = np.sign(np.linalg.det(u @ vt))
    vt = np.concatenate([vt[..., :2, :], vt[..., 2:, :] * sign[..., None, None]], -2)
    rotation = np.where(count > 0, np.swapaxes(u @ vt, -1, -2), np.nan)
    translation = (centre_b - centre_a @ np.swapaxes(rotation, -1, -2))[..., 0, :]
    moved = mobile @ np.swapaxes(rotation, -1, -2) + translation[..., None, :]
    return moved, rotation, translation


def rmsd(mobile: np.ndarray, target: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Root mean square distance (nm) of the points that `superpose` fits; NaN if there is none."""
    moved, _, _ = superpose(mobile, target, mask)
    target = np.asarray(target, np.float64)
    weight = _fit_weights(np.asarray(mobile, np.float64), target, mask)
    square = np.where(weight > 0, ((moved - target) ** 2).sum(-1), 0.0)
    with np.errstate(invalid="ignore"):
        return np.sqrt(square.sum(-1) / weight.sum(-1))


def cb_position(backbone: np.ndarray) -> np.ndarray:
    """CB [..., 3] of an L residue with N, CA, C [..., >=3, 3] and ideal tetrahedral geometry."""
    n, ca, c = backbone[..., 0, :], backbone[..., 1, :], backbone[..., 2, :]
    b, k = ca - n, c - ca
    # Coefficients of the usual idealised CB in units where |a| scales with length squared (Å).
    a = np.cross(b, k) * 10.0
    return ca - 0.58273431 * a + 0.56802827 * b - 0.54067466 * k


def chirality(n: np.ndarray, ca: np.ndarray, c: np.ndarray, cb: np.ndarray) -> np.ndarray:
    """Signed volume (N-CA) x (C-CA) . (CB-CA) [...] (nm^3): positive for L, negative for D."""
    return (np.cross(n - ca, c - ca) * (cb - ca)).sum(-1)


def place_oxygen(
    backbone: np.ndarray, chain_break: np.ndarray, end_psi: float = np.radians(140.0)
) -> np.ndarray:
    """O [..., L, 3] of residues from N, CA, C [..., L, >=3, 3].

    In the plane of CA, C and the next N; where no residue follows, from the torsion `end_psi`
    that the next N would have (O lies opposite to it).
    """
    n, ca, c = (np.asarray(backbone)[..., i, :] for i in range(3))
    axis = _unit(ca - c)
    following = np.roll(n, -1, axis=-2)
    in_plane = following - c
    in_plane = _unit(in_plane - (in_plane * axis).sum(-1, keepdims=True) * axis)
    # Direction, across CA-C, of an atom at torsion end_psi from N.
    across = n - ca
    across = _unit(across - (across * axis).sum(-1, keepdims=True) * axis)
    turned = np.cos(end_psi) * across + np.sin(end_psi) * np.cross(-axis, across)
    bonded = np.append(~np.asarray(chain_break, bool)[1:], False)
    bonded = bonded[:, None] & np.isfinite(following).all(-1, keepdims=True)
    side = np.where(bonded, in_plane, turned)
    return c + C_O_BOND * (np.cos(CA_C_O_ANGLE) * axis - np.sin(CA_C_O_ANGLE) * side)


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
    """Local distance difference test of CA atoms (Mariani et al., 2013), without stereochemistry.

    Parameters
    ----------
    predicted, true : ndarray [..., L, 3]
        Leading dimensions broadcast. A residue absent (NaN) in `true` has no pairs; one absent in
        `predicted` fails in all of them.
    cutoff : float
        Pairs closer than this in `true` count (nm).
    thresholds : tuple of float
        Tolerances (nm); the score is the mean share of pairs within each.
    mask : ndarray, bool [..., L], optional
        Residues that count; default all.

    Returns
    -------
    per_residue : ndarray [..., L]
        NaN for a residue with no pair.
    score : ndarray [...]
        Over all pairs.
    """
    predicted, true = np.broadcast_arrays(np.asarray(predicted), np.asarray(true))
    shape = true.shape[:-1]
    wanted = np.broadcast_to(True if mask is None else np.asarray(mask, bool), shape)
    kept, pairs = np.zeros((2, *shape))
    for frame in np.ndindex(shape[:-1]):  # one L x L array at a time: memory stays small
        with np.errstate(invalid="ignore"):
            d_true, d_pred = (_distances(x[frame]) for x in (true, predicted))
            near = (d_true < cutoff) & ~np.eye(len(d_true), dtype=bool)
            near &= wanted[frame][:, None] & wanted[frame][None]
            error = np.abs(d_true - d_pred)
            share = sum((error < t).astype(np.float64) for t in thresholds) / len(thresholds)
        kept[frame], pairs[frame] = (share * near).sum(-1), near.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return kept / pairs, kept.sum(-1) / pairs.sum(-1)


def ca_clashes(ca: np.ndarray, apart: int = 2, cutoff: float = 0.3) -> np.ndarray:
    """Number of CA pairs at least `apart` residues apart closer than `cutoff` nm; [...]."""
    ca = np.asarray(ca)
    far = np.triu(np.ones((ca.shape[-2],) * 2, bool), apart)
    out = np.zeros(ca.shape[:-2], np.int64)
    for frame in np.ndindex(out.shape):
        out[frame] = ((_distances(ca[frame]) < cutoff) & far).sum()
    return out


def closest_ca(ca: np.ndarray, apart: int = 2) -> np.ndarray:
    """Smallest distance (nm) of CA [..., L, 3] at least `apart` residues apart; inf if none."""
    ca = np.asarray(ca)
    far = np.triu(np.ones((ca.shape[-2],) * 2, bool), apart)
    out = np.full(ca.shape[:-2], np.inf)
    if far.any():
        for frame in np.ndindex(out.shape):
            out[frame] = _distances(ca[frame])[far].min()
    return out


def _distances(x: np.ndarray) -> np.ndarray:
    """Distances [L, L] between points [L, 3]."""
    return np.linalg.norm(x[:, None] - x[None], axis=-1)
