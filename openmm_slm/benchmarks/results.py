"""Tables of finished targets on disk: a benchmark that was stopped continues from them."""

from __future__ import annotations

import csv
import json
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from ..errors import SLMError
from ..files.folder_lock import FolderLock
from ..files.json_file import write_json


def hold_folder(directory: str | os.PathLike | None) -> AbstractContextManager:
    """Hold an output folder against other runs; without a folder, nothing is held."""
    return nullcontext() if directory is None else FolderLock(directory)


def begin_folder(directory: str | os.PathLike, run: dict, begun: bool) -> None:
    """Make a folder for figures, with the settings that they depend on in ``run.json``.

    Parameters
    ----------
    directory : path
    run : dict
        Settings.
    begun : bool
        The folder holds figures already. They must be of these settings.

    Raises
    ------
    SLMError
        The folder cannot be used, or holds figures of other settings.
    """
    about = Path(directory) / "run.json"
    try:
        about.parent.mkdir(parents=True, exist_ok=True)
        before = json.loads(about.read_text(encoding="utf-8")) if begun and about.exists() else {}
        for name, value in run.items() if begun else ():
            if before.get(name) != value:
                raise SLMError(
                    f"{directory} holds figures of {name} {before.get(name)!r}, not {value!r}; "
                    "choose another output folder, or the same settings"
                )
        write_json(about, run)
    except OSError as error:
        raise SLMError(
            f"{directory}: cannot be used ({error.strerror}); choose another output folder"
        ) from None


class ResultTable:
    """Rows by target in a folder: a CSV file, whole at any time, and ``run.json``.

    Parameters
    ----------
    directory : path or None
        Made if missing; rows of an earlier run are read. None keeps the rows in memory.
    run : dict
        Settings that the figures depend on.
    name : str
        Of the CSV file. A folder may hold several tables of one run.

    Attributes
    ----------
    rows : dict of dict of float
        Figures of each finished target. Numbers are written with all digits.

    Raises
    ------
    SLMError
        The folder cannot be written, or holds figures of other settings.
    """

    def __init__(
        self, directory: str | os.PathLike | None, run: dict, name: str = "targets"
    ) -> None:
        self.rows: dict[str, dict[str, float]] = {}
        self.path = None if directory is None else Path(directory) / f"{name}.csv"
        if self.path is None:
            return
        folder = self.path.parent
        found = self.path.exists()
        begin_folder(
            folder, run, found or (folder / "run.json").exists() and any(folder.glob("*.csv"))
        )
        if found:
            self._read()

    def _read(self) -> None:
        try:
            with open(self.path, newline="", encoding="utf-8") as handle:
                for row in csv.DictReader(handle, strict=True):
                    name = row.pop("id")
                    self.rows[name] = {key: float(value) for key, value in row.items()}
        except (KeyError, TypeError, ValueError, csv.Error):
            raise SLMError(
                f"{self.path}: not the figures of a benchmark; choose another output folder"
            ) from None

    def add(self, name: str, row: dict[str, float]) -> None:
        """Write one more target."""
        self.rows[name] = row
        if self.path is None:
            return
        temporary = self.path.with_name(self.path.name + ".tmp")
        with open(temporary, "w", newline="", encoding="utf-8") as handle:
            rows = csv.writer(handle)
            rows.writerow(["id", *row])
            rows.writerows([key, *map(repr, each.values())] for key, each in self.rows.items())
        temporary.replace(self.path)
