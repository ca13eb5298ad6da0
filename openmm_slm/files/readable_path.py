"""Paths that MDTraj reads: ASCII only, with an extension that it knows."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .formats import mdtraj_extension


class ReadablePath:
    """Another name of a file that MDTraj takes, as long as this object lives.

    Parameters
    ----------
    path : Path
        An existing file. A path stays as it is if it has ASCII characters only and an extension
        that tells MDTraj the format. Another one gets a symbolic link in the temporary folder.
    """

    def __init__(self, path: Path) -> None:
        self._folder: tempfile.TemporaryDirectory | None = None
        self.path = path
        wanted = mdtraj_extension(path) if path.is_file() else path.suffix
        if not (os.fspath(path.absolute()).isascii() and path.name.endswith(wanted)):
            self._folder = tempfile.TemporaryDirectory(prefix="openmm_slm_")
            self.path = Path(self._folder.name) / f"file{wanted}"
            self.path.symlink_to(path.absolute())
