"""Collect blocks of frames and their reports in a folder or in memory."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SLMError, require
from .ensemble_folder import EnsembleWriter, number_of_frames
from .report_table import Report

if TYPE_CHECKING:
    import mdtraj

logger = logging.getLogger(__name__)

#: Frames and their report, which has the columns ``frame`` and ``valid``.
Block = tuple["mdtraj.Trajectory", Report]
_NAMED = 20  # most dropped frames listed in a warning


def check_resume(resume: bool, output: str | os.PathLike | None) -> None:
    """Raise SLMError for `resume` without a folder to continue."""
    if resume and output is None:
        raise SLMError("resume is set without output; give the folder to continue")


def to_folder(
    directory: str | os.PathLike,
    run: dict,
    blocks: Callable[[int], Iterator[Block]],
    *,
    resume: bool = False,
    drop_invalid: bool = False,
) -> Path:
    """Write each block to the folder as it arrives, so that memory does not grow.

    Parameters
    ----------
    directory : path
    run : dict
        Written to ``run.json``; `number_of_frames` says how many frames it has.
    blocks : function
        Yields the blocks from a given frame number on.
    resume : bool
        Continue the run in the folder (see `EnsembleWriter`).
    drop_invalid : bool
        Leave invalid frames out of the trajectory. The report keeps all frames.

    Returns
    -------
    Path
        The folder. One warning gives the number of invalid frames.
    """
    with EnsembleWriter(directory, run, resume) as writer:
        for trajectory, report in blocks(writer.done):
            writer.add(trajectory, report, report["valid"] if drop_invalid else slice(None))
    where = f"see {Path(directory) / 'report.csv'}"
    warn_invalid(writer.invalid, number_of_frames(run), where, drop_invalid)
    return Path(directory)


def to_memory(
    blocks: Iterator[Block], where: str, *, drop_invalid: bool = False
) -> tuple[mdtraj.Trajectory, Report, np.ndarray]:
    """Concatenate blocks in memory.

    Parameters
    ----------
    blocks : iterator of Block
        At least one.
    where : str
        Where to find the reasons for invalid frames; part of the warning.
    drop_invalid : bool
        Leave invalid frames out of the trajectory.

    Returns
    -------
    trajectory : mdtraj.Trajectory
        The frames `kept`.
    report : dict of ndarray [F]
        Report on all frames.
    kept : ndarray, int [K]
        Numbers of the frames in the trajectory.
    """
    parts = list(blocks)
    report = {key: np.concatenate([part[key] for _, part in parts]) for key in parts[0][1]}
    joined = require("mdtraj").join([frames for frames, _ in parts], check_topology=False)
    invalid = np.flatnonzero(~report["valid"])
    if drop_invalid and len(invalid):
        names = ", ".join(map(str, invalid[:_NAMED])) + (", ..." if len(invalid) > _NAMED else "")
        where = f"frames {names}; {where}"
    warn_invalid(len(invalid), len(report["valid"]), where, drop_invalid)
    kept = np.flatnonzero(report["valid"]) if drop_invalid else np.arange(len(report["valid"]))
    return joined[kept] if drop_invalid else joined, report, kept


def warn_invalid(invalid: int, n: int, where: str, dropped: bool = False) -> None:
    """Log one warning with the number of invalid frames, if there are any."""
    if invalid:
        are, were = ("is", "was") if invalid == 1 else ("are", "were")
        what = f"{are} not valid and {were} dropped" if dropped else f"{are} not valid"
        logger.warning("%d of %d frames %s; %s", invalid, n, what, where)
