"""Paths for MDTraj's trajectory formats, which take ASCII only."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


class AsciiPath:
    """Another name of a file that has only ASCII characters, as long as this object lives.

    Parameters
    ----------
    path : Path
        An existing file. A path of ASCII characters stays as it is; another one gets a symbolic
        link in the temporary folder.
    """

    def __init__(self, path: Path) -> None:
        self._folder: tempfile.TemporaryDirectory | None = None
        self.path = path
        if not os.fspath(path.absolute()).isascii():
            self._folder = tempfile.TemporaryDirectory(prefix="openmm_slm_")
            self.path = Path(self._folder.name) / f"file{''.join(path.suffixes[-2:])}"
            self.path.symlink_to(path.absolute())
