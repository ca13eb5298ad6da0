"""`relax`: anybody's all-atom frames, minimised with OpenMM, and a report of each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from ..files.ensemble_folder import environment
from ..files.frame_reader import FrameReader
from ..files.options import takes
from ..files.report_table import Report
from ..files.stream import Block, check_resume, to_folder, to_memory
from .relaxation_settings import RelaxationSettings
from .relaxer import Relaxer

if TYPE_CHECKING:
    import mdtraj

BLOCK = 100  # frames in memory at once


@dataclass(frozen=True, eq=False)
class Relaxed:
    """Relaxed frames and what is known about each.

    Attributes
    ----------
    trajectory : mdtraj.Trajectory
        Time and box as given.
    report : dict of ndarray [F]
        ``frame`` and the columns of `openmm_slm.relaxation.relaxer.Relaxer.relax`, of all frames;
        ``pandas.DataFrame(res.report)`` makes a table.
    kept : ndarray, int [K]
        Frames that the trajectory has; all, unless invalid ones were dropped.
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
) -> Relaxed | Path:
    """Minimise frames of a protein, and say of each whether it is valid.

    The backbone is held fast while side chains and hydrogens settle, then all atoms move. Frames
    whose atoms overlap are parted first. Peptides and CA are kept from becoming cis or D, and
    brought back if they are; frames that are still not valid are tried again from other starting
    points (`repair`). See `openmm_slm.relaxation.system` for the forces that do this.

    Parameters
    ----------
    trajectory : mdtraj.Trajectory or path
        All atoms with hydrogens (`openmm_slm.complete` adds what is missing): a PDB or mmCIF file,
        a trajectory file with `top`, which is read piece by piece, or a folder written by
        `openmm_slm`. Boxes are kept and not used.
    top : path or mdtraj.Topology, optional
        For trajectory files that have no topology of their own.
    {options}
    processes : int, optional
        Worker processes of one thread each; default, all CPUs (or ``OPENMM_CPU_THREADS``). Changes
        no result.
    copies : int
        Frames minimised together in one System; for GPUs.
    drop_invalid : bool
        Leave out frames that are not valid; one warning names them, and the report has them.
    output : path, optional
        Stream to this folder instead of returning an object: ``topology.pdb``, ``samples.xtc``,
        ``report.csv`` (one row a frame), ``run.json``. XTC rounds to 0.001 nm: energies in the
        report are those of the coordinates before.
    resume : bool
        With `output`: continue an interrupted run there.

    Returns
    -------
    Relaxed
        ``.trajectory`` and ``.report``; or the output folder as a Path. Frames stay in place;
        where the minimisation failed they are as they were. Those that are not valid are counted
        in one warning.

    Raises
    ------
    ValueError
        A setting out of range, a file that cannot be read, a force field that does not fit.

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
    with Relaxer(reader.topology, chosen, processes=processes, copies=copies) as relaxer:

        def blocks(start: int) -> Iterator[Block]:
            return _relaxed(relaxer, reader.blocks(start, size), start, reader.n_frames, progress)

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


def _relaxed(
    relaxer: Relaxer, blocks: Iterator[mdtraj.Trajectory], done: int, n: int, progress: bool
) -> Iterator[Block]:
    with tqdm(total=n, initial=done, unit="frame", disable=not progress) as bar:
        for block in blocks:
            xyz, report = relaxer.relax(block.xyz, done, bar.update)
            block.xyz = xyz
            yield block, {"frame": done + np.arange(len(xyz)), **report}
            done += len(xyz)
