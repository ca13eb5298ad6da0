"""Ensembles on disk: topology.pdb, samples.xtc, report.csv and run.json."""

from __future__ import annotations

import csv
import json
import os
import platform
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import __version__
from ..errors import SLMError, require
from .folder_lock import FolderLock
from .json_file import write_json
from .report_table import Report, report_rows
from .topology_file import write_topology

if TYPE_CHECKING:
    import mdtraj

_FILES = ("samples.xtc", "report.csv")
# Entries of run.json that may differ when a run is resumed; `n` may only grow. The best of n
# frames are others if n grows, and so are frames of a path.
_FREE = ("n", "batch_size", "environment")


class EnsembleWriter:
    """Write an ensemble as it is sampled; use as a context manager.

    Frames go to ``samples.xtc.part`` and ``report.csv.part``. Both are renamed once all frames are
    written, which distinguishes finished from interrupted ensembles. ``progress.json`` records how
    many bytes of them are complete; `resume` truncates the files to that length.

    Parameters
    ----------
    directory : path
        Created if missing.
    run : dict
        The settings that repeat the run; written to ``run.json``.
    resume : bool
        Continue an interrupted run or extend a finished one; an empty folder is allowed.

    Attributes
    ----------
    done, invalid : int
        Number of frames written, and of invalid frames among them.

    Raises
    ------
    SLMError
        The folder cannot be written, another process writes there, it holds an ensemble and
        `resume` is not set, or its ensemble has other settings (the message names one).
    """

    def __init__(self, directory: str | os.PathLike, run: dict, resume: bool = False) -> None:
        self.directory = Path(directory)
        self.run, self.done, self.invalid = run, 0, 0
        self._bytes = dict.fromkeys(_FILES, 0)
        with ExitStack() as lock:  # released if this run cannot use the folder
            lock.enter_context(FolderLock(directory))
            try:
                self._begin(resume)
            except OSError as error:
                raise SLMError(
                    f"{directory}: cannot be written ({error.strerror}); choose another output "
                    "folder"
                ) from None
            self._lock = lock.pop_all()

    def __enter__(self) -> EnsembleWriter:
        return self

    def add(self, trajectory: mdtraj.Trajectory, report: Report, keep: np.ndarray | slice) -> None:
        """Append the frames `keep` of a block, and the report rows of all its frames.

        The XTC step of a frame is its number in the report, which identifies frames after some
        were dropped.
        """
        if not self.done:
            for name in _FILES:
                self._part(name).unlink(missing_ok=True)
            write_topology(trajectory, self.directory / "topology.pdb")
        number = report["frame"][keep]
        if len(number):
            self._append("samples.xtc", self._frames(trajectory.xyz[keep], number))
        self._append("report.csv", report_rows(report, header=not self.done))
        self.done += len(report["frame"])
        self.invalid += int((~report["valid"]).sum())
        self._write_progress()

    def __exit__(self, kind: type | None, *_: object) -> None:
        with self._lock:
            if kind is None and self.done == number_of_frames(self.run):
                for name in _FILES:
                    if self._part(name).exists():
                        self._part(name).replace(self.directory / name)
                self._progress.unlink(missing_ok=True)

    @property
    def _progress(self) -> Path:
        return self.directory / "progress.json"

    def _write_progress(self) -> None:
        progress = {"frames": self.done, "invalid": self.invalid, "bytes": self._bytes}
        write_json(self._progress, progress)

    def _part(self, name: str) -> Path:
        return self.directory / f"{name}.part"

    def _exists(self, name: str) -> bool:
        return self._part(name).exists() or (self.directory / name).exists()

    def _begin(self, resume: bool) -> None:
        """Start a new run in the folder, or continue the one it holds."""
        before = read_run(self.directory) if (self.directory / "run.json").exists() else None
        if before and resume:
            self._continue(before)
        elif existing := next(filter(self._exists, (*_FILES, "topology.pdb")), None):
            raise SLMError(
                f"{self.directory} holds a {existing} already; choose another output folder"
                + (", or continue that ensemble with resume (--resume)" if before else "")
            )
        write_json(self.directory / "run.json", self.run)

    def _continue(self, before: dict) -> None:
        """Read the progress of an earlier run and truncate its files to what is complete."""
        free = set(_FREE) - ({"n"} if self.run.get("best") or self.run.get("path") else set())
        for name in sorted((before.keys() | self.run.keys()) - free):
            if before.get(name) != self.run.get(name):
                raise SLMError(
                    f"{self.directory} holds a run with {name} {before.get(name)!r}, not "
                    f"{self.run.get(name)!r}; choose another output folder or the same settings"
                )
        if self.run["n"] < before["n"]:
            raise SLMError(
                f"{self.directory} holds a run of n = {before['n']}, more than {self.run['n']}; "
                "choose another output folder"
            )
        if self._progress.exists():
            progress = json.loads(self._progress.read_text(encoding="utf-8"))
            self.done, self.invalid = progress["frames"], progress["invalid"]
            self._bytes = progress["bytes"]
        elif (self.directory / "report.csv").exists():  # finished
            with open(self.directory / "report.csv", newline="", encoding="utf-8") as handle:
                valid = [row["valid"] == "1" for row in csv.DictReader(handle)]
            self.done, self.invalid = len(valid), valid.count(False)
            self._bytes = {n: _size(self.directory / n) for n in _FILES}
            if self.done < number_of_frames(
                self.run
            ):  # write it before the files get their .part names back
                self._write_progress()
        for name, size in self._bytes.items():
            part, finished = self._part(name), self.directory / name
            if finished.exists() and self.done < number_of_frames(self.run):
                finished.replace(part)
            found = _size(part if part.exists() else finished)
            if found < size:
                raise SLMError(
                    f"{part}: only {found} bytes of {size} are left; remove the folder and sample "
                    "again"
                )
            if part.exists():
                os.truncate(part, size)

    def _append(self, name: str, data: bytes) -> None:
        with open(self._part(name), "ab") as handle:
            handle.write(data)
        self._bytes[name] += len(data)

    def _frames(self, xyz: np.ndarray, number: np.ndarray) -> bytes:
        """Frames as bytes of an XTC file; XTC files can be concatenated."""
        from mdtraj.formats import XTCTrajectoryFile

        with tempfile.TemporaryDirectory(prefix="openmm_slm_") as folder:  # a path of ASCII only
            path = Path(folder) / "block.xtc"
            with XTCTrajectoryFile(str(path), "w") as handle:
                handle.write(xyz, time=number.astype(np.float32), step=number)
            data = path.read_bytes()
        return data


def number_of_frames(run: dict) -> int:
    """Number of frames that a run writes, from its ``run.json``."""
    return run.get("best") or run["n"]


def environment(device: str, *, torch: bool = True, openmm: bool = False) -> dict[str, object]:
    """Versions, device and threads, on which the rounding errors of a run depend.

    `torch` and `openmm` select the libraries that the run used.
    """
    found = {
        "openmm_slm": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "processor": platform.machine(),
        "device": device,
    }
    if torch:
        library = require("torch")
        found |= {"torch": library.__version__, "threads": library.get_num_threads()}
    if openmm:
        found["openmm"] = require("openmm").__version__
    return found


def read_run(directory: str | os.PathLike) -> dict:
    """Read ``run.json``, given its path or that of the ensemble's folder.

    Raises
    ------
    SLMError
        The file is missing or cannot be read.
    """
    path = Path(directory)
    path = path / "run.json" if path.is_dir() else path
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SLMError(f"{path}: cannot be read as the run.json of an ensemble ({error})") from None
    if not isinstance(values, dict) or not {"sequence", "n", "seed"} <= values.keys():
        raise SLMError(f"{path}: not the run.json of an ensemble (no sequence, n and seed)")
    return values


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
