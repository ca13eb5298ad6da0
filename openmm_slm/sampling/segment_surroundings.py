"""Which residues are near a segment."""

from __future__ import annotations

import numpy as np

from ..language.structure_context import StructureContext
from ..protein.protein import Protein


def distances_to(
    rows: np.ndarray, backbone: np.ndarray, absent: np.ndarray, index: np.ndarray
) -> np.ndarray:
    """Distance [L] of each CA to the nearest of the residues `rows`, nm.

    Parameters
    ----------
    rows : ndarray, int [K]
    backbone : ndarray [L, 4, 3]
        nm.
    absent : ndarray, bool [L]
        Residues whose place is unknown: they have one between their known neighbours
        (`StructureContext`).
    index : ndarray, int [L]
        Residue index.
    """
    level = np.where(absent, np.inf, 0.0)
    place = StructureContext.of(backbone, level, index).origin
    far = np.full(len(place), np.inf)
    for here in place[rows]:
        far = np.minimum(far, np.linalg.norm(place - here, axis=1))
    return far


def nearest(far: np.ndarray, number: int) -> np.ndarray:
    """The `number` rows with the smallest distances [L], ascending."""
    return np.sort(np.argsort(far, kind="stable")[:number])


def part_of(protein: Protein, rows: np.ndarray) -> Protein:
    """Some residues of a protein; those that are not consecutive are not bonded."""
    gap = np.diff(rows, prepend=-2) != 1
    return Protein(
        "".join(protein.sequence[k] for k in rows),
        protein.chain_break[rows] | gap,
        protein.residue_index[rows],
        cis_allowed=protein.cis_allowed[rows],
        d_residues=protein.d_residues[rows],
    )
