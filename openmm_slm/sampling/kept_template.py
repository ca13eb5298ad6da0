"""Read the groups of a template that are not protein."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np

from ..errors import StructureError
from ..files.formats import STRUCTURE_FILES, extension
from ..files.frame_reader import FrameReader
from ..protein.atoms import CAPS, residue_letter
from ..protein.chains import protein_chains
from ..protein.keep_selection import AUTO, NONE, check_keep, other_residues
from ..protein.kept_groups import KeptGroups
from ..protein.kept_images import beside_protein
from ..protein.named_structures import local_file
from ..protein.structure import ProteinStructure
from ..protein.structure_files import parse

logger = logging.getLogger(__name__)

_WATERS = ("HOH", "WAT", "DOD", "TIP3", "SOL")


def read_kept(
    source: object, top: object, keep: str, rows: np.ndarray, sequence: str, atom14: np.ndarray
) -> KeptGroups | None:
    """Kept groups of a template whose protein is laid on a sequence; None if there are none.

    Parameters
    ----------
    source, top
        As for `openmm_slm.files.frame_reader.FrameReader`.
    keep : str
        See `openmm_slm.protein.keep_selection.kept_residues`.
    rows : ndarray, int [L]
        Residue of the template for each of the sequence; -1 where it lacks one.
    sequence : str
        L letters.
    atom14 : ndarray, float32 [T, L, 14, 3]
        The template by rows of the sequence.

    Raises
    ------
    StructureError
        `keep` names nothing, or protein; or the frames do not share the groups.
    """
    if not may_keep(source, keep := check_keep(keep)):
        return None
    name = source if isinstance(source, (str, os.PathLike)) else "the template"
    trajectory = FrameReader(source, top).load()
    if not _is_structure_file(source):  # the molecules of a crystal are where its authors want them
        others = other_residues(trajectory.topology)
        wanted = [r for r in others if keep != AUTO or not r.is_water]
        trajectory = beside_protein(trajectory, wanted)
    count = sum(len(chain) for _, chain in protein_chains(trajectory.topology))
    there = np.flatnonzero(rows >= 0)
    if trajectory.n_frames != len(atom14) or count != rows.max() + 1:
        text = (
            f"{name}: its {len(atom14)} models differ in what is not protein; give one model, or "
            "keep='none'"
        )
        if keep == AUTO:
            logger.warning("%s; nothing but protein is kept", text)
            return None
        raise StructureError(text)
    back = np.full(count, -1)
    back[rows[there]] = there
    return KeptGroups.of(trajectory, keep, back, sequence, atom14, name)


def may_keep(source: object, keep: str) -> bool:
    """Whether something besides protein may stay of a source; see `read_kept`."""
    keep = check_keep(keep)
    if isinstance(source, ProteinStructure) and keep not in (NONE, AUTO):
        raise StructureError(
            f"keep is {keep!r}, but a ProteinStructure has protein alone; give the file or an "
            "mdtraj.Trajectory"
        )
    if keep == NONE or isinstance(source, ProteinStructure):
        return False
    return keep != AUTO or _has_others(source)


def _has_others(source: object) -> bool:
    """Whether a structure file has residues besides amino acids, caps and waters."""
    if not _is_structure_file(source):
        return True
    model = next(iter(parse(local_file(source)).models), ())
    return any(
        residue_letter(residue.name) == "X" and residue.name not in (*CAPS, *_WATERS)
        for chain in model for residue in chain
    )  # fmt: skip


def _is_structure_file(source: object) -> bool:
    if not isinstance(source, (str, os.PathLike)):
        return False
    path = local_file(source)
    return extension(path) in STRUCTURE_FILES and not Path(path).is_dir()
