"""Relax blocks of frames and report on each frame."""

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

_FEW = 4  # smallest number of frames for which worker processes are started


class Relaxer:
    """Relax any number of blocks of frames of one topology.

    The result of a frame depends on the frame, the settings and, with `copies`, on other frames of
    the block. It does not depend on `processes`. Use as a context manager, which ends the worker
    processes.

    Parameters
    ----------
    topology : mdtraj.Topology
        All atoms, hydrogens included, and their bonds.
    settings : RelaxationSettings, optional
    processes : int, optional
        Number of worker processes with one thread each. Default: all CPUs (or
        ``OPENMM_CPU_THREADS``) on the platforms CPU and Reference. On other platforms frames are
        relaxed in this process.
    copies : int
        Number of frames minimised together in one System, in this process; for GPUs.

    Attributes
    ----------
    judge : FrameJudge

    Raises
    ------
    SLMError
        The force field does not fit the topology, or the platform or a file is not available.
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
                raise SLMError(f"{name} is {value!r}; give an integer of 1 or more")
        if processes is None:
            on_cpu = self.settings.platform in ("CPU", "Reference") and copies == 1
            processes = available_cpus() if on_cpu else 1
        elif processes > 1 and copies > 1:
            raise SLMError(
                f"processes is {processes} and copies is {copies}; use one or the other: copies "
                "for GPUs, processes for CPUs"
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
            nm. Frames that are not finite get an error in the report.
        first : int
            Number of the first frame; seeds of annealing depend on it.
        done : callable
            Called after each frame.

        Returns
        -------
        xyz : ndarray, float32 [F, A, 3]
            nm. Frames whose minimisation failed are unchanged.
        report : dict of ndarray [F]
            The columns of `all_atom_report` for the relaxed frames, then ``valid_before``,
            ``faults_before``, ``energy_before_kj_mol`` and ``energy_after_kj_mol`` (force field
            without restraints), ``largest_bond_deviation_nm`` (over all bonds, from the force
            field's lengths), ``ca_moved_nm`` and ``heavy_moved_nm`` (RMSD), ``repair`` (the repair
            that made the frame valid, if any) and ``error`` (why it is not valid).
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
    """Number of CPUs available to this process, or ``OPENMM_CPU_THREADS`` if it is set."""
    asked = os.environ.get("OPENMM_CPU_THREADS", "")
    if asked.isdigit() and int(asked):
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
