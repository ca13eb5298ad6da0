"""Structures made by code: fixtures need no files."""

from __future__ import annotations

import numpy as np

from openmm_slm.protein.geometry import place_oxygen

BOND = {"CN": 0.1329, "NCA": 0.1459, "CAC": 0.1525}
ANGLE = {"CACN": np.radians(116.6), "CNCA": np.radians(121.7), "NCAC": np.radians(111.0)}


def place(a, b, c, bond, angle, torsion):
    """Point at `bond` from c, `angle` with b-c, `torsion` about it from a (NeRF)."""
    bc = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, bc)
    normal /= np.linalg.norm(normal)
    side = np.cross(normal, bc)
    return c + bond * (
        -np.cos(angle) * bc
        + np.sin(angle) * np.cos(torsion) * side
        + np.sin(angle) * np.sin(torsion) * normal
    )


def ideal_backbone(phi, psi, omega) -> np.ndarray:
    """float32 [L, 4, 3] (nm) from torsions [L]; omega[i] is the bond before residue i."""
    length = len(phi)
    x = np.zeros((length, 4, 3))
    x[0, 1] = [BOND["NCA"], 0, 0]
    tilt = np.pi - ANGLE["NCAC"]
    x[0, 2] = x[0, 1] + BOND["CAC"] * np.array([np.cos(tilt), np.sin(tilt), 0])
    for i in range(1, length):
        n, ca, c = x[i - 1, :3]
        x[i, 0] = place(n, ca, c, BOND["CN"], ANGLE["CACN"], psi[i - 1])
        x[i, 1] = place(ca, c, x[i, 0], BOND["NCA"], ANGLE["CNCA"], omega[i])
        x[i, 2] = place(c, x[i, 0], x[i, 1], BOND["CAC"], ANGLE["NCAC"], phi[i])
    x[:, 3] = place_oxygen(x, np.arange(length) == 0)
    return x.astype(np.float32)


def regular(length: int, phi: float, psi: float) -> np.ndarray:
    """float32 [L, 4, 3] (nm) of residues with the same phi and psi (degrees), trans."""
    angles = (np.full(length, np.radians(angle)) for angle in (phi, psi, 180.0))
    return ideal_backbone(*angles)


def helix(length: int) -> np.ndarray:
    """An ideal alpha helix, float32 [L, 4, 3] (nm)."""
    return ideal_backbone(
        np.full(length, np.radians(-60)), np.full(length, np.radians(-45)), np.full(length, np.pi)
    )
