"""Figures of finished targets on disk, so that a long benchmark can be stopped and continued."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

from ..errors import SLMError
from ..files.json_file import write_json


def begin_folder(directory: str | os.PathLike, run: dict, begun: bool) -> None:
    """Make a folder for figures, with the settings that they depend on in ``run.json``.

    Parameters
    ----------
    directory : path
    run : dict
        Settings.
    begun : bool
        There are figures already, which must be of these settings.

    Raises
    ------
    SLMError
        The folder cannot be used, or holds figures of other settings.
    """
    about = Path(directory) / "run.json"
    try:
        about.parent.mkdir(parents=True, exist_ok=True)
        before = json.loads(about.read_text()) if begun and about.exists() else {}
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
    """Rows by target in a folder: ``targets.csv``, whole at any time, and ``run.json``.

    Parameters
    ----------
    directory : path
        Made if missing; what an earlier run left there is read.
    run : dict
        Settings that the figures depend on.

    Attributes
    ----------
    rows : dict of dict of float
        Figures of each finished target. Numbers are written so that they are read back as they
        were.

    Raises
    ------
    SLMError
        The folder cannot be written, or holds figures of other settings.
    """

    def __init__(self, directory: str | os.PathLike, run: dict) -> None:
        self.path = Path(directory) / "targets.csv"
        self.rows: dict[str, dict[str, float]] = {}
        begun = self.path.exists()
        begin_folder(self.path.parent, run, begun)
        if begun:
            self._read()

    def _read(self) -> None:
        try:
            with open(self.path, newline="") as handle:
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
        temporary = self.path.with_name(self.path.name + ".tmp")
        with open(temporary, "w", newline="") as handle:
            rows = csv.writer(handle)
            rows.writerow(["id", *row])
            rows.writerows([key, *map(repr, each.values())] for key, each in self.rows.items())
        temporary.replace(self.path)
