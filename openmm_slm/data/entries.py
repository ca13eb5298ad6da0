"""Entries of one file: chains, complexes or frames, and the reason for each one skipped."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SLMError, StructureError, counted, require
from ..files.frame_reader import FrameReader
from ..protein.structure import ProteinStructure, find_chain_breaks
from ..protein.structure_files import NoProteinError, interpret, parse
from ..protein.trajectory import structure_of
from .chain_list import entry_name, select
from .inputs import Source
from .listed_chain import ListedChain
from .preparation_settings import PreparationSettings
from .shards import RESIDUE_DTYPE

if TYPE_CHECKING:
    import mdtraj

BLOCK_ATOMS = 1_000_000  # atoms times frames of a trajectory in memory at once


@dataclass(eq=False)
class Candidate:
    """An entry that is kept, or a record of one that is skipped.

    Attributes
    ----------
    row : dict
        id, file, chain, reason ("" if kept) and detail; kept entries also have sequence (``:``
        between chains), resolution and complete.
    atoms : ndarray, float32 [L, 14, 3], or None
        nm, NaN where absent. None if skipped.
    residues : ndarray, RESIDUE_DTYPE [L], or None
        None if skipped.
    """

    row: dict[str, str]
    atoms: np.ndarray | None = None
    residues: np.ndarray | None = None


def left_out(
    source: Source, reason: str, detail: str, name: str = "", chain: str = ""
) -> Candidate:
    """Record of a skipped entry: the whole file, or `name` in it."""
    row = {"id": name or source.name, "file": source.path, "chain": chain}
    return Candidate({**row, "reason": reason, "detail": detail})


def structure_candidates(source: Source, limits: PreparationSettings) -> list[Candidate]:
    """Candidates of a PDB or mmCIF file: chains, or the complex, of its first model."""
    try:
        file = parse(source.path)
        largest = limits.max_resolution
        if largest is not None and file.resolution is not None and file.resolution > largest:
            return [left_out(source, "resolution", f"{file.resolution:g} Å, over {largest:g}")]
        structure = interpret(file, first_model=True)
    except NoProteinError as error:
        return [left_out(source, "no protein", str(error))]
    except StructureError as error:
        return [left_out(source, "unreadable", str(error))]
    except Exception as error:  # a library may raise anything; the other files are still read
        return [left_out(source, "unreadable", f"{source.path}: {_message(error)}")]
    if source.listed:
        found = [_listed(source, structure, row, limits) for row in source.listed]
    elif limits.complexes:
        whole = slice(0, structure.n_residues)
        names = " ".join(structure.chain_ids)
        found = [_candidate(source, source.name, names, structure, whole, limits)]
    else:
        ends = np.cumsum(np.bincount(structure.chain_index)).tolist()
        found = [
            _candidate(source, f"{source.name}_{name}", name, structure, slice(start, end), limits)
            for name, start, end in zip(structure.chain_ids, [0, *ends], ends, strict=False)
        ]
    for candidate in found:
        if file.resolution is not None:
            candidate.row["resolution"] = f"{file.resolution:g}"
        if file.doubt and not candidate.row["reason"]:
            candidate.row["detail"] = f"{file.doubt}: the file may be truncated"
    return found


def _listed(
    source: Source, structure: ProteinStructure, row: ListedChain, limits: PreparationSettings
) -> Candidate:
    """Candidate with the chains of one row of a list."""
    name, chains = entry_name(source.name, row), " ".join(row.chains)
    try:
        part = select(structure, row)
    except SLMError as error:
        return left_out(source, "not found", f"{source.path}: {error}", name, chains)
    whole = slice(0, part.n_residues)
    candidate = _candidate(source, name, chains, part, whole, limits)
    candidate.row["listed"] = row.columns
    return candidate


def trajectory_blocks(
    source: Source, limits: PreparationSettings
) -> Iterator[tuple[int, mdtraj.Trajectory | str]]:
    """Yield (number of the first frame, block of frames) of a trajectory.

    If the file cannot be read to its end, the last item has an error message in place of a block.
    Only protein atoms are kept. Frames keep their numbers in the file, so a stride leaves gaps.
    """
    number, reader = 0, None
    try:
        reader = FrameReader(source.path, limits.top, protein_only=True)
        size = max(1, min(1000, BLOCK_ATOMS // reader.topology.n_atoms))
        for block in reader.blocks(0, size, limits.stride):
            yield number, block
            number += len(block) * limits.stride
    except Exception as error:  # readers of MDTraj raise all kinds of exceptions
        frames = []
        with contextlib.suppress(Exception):  # recover the whole frames before a truncated one
            for frame in reader.blocks(number, 1, limits.stride):
                frames.append(frame)
        if frames:
            yield number, require("mdtraj").join(frames)
            number += len(frames) * limits.stride
        yield number, f"{source.path}, frame {number} or after: {_message(error)}"
    else:
        if not number:
            yield 0, f"{source.path}: no frames"


def frame_candidates(
    source: Source, first: int, block: mdtraj.Trajectory | str, limits: PreparationSettings
) -> list[Candidate]:
    """Candidates of a block of frames, one per frame with all its chains."""
    if isinstance(block, str):
        return [left_out(source, "unreadable", block)]
    try:
        parts = [structure_of(block)]
    except StructureError:  # find the frames that are at fault
        parts = [_frame_or_error(frame) for frame in block]
    found: list[Candidate] = []
    for part in parts:
        if isinstance(part, str):
            name = f"{source.name}_{first + len(found) * limits.stride}"
            found.append(left_out(source, "unreadable", part, name))
            continue
        whole = slice(0, part.n_residues)
        names = " ".join(part.chain_ids)
        for frame in range(part.n_frames):
            name = f"{source.name}_{first + len(found) * limits.stride}"
            found.append(_candidate(source, name, names, part, whole, limits, frame))
    return found


def _frame_or_error(frame: mdtraj.Trajectory) -> ProteinStructure | str:
    try:
        return structure_of(frame)
    except StructureError as error:
        return str(error)


def _candidate(
    source: Source,
    name: str,
    chain: str,
    structure: ProteinStructure,
    rows: slice,
    limits: PreparationSettings,
    frame: int = 0,
) -> Candidate:
    """The residues `rows` of one frame: kept if they are within the limits, else skipped."""
    sequence, atoms = structure.sequence[rows], structure.atom14[frame, rows]
    index = structure.chain_index[rows] - structure.chain_index[rows.start]
    broken = find_chain_breaks(atoms, index)
    complete = np.isfinite(atoms[:, :3]).all((1, 2)).mean()
    breaks = int(broken.sum() - index[-1] - 1)
    unknown = sequence.count("X") / len(sequence)
    wanted = f"{limits.min_length} to {limits.max_length}"
    for fits, reason, detail in (
        (limits.min_length <= len(sequence) <= limits.max_length, "length",
         f"{counted(len(sequence), 'residue')}, not {wanted}"),
        (complete >= limits.min_complete, "missing atoms",
         f"{complete:.0%} of the residues have N, CA and C, under {limits.min_complete:.0%}"),
        (breaks <= limits.max_breaks, "breaks",
         f"{counted(breaks, 'break')}, over {limits.max_breaks}"),
        (unknown <= limits.max_unknown, "unknown residues",
         f"{unknown:.0%} of the residues are X, over {limits.max_unknown:.0%}"),
    ):  # fmt: skip
        if not fits:
            return left_out(source, reason, detail, name, chain)
    residues = np.zeros(len(sequence), RESIDUE_DTYPE)
    residues["chain_index"], residues["chain_break"] = index, broken
    residues["residue_number"] = structure.residue_number[rows]
    starts = np.flatnonzero(np.diff(index, prepend=-1)).tolist()
    chains = [sequence[a:b] for a, b in zip(starts, [*starts[1:], len(sequence)], strict=True)]
    row = left_out(source, "", "", name, chain).row
    row |= {"sequence": ":".join(chains), "resolution": "", "complete": f"{complete:.3f}"}
    return Candidate(row, atoms, residues)


def _message(error: Exception) -> str:
    """Type and text of an exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
