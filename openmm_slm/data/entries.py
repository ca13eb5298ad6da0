"""From one file to entries: what is kept of it, and why the rest is not."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SLMError, StructureError, require
from ..files.frame_reader import WITH_TOPOLOGY
from ..protein.structure import ProteinStructure, find_chain_breaks
from ..protein.structure_files import NoProteinError, interpret, parse
from ..protein.trajectory import from_trajectory, is_protein_residue
from .chain_list import entry_name, select
from .inputs import Source
from .listed_chain import ListedChain
from .shards import RESIDUE_DTYPE

if TYPE_CHECKING:
    import mdtraj

BLOCK_ATOMS = 1_000_000  # of a trajectory, in memory at once


@dataclass(frozen=True)
class Limits:
    """What an entry must be to be kept; see `openmm_slm.data.prepare.prepare`."""

    top: str | None
    stride: int
    min_length: int
    max_length: int
    max_resolution: float | None
    min_complete: float
    max_breaks: int
    max_unknown: float
    complexes: bool


@dataclass(eq=False)
class Candidate:
    """An entry, or what was left out instead.

    Attributes
    ----------
    row : dict
        id, file, chain, reason ("" if kept), detail; for entries also sequence (``:`` between
        chains), resolution and complete.
    atoms : ndarray, float32 [L, 14, 3], or None
        nm, NaN where absent.
    residues : ndarray, RESIDUE_DTYPE [L], or None
    """

    row: dict[str, str]
    atoms: np.ndarray | None = None
    residues: np.ndarray | None = None


def left_out(
    source: Source, reason: str, detail: str, name: str = "", chain: str = ""
) -> Candidate:
    """A candidate that is not kept: the whole file, or `name` in it."""
    row = {"id": name or source.name, "file": source.path, "chain": chain}
    return Candidate({**row, "reason": reason, "detail": detail})


def structure_candidates(source: Source, limits: Limits) -> list[Candidate]:
    """Chains (or the complex) of the first model of a PDB or mmCIF file."""
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
    except Exception as error:  # whatever a library makes of a strange file, the others go on
        return [left_out(source, "unreadable", f"{source.path}: {_told(error)}")]
    if source.listed:
        found = [_listed(source, structure, row, limits) for row in source.listed]
    elif limits.complexes:
        whole = slice(0, structure.n_residues)
        names = " ".join(structure.chain_ids)
        found = [_judged(source, source.name, names, structure, whole, limits)]
    else:
        ends = np.cumsum(np.bincount(structure.chain_index)).tolist()
        found = [
            _judged(source, f"{source.name}_{name}", name, structure, slice(start, end), limits)
            for name, start, end in zip(structure.chain_ids, [0, *ends], ends, strict=False)
        ]
    for candidate in found:
        if file.resolution is not None:
            candidate.row["resolution"] = f"{file.resolution:g}"
        if file.doubt and not candidate.row["reason"]:
            candidate.row["detail"] = f"{file.doubt}: the file may be truncated"
    return found


def _listed(
    source: Source, structure: ProteinStructure, row: ListedChain, limits: Limits
) -> Candidate:
    """The chains of one row of a list."""
    name, chains = entry_name(source.name, row), " ".join(row.chains)
    try:
        part = select(structure, row)
    except SLMError as error:
        return left_out(source, "not found", f"{source.path}: {error}", name, chains)
    whole = slice(0, part.n_residues)
    candidate = _judged(source, name, chains, part, whole, limits)
    candidate.row["listed"] = row.columns
    return candidate


def trajectory_blocks(
    source: Source, limits: Limits
) -> Iterator[tuple[int, mdtraj.Trajectory | str]]:
    """(number of the first frame, block of frames), or the error the rest could not be read for.

    Only atoms of proteins are kept. Frames are numbered as in the file, so that a stride leaves
    gaps.
    """
    md = require("mdtraj")
    number, options = 0, {}
    try:
        own = limits.top is None or os.path.splitext(source.path)[1].lower() in WITH_TOPOLOGY
        topology = md.load_frame(source.path, 0).topology if own else load_topology(limits.top)
        atoms = [a.index for r in topology.residues if is_protein_residue(r) for a in r.atoms]
        if not atoms:
            yield 0, f"{source.path}: its topology has no protein"
            return
        chunk = max(1, min(1000, BLOCK_ATOMS // topology.n_atoms))
        options = {"stride": limits.stride, "atom_indices": atoms}
        options |= {} if own else {"top": topology}
        for block in md.iterload(source.path, chunk, **options):
            yield number, block
            number += len(block) * limits.stride
    except Exception as error:  # MDTraj's formats raise what they like
        frames = []
        with contextlib.suppress(Exception):  # a half frame at the end: its block has whole ones
            for frame in md.iterload(source.path, 1, skip=number, **options):
                frames.append(frame)
        if frames:
            yield number, md.join(frames)
            number += len(frames) * limits.stride
        yield number, f"{source.path}, frame {number} or after: {_told(error)}"
    else:
        if not number:
            yield 0, f"{source.path}: no frames"


def load_topology(path: str) -> mdtraj.Topology:
    """Topology of a file that MDTraj reads; StructureError where it does not."""
    try:
        return _topology_of(os.path.abspath(path), os.stat(path).st_mtime_ns)
    except Exception as error:
        raise StructureError(f"{path}: cannot be read as a topology ({_told(error)})") from None


@lru_cache(maxsize=1)
def _topology_of(path: str, changed: int) -> mdtraj.Topology:
    """Read once for all trajectories; a file of that name elsewhere, or changed, is another."""
    return require("mdtraj").load_topology(path)


def frame_candidates(
    source: Source, first: int, block: mdtraj.Trajectory | str, limits: Limits
) -> list[Candidate]:
    """One candidate a frame, all chains in it."""
    if isinstance(block, str):
        return [left_out(source, "unreadable", block)]
    try:
        parts = [from_trajectory(block)]
    except StructureError:  # say which frames are meant
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
            found.append(_judged(source, name, names, part, whole, limits, frame))
    return found


def _frame_or_error(frame: mdtraj.Trajectory) -> ProteinStructure | str:
    try:
        return from_trajectory(frame)
    except StructureError as error:
        return str(error)


def _judged(
    source: Source,
    name: str,
    chain: str,
    structure: ProteinStructure,
    rows: slice,
    limits: Limits,
    frame: int = 0,
) -> Candidate:
    """The residues `rows` of one frame, if they are within the limits."""
    sequence, atoms = structure.sequence[rows], structure.atom14[frame, rows]
    index = structure.chain_index[rows] - structure.chain_index[rows.start]
    broken = find_chain_breaks(atoms, index)
    complete = np.isfinite(atoms[:, :3]).all((1, 2)).mean()
    breaks = int(broken.sum() - index[-1] - 1)
    unknown = sequence.count("X") / len(sequence)
    wanted = f"{limits.min_length} to {limits.max_length}"
    for fits, reason, detail in (
        (limits.min_length <= len(sequence) <= limits.max_length, "length",
         f"{len(sequence)} residues, not {wanted}"),
        (complete >= limits.min_complete, "missing atoms",
         f"{complete:.0%} of the residues have N, CA and C, under {limits.min_complete:.0%}"),
        (breaks <= limits.max_breaks, "breaks", f"{breaks} breaks, over {limits.max_breaks}"),
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


def _told(error: Exception) -> str:
    """An exception of a library in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
