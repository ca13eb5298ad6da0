"""Ramachandran classes of residues: favoured, allowed, outlier (NumPy only).

Four maps, after Lovell et al. (2003): general, glycine, residues before proline (but glycine), and
proline. Each says, for squares of 5 by 5 degrees of phi and psi, whether they belong to the
smallest region that holds 98 % of the residues of the class (favoured), 99.8 % (allowed), or to
neither (outlier).

Made by ``python tools/make_ramachandran.py SHARDS openmm_slm/ramachandran.npz`` from 2,760,729
residues (2,328,817, 195,077, 112,174 and 124,661 of the four classes) of 13,446 chains of the wwPDB
archive, the longest of each training cluster of 30 % sequence identity. Neither resolution nor
B-factors select them, so that outliers are rarer here than in maps of well-resolved structures.
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
    """Number in `CLASSES` of each residue, int [L]; -1 for X, of which nothing is known."""
    letters = np.array(list(sequence), "<U1")
    following = np.append(letters[1:], "")
    out = np.zeros(len(letters), np.int64)
    out[following == "P"] = 2
    out[letters == "G"] = 1
    out[letters == "P"] = 3
    out[letters == "X"] = -1
    return out


def grid_cell(angle: np.ndarray, cells: int) -> np.ndarray:
    """Row of a map of `cells` rows, the first from -pi on, for angles in radians; any period."""
    return np.floor((angle / (2 * np.pi) + 0.5) * cells).astype(np.int64) % cells


@lru_cache(maxsize=1)
def levels() -> np.ndarray:
    """Maps uint8 [4, 72, 72] of class, phi and psi: 2 favoured, 1 allowed, 0 outlier."""
    with np.load(_MAPS, allow_pickle=False) as archive:
        return archive["levels"]


def classify(phi: np.ndarray, psi: np.ndarray, sequence: str) -> np.ndarray:
    """Level of each residue.

    Parameters
    ----------
    phi, psi : ndarray [..., L]
        Radians, NaN where undefined.
    sequence : str
        L letters, chains concatenated. psi is undefined at the end of a chain, so that a proline
        that begins the next one does not count as following.

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
