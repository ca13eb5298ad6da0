"""Features of known structures that the models lack: cyclic chains and D residues."""

from __future__ import annotations

import logging

import numpy as np

from ..errors import StructureError
from .geometry import chirality
from .sequence import THREE_LETTER
from .structure import PEPTIDE_BOND, ProteinStructure

logger = logging.getLogger(__name__)

_CB = 4


def residue_label(structure: ProteinStructure, row: int) -> str:
    """Name, number and chain of a residue for messages: ``GLY 7 of chain A``."""
    name = THREE_LETTER.get(structure.sequence[row], "residue")
    number = f"{structure.residue_number[row]}{structure.insertion_code[row]}"
    return f"{name} {number} of chain {structure.chain_ids[structure.chain_index[row]]}"


def refuse_cyclic(structure: ProteinStructure) -> None:
    """Raise StructureError for a chain whose last C is bonded to its first N."""
    for chain in range(len(structure.chain_ids)):
        rows = np.flatnonzero(structure.chain_index == chain)
        first, last = rows[0], rows[-1]
        with np.errstate(invalid="ignore"):
            gap = structure.atom14[:, last, 2] - structure.atom14[:, first, 0]
            distance = np.linalg.norm(gap, axis=-1)
        if len(rows) > 2 and (distance < PEPTIDE_BOND).any():
            raise StructureError(
                f"C of {residue_label(structure, last)} and N of {residue_label(structure, first)} "
                f"are {np.nanmin(distance):.3f} nm apart: cyclic peptides are not modelled; "
                "open the ring, or model it elsewhere"
            )


def d_residues(structure: ProteinStructure) -> list[int]:
    """Rows whose CA has the hand of a D residue in every frame that has N, CA, C and CB."""
    n, ca, c, cb = (structure.atom14[:, :, slot].astype(np.float64) for slot in (0, 1, 2, _CB))
    with np.errstate(invalid="ignore"):
        hand = chirality(n, ca, c, cb)
    known = np.isfinite(hand)
    wrong = known.any(0) & ((hand < 0) | ~known).all(0)
    return np.flatnonzero(wrong).tolist()


def warn_of_d_residues(structure: ProteinStructure) -> None:
    """Log the D residues of a template, of which samples have the L form."""
    if found := d_residues(structure):
        logger.warning(
            "%s: D residues are not modelled; samples have L residues there",
            ", ".join(residue_label(structure, row) for row in found),
        )
