"""HDF5 file of an ensemble, in MDTraj's format: frames and topology in one file."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import require
from .frame_reader import FrameReader

HDF5 = "samples.h5"


def check_hdf5() -> None:
    """Raise MissingDependencyError if PyTables (the extra ``hdf5``) is missing."""
    require("tables", "hdf5")


def write_hdf5(directory: str | os.PathLike) -> Path:
    """Write ``samples.h5`` beside ``samples.xtc`` in the folder of a finished ensemble.

    ``mdtraj.load("samples.h5")`` needs no other file. An older ``samples.h5`` is replaced. The time
    of a frame is its number in the report.

    Raises
    ------
    SLMError
        The folder has no frames.
    MissingDependencyError
        PyTables (the extra ``hdf5``) is missing.
    """
    check_hdf5()
    file = require("mdtraj.formats").HDF5TrajectoryFile
    reader, path = FrameReader(directory), Path(directory) / HDF5
    part = path.with_name(f".part.{HDF5}")
    with file(str(part), "w", force_overwrite=True) as handle:
        handle.topology = reader.topology
        for block in reader.blocks():
            handle.write(block.xyz, time=block.time)
    part.replace(path)
    return path
