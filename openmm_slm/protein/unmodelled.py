"""What the models lack: other units, cyclic chains, D residues, caps, gaps."""

from __future__ import annotations

import logging

import numpy as np

from ..errors import StructureError
from .atoms import D_AMINO_ACIDS, residue_letter
from .caps import Cap
from .geometry import chirality
from .sequence import THREE_LETTER
from .structure import PEPTIDE_BOND, ProteinStructure

logger = logging.getLogger(__name__)

_CB = 4
_BOND = 0.15  # nm, N-CA and CA-C
_NAMED = 10  # residues that a message names


def residue_label(structure: ProteinStructure, row: int) -> str:
    """Name, number and chain of a residue for messages: ``GLY 7 of chain A``."""
    letter = structure.sequence[row]
    stated = structure.names[row] if structure.names else ""
    foreign = stated if residue_letter(stated) == "X" else ""
    name = THREE_LETTER.get(letter) or foreign or f"residue {letter}"
    number = f"{structure.residue_number[row]}{structure.insertion_code[row]}"
    return f"{name} {number} of chain {structure.chain_ids[structure.chain_index[row]]}"


def check_units(structure: ProteinStructure) -> None:
    """Raise StructureError where most bonds N-CA and CA-C, of all frames, have no such length.

    Half and twice their length pass: a distorted backbone is for reports to judge.
    """
    n, ca, c = np.moveaxis(structure.atom14[:, :, :3].astype(np.float64), 2, 0)
    lengths = np.linalg.norm([n - ca, c - ca], axis=-1)
    lengths = lengths[np.isfinite(lengths)]
    if len(lengths) and not _BOND / 2 < np.median(lengths) < 2 * _BOND:
        raise StructureError(
            f"bonds N-CA and CA-C are {np.median(lengths):.3g} nm long (median), not {_BOND} nm: "
            "check the units (nm in MDTraj, A in PDB)"
        )


def refuse_cyclic(structure: ProteinStructure) -> None:
    """Raise StructureError for a chain whose last C is bonded to its first N in every frame."""
    for chain in range(len(structure.chain_ids)):
        rows = np.flatnonzero(structure.chain_index == chain)
        first, last = rows[0], rows[-1]
        gap = structure.atom14[:, last, 2] - structure.atom14[:, first, 0]
        distance = np.linalg.norm(gap, axis=-1)
        distance = distance[np.isfinite(distance)]
        if len(rows) > 2 and len(distance) and (distance < PEPTIDE_BOND).all():
            raise StructureError(
                f"C of {residue_label(structure, last)} and N of {residue_label(structure, first)} "
                f"are {distance.min():.3f} nm apart: cyclic peptides are not modelled; "
                "open the ring, or model it elsewhere"
            )


def d_residues(structure: ProteinStructure) -> list[int]:
    """Rows of residues with the name of a D amino acid (DAL), or with a D CA in every frame.

    Frames without N, CA, C and CB of the residue do not count.
    """
    n, ca, c, cb = (structure.atom14[:, :, slot].astype(np.float64) for slot in (0, 1, 2, _CB))
    with np.errstate(invalid="ignore"):
        hand = chirality(n, ca, c, cb)
    known = np.isfinite(hand)
    wrong = known.any(0) & ((hand < 0) | ~known).all(0)
    wrong |= np.array([name in D_AMINO_ACIDS for name in structure.names] or False)
    return np.flatnonzero(wrong).tolist()


def warn_of_d_residues(structure: ProteinStructure, what: str) -> list[int]:
    """Rows of D residues; a warning names them and says `what` happens to them."""
    found = d_residues(structure)
    if found:
        names = ", ".join(residue_label(structure, row) for row in found)
        logger.warning("%s: D residues %s", names, what)
    return found


def warn_of_caps(caps: list[Cap]) -> None:
    """Log that caps are left out, if there are any."""
    if caps:
        logger.warning(
            "%s left out; the chain ends are charged instead",
            " and ".join(map(str, caps)) + (" is" if len(caps) == 1 else " are"),
        )


def warn_of_rebuilt(structure: ProteinStructure, rebuilt: np.ndarray) -> None:
    """Log which residues `rebuilt` [L] lose atoms when they are built anew from their CA."""
    others = np.arange(structure.atom14.shape[2]) != 1
    rows = np.flatnonzero(rebuilt & structure.atom_mask[:, :, others].any((0, 2)))
    if len(rows):
        names = ", ".join(residue_label(structure, row) for row in rows[:_NAMED])
        logger.warning(
            "%s: N or C is missing, and all atoms are built anew from CA",
            names + (", ..." if len(rows) > _NAMED else ""),
        )
