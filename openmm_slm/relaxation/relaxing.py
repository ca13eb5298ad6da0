"""`relax`: anybody's all-atom frames, minimised with OpenMM, and a report of each."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm.auto import tqdm

from ..errors import SLMError, StructureError, require
from ..files.ensemble_folder import EnsembleWriter, environment
from ..files.report_table import Report
from .relaxation_settings import RelaxationSettings
from .relaxer import Relaxer

if TYPE_CHECKING:
    import mdtraj

logger = logging.getLogger(__name__)

BLOCK = 100  # frames in memory at once
_NAMED = 20  # dropped frames that a message names


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


def relax(
    trajectory: mdtraj.Trajectory | str | os.PathLike,
    *,
    top: str | os.PathLike | mdtraj.Topology | None = None,
    forcefield: str | Iterable[str] = "amber14-all.xml",
    solvent: str = "vacuum",
    cutoff: float = 1.0,
    restraint: float = 1000.0,
    iterations: int = 100,
    tolerance: float = 10.0,
    anneal: float = 0.0,
    temperature: float = 300.0,
    seed: int = 0,
    repair: bool = True,
    cis_allowed: Iterable[int] = (),
    disulfides: Iterable[tuple[int, int]] | None = None,
    platform: str = "CPU",
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
    forcefield, solvent, cutoff, restraint, iterations, tolerance, anneal, temperature, seed, \
repair, cis_allowed, disulfides, platform
        See `openmm_slm.relaxation.relaxation_settings.RelaxationSettings`.
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
    settings = RelaxationSettings(
        forcefield=forcefield, solvent=solvent, cutoff=cutoff, restraint=restraint,
        iterations=iterations, tolerance=tolerance, anneal=anneal, temperature=temperature,
        seed=seed, repair=repair, cis_allowed=cis_allowed, disulfides=disulfides, platform=platform,
    )  # fmt: skip
    if resume and output is None:
        raise SLMError("resume is set without output; give the folder to continue")
    n, topology, blocks = _source(trajectory, top, max(BLOCK, copies))
    with Relaxer(topology, settings, processes=processes, copies=copies) as relaxer:
        if output is None:
            return _in_memory(trajectory, relaxer, blocks(0), n, drop_invalid, progress)
        run = {
            "task": "relax", "input": str(trajectory), "n": n,
            "sequence": relaxer.judge.protein.sequence,
            **asdict(settings), "copies": copies, "drop_invalid": drop_invalid,
            "environment": environment(platform, torch=False, openmm=True),
        }  # fmt: skip
        with EnsembleWriter(output, run, resume) as writer:
            for made, report in _relaxed(relaxer, blocks(writer.done), writer.done, n, progress):
                writer.add(made, report, report["valid"] if drop_invalid else slice(None))
        _warn(writer.invalid, n, f"see {Path(output) / 'report.csv'}", drop_invalid)
        return Path(output)


def _in_memory(
    trajectory, relaxer: Relaxer, blocks: Iterator, n: int, drop_invalid: bool, progress: bool
) -> Relaxed:
    parts = list(_relaxed(relaxer, blocks, 0, n, progress))
    made = require("mdtraj").join([traj for traj, _ in parts], check_topology=False)
    report = {key: np.concatenate([part[key] for _, part in parts]) for key in parts[0][1]}
    invalid = np.flatnonzero(~report["valid"])
    where = 'the column "error" of the report says why'
    if drop_invalid and len(invalid):
        names = ", ".join(map(str, invalid[:_NAMED])) + (", ..." if len(invalid) > _NAMED else "")
        where = f"frames {names}; {where}"
    _warn(len(invalid), n, where, drop_invalid)
    kept = np.flatnonzero(report["valid"]) if drop_invalid else np.arange(n)
    return Relaxed(made[kept], report, kept)


def _relaxed(
    relaxer: Relaxer, blocks: Iterator[mdtraj.Trajectory], done: int, n: int, progress: bool
) -> Iterator[tuple[mdtraj.Trajectory, Report]]:
    with tqdm(total=n, initial=done, unit="frame", disable=not progress) as bar:
        for block in blocks:
            xyz, report = relaxer.relax(block.xyz, done, bar.update)
            block.xyz = xyz
            yield block, {"frame": done + np.arange(len(xyz)), **report}
            done += len(xyz)


def _source(
    trajectory: mdtraj.Trajectory | str | os.PathLike,
    top: str | os.PathLike | mdtraj.Topology | None,
    size: int,
) -> tuple[int, mdtraj.Topology, Callable[[int], Iterator[mdtraj.Trajectory]]]:
    """Number of frames, their topology, and what gives them in blocks from a frame on."""
    md = require("mdtraj")
    if not isinstance(trajectory, (str, os.PathLike)):
        if not (hasattr(trajectory, "topology") and hasattr(trajectory, "xyz")):
            raise StructureError(
                f"{type(trajectory).__name__} is no trajectory; give an mdtraj.Trajectory or a path"
            )
        if trajectory.topology is None or not trajectory.n_frames:
            raise StructureError(f"{trajectory}: no frames, or no topology; give both")

        def slices(start: int) -> Iterator[mdtraj.Trajectory]:
            for i in range(start, trajectory.n_frames, size):
                yield trajectory[i : i + size]  # a copy

        return trajectory.n_frames, trajectory.topology, slices
    path = Path(trajectory)
    if path.is_dir() and (path / "samples.xtc").exists():
        path, top = path / "samples.xtc", path / "topology.pdb"
    if not path.is_file():
        raise StructureError(f"{path}: no such file, or folder with samples.xtc and topology.pdb")
    options = {} if top is None else {"top": top if hasattr(top, "atoms") else str(top)}
    try:
        if path.name.lower().removesuffix(".gz").endswith((".pdb", ".ent", ".cif", ".pdbx")):
            return _source(md.load(str(path)), None, size)
        with md.open(str(path)) as handle:
            n = len(handle)
        topology = next(md.iterload(str(path), chunk=1, **options)).topology
    except StructureError:
        raise
    except Exception as error:  # MDTraj's readers raise whatever they meet
        raise StructureError(
            f"{path}: cannot be read ({error}); give a trajectory that MDTraj reads and, unless it "
            "has one, its topology (top, --top)"
        ) from None

    def pieces(start: int) -> Iterator[mdtraj.Trajectory]:
        if start < n:
            yield from md.iterload(str(path), chunk=size, skip=start, **options)

    return n, topology, pieces


def _warn(invalid: int, n: int, where: str, dropped: bool) -> None:
    if invalid:
        what = "are not valid and were dropped" if dropped else "are not valid"
        logger.warning("%d of %d frames %s; %s", invalid, n, what, where)
