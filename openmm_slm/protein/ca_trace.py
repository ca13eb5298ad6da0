"""CA traces: which residues have a CA alone, and which of them are bonded."""

from __future__ import annotations

import numpy as np

from ..errors import StructureError
from .structure import ProteinStructure
from .unmodelled import residue_label

#: CA-CA distances (nm) of bonded residues, cis and trans. Coarse-grained models use springs: those
#: of CALVADOS have 0.38 nm with a standard deviation of 0.018.
SHORTEST_STEP, LONGEST_STEP = 0.25, 0.495


def lone_ca(structure: ProteinStructure) -> np.ndarray:
    """Residues with a CA but without N or C; bool [L]."""
    there = structure.atom_mask
    return there[:, :, 1].all(0) & ~there[:, :, :3].all((0, 2))


def trace_breaks(structure: ProteinStructure, lone: np.ndarray) -> np.ndarray:
    """Chain breaks bool [L], by CA-CA distances next to `lone` residues.

    Neighbours with consecutive numbers are bonded. Others are bonded if their median distance over
    the frames fits a bond.

    Raises
    ------
    StructureError
        The distance of bonded CA is impossible, or a lone residue is bonded to no other. The
        message names the frame, the residues and the distance.
    """
    ca, number = structure.atom14[:, :, 1], structure.residue_number
    with np.errstate(invalid="ignore"):
        step = np.linalg.norm(np.diff(ca, axis=1), axis=-1)  # [F, L - 1]
        typical = np.median(step, axis=0)
        fits = (typical > SHORTEST_STEP) & (typical < LONGEST_STEP)
    same = np.diff(structure.chain_index) == 0
    either = lone[1:] | lone[:-1]
    bonded = same & (np.isin(np.diff(number), (0, 1)) | fits)
    bonded = np.where(either, bonded, ~structure.chain_break[1:])
    wrong = either & bonded & ~((step > SHORTEST_STEP) & (step < LONGEST_STEP))
    if wrong.any():
        frame, row = np.argwhere(wrong)[0]
        raise StructureError(
            f"CA of {residue_label(structure, row)} and {residue_label(structure, row + 1)} are "
            f"{step[frame, row]:.3f} nm apart in frame {frame}; bonded residues have "
            f"{SHORTEST_STEP} to {LONGEST_STEP} nm: check the units (nm in MDTraj, A in PDB), or "
            "number the residues so that a gap shows"
        )
    joined = np.append(bonded, False) | np.append(False, bonded)
    if (alone := lone & ~joined).any():
        raise StructureError(
            f"{residue_label(structure, int(alone.argmax()))} has a CA alone and no bonded "
            "neighbour, so that its backbone cannot be built; remove it"
        )
    return np.append(True, ~bonded)
