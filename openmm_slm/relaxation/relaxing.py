"""`relax`: minimise all-atom frames with OpenMM and report on each frame."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from ..errors import SLMError
from ..files.dask_cluster import dask_cluster
from ..files.ensemble_folder import environment
from ..files.frame_columns import frame_columns
from ..files.frame_reader import FrameReader
from ..files.options import takes
from ..files.per_thread import PerThread
from ..files.report_table import Report
from ..files.stream import Block, check_resume, to_folder, to_memory
from .chemistry import chemistry
from .relaxation_settings import RelaxationSettings
from .relaxer import Relaxer

if TYPE_CHECKING:
    import mdtraj

BLOCK = 100  # frames in memory at once
FEW = 10  # frames that a Dask worker relaxes at a time


@dataclass(frozen=True, eq=False)
class Relaxed:
    """Relaxed frames and a report on each.

    Attributes
    ----------
    trajectory : mdtraj.Trajectory
        Relaxed frames, with the time and box of the input.
    report : dict of ndarray [F]
        ``frame`` and the columns of `openmm_slm.relaxation.relaxer.Relaxer.relax`, for all frames;
        ``pandas.DataFrame(res.report)`` makes a table.
    kept : ndarray, int [K]
        Numbers of the frames in the trajectory: all, unless invalid frames were dropped.
    """

    trajectory: mdtraj.Trajectory
    report: Report
    kept: np.ndarray


@takes(RelaxationSettings)
def relax(
    trajectory: mdtraj.Trajectory | str | os.PathLike,
    *,
    settings: dict[str, Any],
    top: str | os.PathLike | mdtraj.Topology | None = None,
    processes: int | None = None,
    copies: int = 1,
    drop_invalid: bool = False,
    output: str | os.PathLike | None = None,
    resume: bool = False,
    progress: bool = True,
    dask: object = None,
) -> Relaxed | Path:
    """Minimise frames of a protein and report whether each is valid.

    Side chains and hydrogens are minimised first, with a strongly restrained backbone, then all
    atoms. Overlapping atoms are separated before that. Restraints keep peptides trans and residues
    L, and also correct cis peptides and D residues; D amino acids stay D (`d_residues`). Caps and
    protonation are those of the input. Frames that are still invalid are minimised
    again from other starting points (`repair`). See `openmm_slm.relaxation.system` for the forces.

    Parameters
    ----------
    trajectory : mdtraj.Trajectory or path
        Frames with all atoms, hydrogens included (`openmm_slm.complete` adds missing atoms). A path
        is a PDB or mmCIF file, the name of a structure (``pdb:5PTI``), a trajectory file with
        `top`, which is read in blocks, or a folder written by `openmm_slm`. Periodic boxes are
        kept, but not used. The report keeps the columns ``state`` and ``progress`` of an ensemble.
    top : path or mdtraj.Topology, optional
        Topology of a trajectory file without one.
    processes : int, optional
        Number of worker processes with one thread each. Default: all CPUs (or
        ``OPENMM_CPU_THREADS``). It does not change the results.
    copies : int
        Number of frames minimised together in one System; for GPUs.
    drop_invalid : bool
        Drop invalid frames from the trajectory. One warning names them, and the report keeps them.
    output : path, optional
        Write to this folder instead of returning an object: ``topology.pdb``, ``samples.xtc``,
        ``report.csv`` (one row per frame) and ``run.json``. XTC rounds to 0.001 nm; energies in the
        report are those before rounding.
    resume : bool
        Continue an interrupted run in `output`.
    progress : bool
        Show a progress bar.
    dask : distributed.Client or str, optional
        Dask workers that relax the frames, instead of `processes`: a client, the address of a
        scheduler, a scheduler file, or ``"local"``. See docs/large_jobs.md.
    {options}

    Returns
    -------
    Relaxed
        ``.trajectory`` and ``.report``; with `output` the folder as a Path. Frames keep their
        order, and those whose minimisation failed are unchanged. One warning gives the number of
        invalid frames.

    Raises
    ------
    ValueError
        A setting is out of range, a file cannot be read, a chain is cyclic, or the force field does
        not fit.

    Examples
    --------
    >>> import openmm_slm
    >>> traj = openmm_slm.generate_ensemble("GYDPETGTWG", n=2, seed=1)
    >>> res = openmm_slm.relax(traj)
    >>> bool(res.report["valid"].all())
    True
    """
    chosen = RelaxationSettings(**settings)
    check_resume(resume, output)
    reader, size = FrameReader(trajectory, top), max(BLOCK, copies)
    known = frame_columns(trajectory, reader.n_frames)
    advice = "; d_residues=() turns them to L" if chosen.d_residues is None else None
    found = chemistry(next(reader.blocks(0, BLOCK)), advice)
    if chosen.d_residues is None:
        chosen = replace(chosen, d_residues=found)
    if dask is not None and processes is not None:
        raise SLMError("processes are those of this machine, dask has its own; give one of them")
    with (
        Relaxer(reader.topology, chosen, processes=processes, copies=copies) as relaxer,
        dask_cluster(dask) as cluster,
    ):

        def blocks(start: int) -> Iterator[Block]:
            if cluster is not None:
                read = reader.blocks(start, FEW if copies == 1 else size)
                setup = reader.topology, chosen, copies
                made = cluster.blocks(relaxed_blocks, setup, _numbered(read, start))
                return _arranged(made, relaxer, start, reader.n_frames, known, progress)
            read = reader.blocks(start, size)
            return _relaxed(relaxer, read, start, reader.n_frames, known, progress)

        if output is None:
            where = 'the column "error" of the report says why'
            return Relaxed(*to_memory(blocks(0), where, drop_invalid=drop_invalid))
        run = {
            "task": "relax", "input": str(trajectory), "sequence": relaxer.judge.protein.sequence,
            "n": reader.n_frames, **asdict(chosen), "copies": copies,
            "drop_invalid": drop_invalid,
            "environment": environment(chosen.platform, torch=False, openmm=True),
        }  # fmt: skip
        return to_folder(output, run, blocks, resume=resume, drop_invalid=drop_invalid)


def relaxed_blocks(setup: tuple) -> Callable[[tuple[int, mdtraj.Trajectory]], Block]:
    """In a Dask worker: a function that relaxes a block of frames with the first one's number."""
    topology, settings, copies = setup
    relaxer = PerThread(lambda: Relaxer(topology, settings, processes=1, copies=copies))

    def make(numbered: tuple[int, mdtraj.Trajectory]) -> Block:
        first, block = numbered
        block.xyz, report = relaxer().relax(block.xyz, first)
        return block, report

    return make


