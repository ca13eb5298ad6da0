"""One process at a time in an output folder."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from ..errors import SLMError, require

logger = logging.getLogger(__name__)


class FolderLock:
    """Holds a folder against other runs; use as a context manager.

    The lock is the operating system's, which releases it when the process ends, however it ends:
    ``kill -9`` leaves a file behind, not a lock. Where the file system has no locks, the run goes
    on without one.

    Parameters
    ----------
    directory : path
        Made if missing.
    name : str
        Name of the lock file.

    Raises
    ------
    SLMError
        Another run holds the folder, or it cannot be written.
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
                "%s: no locks on this file system; start no second run in this folder", self.folder
            )
        except OSError as error:
            raise SLMError(
                f"{self.folder}: cannot be written ({error.strerror}); choose another output folder"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()
