"""Ensembles on disk: topology.pdb, samples.xtc, report.csv, run.json."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import __version__
from .errors import SLMError
from .models.storage import write_json
from .validity import Report

if TYPE_CHECKING:
    import mdtraj

_ALL = slice(None)


class EnsembleWriter:
    """Write an ensemble as it is sampled; use as a context manager.

    Frames go to ``samples.xtc.part`` and ``report.csv.part``, renamed when all are written, so
    that a finished ensemble is told from an interrupted one.

    Parameters
    ----------
    directory : path
        Made if missing.
    run : dict
        What repeats the run; written to ``run.json`` with the version.
    """

    def __init__(self, directory: str | os.PathLike, run: dict) -> None:
        self.directory = Path(directory)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            write_json(self.directory / "run.json", {"openmm_slm": __version__, **run})
        except OSError as error:
            raise SLMError(
                f"{directory}: cannot be written ({error.strerror}); choose another output folder"
            ) from None
        self.invalid = 0
        self._xtc = self._csv = self._rows = None

    def __enter__(self) -> EnsembleWriter:
        return self

    def add(
        self, trajectory: mdtraj.Trajectory, report: Report, keep: np.ndarray | slice = _ALL
    ) -> None:
        """Append the frames `keep` of a block, and the rows of all its frames.

        The step of a frame in the XTC file is its number in the report, so that frames are told
        apart after some were dropped.
        """
        if self._rows is None:
            self._open(trajectory, report)
        number = report["frame"][keep]
        if len(number):
            self._xtc.write(trajectory.xyz[keep], time=number.astype(np.float32), step=number)
        self.invalid += int((~report["valid"]).sum())
        for row in zip(*report.values(), strict=True):
            self._rows.writerow(_text(value) for value in row)

    def _open(self, trajectory: mdtraj.Trajectory, report: Report) -> None:
        from mdtraj.formats import XTCTrajectoryFile

        trajectory[0].save_pdb(str(self.directory / "topology.pdb"))
        self._xtc = XTCTrajectoryFile(str(self.directory / "samples.xtc.part"), "w")
        self._csv = open(self.directory / "report.csv.part", "w", newline="")  # noqa: SIM115
        self._rows = csv.writer(self._csv)
        self._rows.writerow(report)

    def __exit__(self, kind: type | None, *_: object) -> None:
        for handle in (self._xtc, self._csv):
            if handle is not None:
                handle.close()
        if kind is None and self._rows is not None:
            for name in ("samples.xtc", "report.csv"):
                (self.directory / f"{name}.part").replace(self.directory / name)


def _text(value: object) -> str:
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    return f"{value:.6g}" if isinstance(value, (float, np.floating)) else str(value)
