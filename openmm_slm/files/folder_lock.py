"""A lock that allows one process at a time in an output folder."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from ..errors import SLMError, require

logger = logging.getLogger(__name__)


class FolderLock:
    """Lock a folder against other runs; use as a context manager.

    The operating system releases the lock when the process ends, also after ``kill -9``. If the
    file system has no locks, the run proceeds without one.

    Parameters
    ----------
    directory : path
        Created if missing.
    name : str
        Name of the lock file.

    Raises
    ------
    SLMError
        Another run has locked the folder, or the folder cannot be written.
    """

    def __init__(self, directory: str | os.PathLike, name: str = ".lock") -> None:
        self.folder = Path(directory)
        self._lock = require("filelock").FileLock(str(self.folder / name), timeout=0)

    def __enter__(self) -> FolderLock:
        library = require("filelock")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except library.Timeout:
            raise SLMError(
                f"{self.folder} is in use: another process writes there; wait until it is done, "
                "or choose another output folder"
            ) from None
        except NotImplementedError:
            logger.warning(
                "%s: no locks on this file system; do not start a second run in this folder",
                self.folder,
            )
        except OSError as error:
            raise SLMError(
                f"{self.folder}: cannot be written ({error.strerror}); choose another output folder"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()