def _numbered(
    blocks: Iterator[mdtraj.Trajectory], start: int
) -> Iterator[tuple[int, mdtraj.Trajectory]]:
    for block in blocks:
        yield start, block
        start += len(block)


def _arranged(
    made: Iterator[Block], relaxer: Relaxer, done: int, n: int, known: Report, progress: bool
) -> Iterator[Block]:
    """Blocks of workers as `_relaxed` yields them."""
    with tqdm(total=n, initial=done, unit="frame", disable=not progress) as bar, closing(made):
        for block, report in made:
            block.topology = relaxer.topology
            rows = done + np.arange(len(block))
            yield block, {"frame": rows, **report, **{k: v[rows] for k, v in known.items()}}
            done += len(block)
            bar.update(len(block))


def _relaxed(
    relaxer: Relaxer,
    blocks: Iterator[mdtraj.Trajectory],
    done: int,
    n: int,
    known: Report,
    progress: bool,
) -> Iterator[Block]:
    with tqdm(total=n, initial=done, unit="frame", disable=not progress) as bar:
        for block in blocks:
            xyz, report = relaxer.relax(block.xyz, done, bar.update)
            block.xyz, block.topology = xyz, relaxer.topology  # which has the insertion codes
            rows = done + np.arange(len(xyz))
            yield block, {"frame": rows, **report, **{k: v[rows] for k, v in known.items()}}
            done += len(xyz)
