"""Ramachandran classes of residues: favoured, allowed, outlier (NumPy only).

Four maps after Lovell et al. (2003): general, glycine, pre-proline (except glycine), and proline.
Each map labels squares of 5 by 5 degrees in phi and psi. Favoured squares form the smallest region
that holds 98 % of the residues of the class, allowed squares complete the smallest region that
holds 99.8 %, and the rest are outliers.

``python tools/make_ramachandran.py SHARDS openmm_slm/protein/ramachandran.npz`` made the maps from
2,760,729 residues (2,328,817, 195,077, 112,174 and 124,661 of the four classes). These belong to
13,446 chains of the wwPDB archive, the longest of each training cluster at 30 % sequence identity.
They were not filtered by resolution or B-factor, so fewer residues are outliers than in maps from
well-resolved structures.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from ..errors import StructureError

CLASSES = ("general", "glycine", "pre-proline", "proline")
UNDEFINED, OUTLIER, ALLOWED, FAVOURED = -1, 0, 1, 2
_MAPS = Path(__file__).with_name("ramachandran.npz")


def residue_classes(sequence: str) -> np.ndarray:
    """Index of each residue's class in `CLASSES`, int [L]; -1 for X, which has no class."""
    letters = np.array(list(sequence), "<U1")
    following = np.append(letters[1:], "")
    out = np.zeros(len(letters), np.int64)
    out[following == "P"] = 2
    out[letters == "G"] = 1
    out[letters == "P"] = 3
    out[letters == "X"] = -1
    return out


def grid_cell(angle: np.ndarray, cells: int) -> np.ndarray:
    """Row, in a map of `cells` rows from -pi to pi, of angles in radians (any period)."""
    return np.floor((angle / (2 * np.pi) + 0.5) * cells).astype(np.int64) % cells


@lru_cache(maxsize=1)
def levels() -> np.ndarray:
    """Maps uint8 [4, 72, 72] (class, phi, psi): 2 favoured, 1 allowed, 0 outlier."""
    with np.load(_MAPS, allow_pickle=False) as archive:
        return archive["levels"]


def classify(phi: np.ndarray, psi: np.ndarray, sequence: str) -> np.ndarray:
    """Ramachandran level of each residue.

    Parameters
    ----------
    phi, psi : ndarray [..., L]
        Radians, NaN where undefined.
    sequence : str
        L letters, chains concatenated. The last residue of a chain has no psi and so no level, even
        if the next chain begins with proline.

    Returns
    -------
    ndarray, int8 [..., L]
        2 favoured, 1 allowed, 0 outlier; -1 where phi or psi is undefined, and for X.
    """
    phi, psi = np.broadcast_arrays(np.asarray(phi, np.float64), np.asarray(psi, np.float64))
    kinds = residue_classes(sequence)
    if phi.shape[-1:] != kinds.shape:
        raise StructureError(
            f"phi and psi of shape {phi.shape} for a sequence of {len(sequence)} residues; "
            f"expected [..., {len(sequence)}]"
        )
    defined = np.isfinite(phi) & np.isfinite(psi) & (kinds >= 0)
    maps = levels()
    row, column = (grid_cell(np.where(defined, angle, 0.0), maps.shape[1]) for angle in (phi, psi))
    return np.where(defined, maps[kinds, row, column].astype(np.int8), np.int8(UNDEFINED))
