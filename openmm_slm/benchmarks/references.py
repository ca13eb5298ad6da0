"""A directory of published ensembles and conformer pairs to measure against.

``targets.csv`` lists them, one a row: ``id``, ``kind`` ("pair", or any other: an NMR
ensemble, MD), ``sequence`` (may be empty for ensembles) and ``reference_files`` (relative to the
directory, ``;`` between: two structures of a pair, first conformer first; a trajectory and its
topology, in either order). ``trajectory_lengths.txt`` beside a joined trajectory has the number of
frames of each part, one a line. Other columns are not read.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StructureError, require
from ..protein.loading import read_structure
from ..protein.structure import ProteinStructure
from ..protein.trajectory import from_trajectory

if TYPE_CHECKING:
    import mdtraj

_COLUMNS = ("id", "kind", "sequence", "reference_files")
_STRUCTURES = (".pdb", ".cif", ".ent", ".pdb.gz", ".cif.gz", ".gro")


@dataclass(frozen=True)
class Reference:
    """One target of a references directory.

    Attributes
    ----------
    id, kind, sequence : str
        As in ``targets.csv``.
    files : tuple of Path
    """

    id: str
    kind: str
    sequence: str
    files: tuple[Path, ...]

    @property
    def is_pair(self) -> bool:
        return self.kind == "pair"

    @property
    def is_md(self) -> bool:
        return "MD" in self.kind


def read_references(directory: str | os.PathLike) -> list[Reference]:
    """Targets of a references directory, in the order of ``targets.csv``.

    Raises
    ------
    StructureError
        Names the file, the line and the missing entry.
    """
    directory = Path(directory)
    path = directory / "targets.csv"
    try:
        with open(path, newline="", encoding="utf-8") as handle:
            rows = csv.DictReader(handle)
            absent = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
            if absent:
                raise StructureError(
                    f"{path}: no column {absent[0]!r}; it needs {', '.join(_COLUMNS)}"
                )
            found = [
                Reference(
                    row["id"],
                    row["kind"],
                    row["sequence"],
                    tuple(directory / name for name in row["reference_files"].split(";")),
                )
                for row in rows
            ]
    except (OSError, UnicodeDecodeError) as error:
        raise StructureError(
            f"{path}: cannot be read ({error}); --references takes a directory with a targets.csv"
        ) from None
    for number, reference in enumerate(found, 2):
        for file in reference.files:
            if not file.is_file():
                raise StructureError(
                    f"{path}, line {number}: {reference.id} has the file {file}, which is missing; "
                    "restore it, or remove the line"
                )
    return found


def load_ensemble(reference: Reference) -> mdtraj.Trajectory:
    """All frames of an ensemble.

    Raises
    ------
    StructureError
        The files cannot be read, or hold another sequence than the row says (residues that are
        none of the 20 may be any).
    """
    md = require("mdtraj")
    tops = [file for file in reference.files if str(file).endswith(_STRUCTURES)]
    frames = [file for file in reference.files if file not in tops] or tops
    if len(tops) != 1 or len(frames) != 1:
        raise StructureError(
            f"{reference.id} has the files {', '.join(map(str, reference.files))}; an ensemble "
            "has a trajectory and its topology, or one file with both"
        )
    try:
        given = {} if frames == tops else {"top": str(tops[0])}
        trajectory = md.load(str(frames[0]), **given)
    except Exception as error:  # MDTraj raises whatever its readers do
        raise StructureError(f"{frames[0]}: cannot be read ({error})") from None
    sequence = from_trajectory(trajectory[0]).sequence
    wanted = reference.sequence.replace(":", "") or sequence
    same = len(sequence) == len(wanted)
    if not same or any(a not in (b, "X") for a, b in zip(sequence, wanted, strict=True)):
        raise StructureError(
            f"{frames[0]}: its sequence is {sequence}, that of {reference.id} in targets.csv is "
            f"{reference.sequence}; correct the row or the file"
        )
    return trajectory


def trajectory_lengths(reference: Reference, frames: int) -> list[int]:
    """Frames of each of the joined trajectories; [frames] without ``trajectory_lengths.txt``."""
    path = reference.files[0].parent / "trajectory_lengths.txt"
    if not path.is_file():
        return [frames]
    try:
        lengths = [int(line) for line in path.read_text(encoding="utf-8").split()]
    except ValueError as error:
        raise StructureError(f"{path}: {error}; one number of frames a line") from None
    if sum(lengths) != frames or min(lengths) < 1:
        raise StructureError(
            f"{path}: lengths sum to {sum(lengths)}, {reference.id} has {frames} frames"
        )
    return lengths


def load_pair(reference: Reference) -> tuple[ProteinStructure, ProteinStructure]:
    """The first and the second conformer of a pair."""
    if len(reference.files) != 2:
        raise StructureError(
            f"{reference.id} is a pair with {len(reference.files)} files; give two in targets.csv"
        )
    first, second = (read_structure(file) for file in reference.files)
    return first, second
