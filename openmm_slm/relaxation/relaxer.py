"""Blocks of frames in, relaxed frames and a report out."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SLMError
from ..files.report_table import Report
from ..validity.reasons import fault_text
from .frame import FrameRelaxer, RelaxedFrame
from .relaxation_settings import RelaxationSettings
from .relaxation_workers import WorkerPool
from .tiles import TiledRelaxer

if TYPE_CHECKING:
    import mdtraj

_FEW = 4  # frames for which no process is started


class Relaxer:
    """Relaxes frames of one topology; made once, used for any number of blocks.

    A frame's result depends on the frame, the settings and, with `copies`, on its neighbours in
    the block; not on `processes`. Use as a context manager: it may hold worker processes.

    Parameters
    ----------
    topology : mdtraj.Topology
        All atoms with hydrogens, and their bonds.
    settings : RelaxationSettings, optional
    processes : int, optional
        Worker processes of one thread each. Default: all CPUs (or ``OPENMM_CPU_THREADS``) on the
        platforms CPU and Reference, and one, this process, on others.
    copies : int
        Frames minimised together in one System, in this process; for GPUs.

    Attributes
    ----------
    judge : FrameJudge

    Raises
    ------
    SLMError
        A topology and a force field that do not fit, or what is not there.
    """

    def __init__(
        self,
        topology: mdtraj.Topology,
        settings: RelaxationSettings | None = None,
        *,
        processes: int | None = None,
        copies: int = 1,
    ) -> None:
        self.settings = settings or RelaxationSettings()
        for name, value in (("processes", processes), ("copies", copies)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise SLMError(f"{name} is {value!r}; give an integer from 1")
        if processes is None:
            on_cpu = self.settings.platform in ("CPU", "Reference") and copies == 1
            processes = available_cpus() if on_cpu else 1
        elif processes > 1 and copies > 1:
            raise SLMError(
                f"processes is {processes} and copies {copies}; use one or the other: copies for "
                "GPUs, processes for CPUs"
            )
        self.topology, self.processes = topology, processes
        self._alone = FrameRelaxer(topology, self.settings)
        self.judge = self._alone.judge
        self._tiled = TiledRelaxer(self._alone, copies) if copies > 1 else None
        self._pool: WorkerPool | None = None

    def __enter__(self) -> Relaxer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.close()
            self._pool = None

    def relax(
        self, xyz: np.ndarray, first: int = 0, done: Callable[[], object] = lambda: None
    ) -> tuple[np.ndarray, Report]:
        """Relax a block of frames.

        Parameters
        ----------
        xyz : ndarray, float32 [F, A, 3]
            nm; frames that are not finite are marked.
        first : int
            Number of the first frame, for the seeds of an annealing.
        done : callable
            Called after each frame.

        Returns
        -------
        xyz : ndarray, float32 [F, A, 3]
            Frames whose minimisation failed are as they were.
        report : dict of ndarray [F]
            The columns of `all_atom_report` for the relaxed frames, then ``valid_before``,
            ``faults_before``, ``energy_before_kj_mol``, ``energy_after_kj_mol`` (of the force
            field, without restraints), ``largest_bond_deviation_nm`` (of all bonds, from the
            force field's lengths), ``ca_moved_nm`` and ``heavy_moved_nm`` (RMSD), ``repair``
            (what made the frame valid after the minimisation had not) and ``error`` (why it is
            not valid).
        """
        xyz = np.asarray(xyz, np.float32)
        frames = self._frames(xyz, first, done)
        relaxed = np.stack([frame.xyz for frame in frames]) if frames else xyz
        return relaxed, self._report(xyz, relaxed, frames)

    def _frames(
        self, xyz: np.ndarray, first: int, done: Callable[[], object]
    ) -> list[RelaxedFrame]:
        if self._tiled:
            return self._tiled.relax(xyz, first, done)
        processes = min(self.processes, len(xyz))
        if self._pool is None and processes > 1 and len(xyz) >= _FEW:
            self._pool = WorkerPool(self.topology, self.settings, processes)
        if self._pool:
            return self._pool.relax(xyz, first, done)
        out = []
        for number, x in enumerate(xyz, first):
            out.append(self._alone.relax(x, number))
            done()
        return out

    def _report(self, before: np.ndarray, after: np.ndarray, frames: list[RelaxedFrame]) -> Report:
        was, report = self.judge.report(before), self.judge.report(after)
        failed = np.array([bool(frame.error) for frame in frames], bool)
        report["valid"] = report["valid"] & ~failed
        with np.errstate(invalid="ignore", over="ignore"):
            deviation = self._alone.minimiser.bond_deviation(after)
            moved = self.judge.moved(before, after)
        return {
            **report,
            "valid_before": was["valid"],
            "faults_before": _texts(fault_text(was, i) for i in range(len(frames))),
            "energy_before_kj_mol": np.array([frame.energy_before for frame in frames]),
            "energy_after_kj_mol": np.array([frame.energy_after for frame in frames]),
            "largest_bond_deviation_nm": deviation,
            **moved,
            "repair": _texts(frame.repair for frame in frames),
            "error": _texts(frame.error or fault_text(report, i) for i, frame in enumerate(frames)),
        }


def _texts(lines) -> np.ndarray:
    return np.array(list(lines), dtype=object)


def available_cpus() -> int:
    """CPUs this process may use; ``OPENMM_CPU_THREADS`` where that is set."""
    asked = os.environ.get("OPENMM_CPU_THREADS", "")
    if asked.isdigit() and int(asked):
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
