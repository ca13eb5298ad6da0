"""Clashes of a segment with itself and with everything that is held."""

from __future__ import annotations

import numpy as np

from ..protein.bonding import SLOTS
from ..protein.protein import Protein
from ..validity.close_contacts import close_contacts

_REACH = 1.2  # nm between CA: atoms of a segment do not clash with residues further away


def segment_clashes(
    backbone: np.ndarray, protein: Protein, rows: np.ndarray, held: np.ndarray
) -> np.ndarray:
    """Number [F] of atom pairs of a segment that clash, with itself or with other residues.

    Parameters
    ----------
    backbone : ndarray [F, L, 4, 3]
        N, CA, C, O; nm.
    protein : Protein
    rows : ndarray, int [K]
        Residues of the segment.
    held : ndarray [L, 14, 3]
        Heavy atoms of the template, of which side chains of other residues count; NaN where absent.
    """
    mine = np.isin(np.arange(len(protein)), rows)
    ca = backbone[:, :, 1]
    with np.errstate(invalid="ignore"):
        span = ca[:, rows].min((0, 1)) - _REACH, ca[:, rows].max((0, 1)) + _REACH
        near = ((ca[0] > span[0]) & (ca[0] < span[1])).all(-1) | mine
    atoms = np.full((len(backbone), len(protein), SLOTS, 3), np.nan, np.float32)
    atoms[:, :, 4:14] = np.where(mine[:, None, None], np.nan, held[:, 4:])
    atoms[:, :, :4] = backbone
    atoms[:, ~near] = np.nan
    flat = atoms.reshape(len(atoms), -1, 3)
    return close_contacts(flat, protein.bonding, rigid=np.where(mine, -1, 0))[1]
