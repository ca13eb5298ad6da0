"""One process at a time in an output folder."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
from pathlib import Path

from ..errors import SLMError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

logger = logging.getLogger(__name__)


class FolderLock:
    """Holds a folder against other runs; use as a context manager.

    The lock is the kernel's (``flock`` of a file in the folder), which gives it up when the process
    ends, however it ends: what ``kill -9`` leaves behind is a file, not a lock. Where the platform
    or the file system has no locks, the run goes on without one.

    Parameters
    ----------
    directory : path
        Made if missing.
    name : str
        Of the file; it is gone afterwards.

    Raises
    ------
    SLMError
        Another run holds the folder, or it cannot be written.
    """

    def __init__(self, directory: str | os.PathLike, name: str = ".lock") -> None:
        self.path = Path(directory) / name

    def __enter__(self) -> FolderLock:
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "a+")
            while self._take() and not self._is_there():
                self._file = open(self.path, "a+")
            self._file.truncate(0)
            self._file.write(f"process {os.getpid()} on {platform.node()}\n")
            self._file.flush()
        except OSError as error:
            raise SLMError(
                f"{folder}: cannot be written ({error.strerror}); choose another output folder"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        with self._file, contextlib.suppress(OSError):
            self.path.unlink()  # while it is locked: nobody else has it

    def _take(self) -> bool:
        """Lock the file; False where there are no locks."""
        if fcntl is None:
            return False
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with self._file:
                self._file.seek(0)
                holder = self._file.read().strip() or "another process"
            raise SLMError(
                f"{self.path.parent} is in use: {holder} writes there; wait until it is done, or "
                "choose another output folder"
            ) from None
        except OSError as error:
            logger.warning(
                "%s: no locks on this file system (%s); start no second run in this folder",
                self.path.parent, error.strerror,
            )  # fmt: skip
            return False
        return True

    def _is_there(self) -> bool:
        """Whether the file still bears the name: who held it before may have removed it."""
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self._file.fileno()), os.stat(self.path)):
                return True
        self._file.close()
        return False
