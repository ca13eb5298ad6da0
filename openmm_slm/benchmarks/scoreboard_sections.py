"""Sections of a scoreboard: rows with intervals and baselines, as JSON files and as text."""

from __future__ import annotations

import json
import math
import os
import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import SLMError
from ..files.json_file import write_json
from .results import begin_folder

WIDTH = 100
_HEAD = (35, 23, 9, 11, 4)  # figure, value, each of three baselines, at least, n
_BASELINES = 3


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes
    ----------
    figure : str
    value, low, high : float
        The figure and its 95 % interval; NaN where there is none.
    n : int
        Number of proteins (or frames).
    baselines : dict of str to float
        The same figure of methods without a model.
    target : str
        The least value that the project asks for.
    digits : int
        After the point.
    """

    figure: str
    value: float
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    baselines: dict[str, float] = field(default_factory=dict)
    target: str = ""
    digits: int = 3

    def line(self, names: Iterable[str]) -> str:
        """The row in columns; `names` are the baselines'."""
        value = self._number(self.value)
        if math.isfinite(self.low):
            value += f" [{self._number(self.low)}, {self._number(self.high)}]"
        rest = [self._number(self.baselines.get(name, math.nan)) for name in names]
        return columns(f"  {self.figure}", value, rest, self.target, str(self.n))

    def _number(self, value: float) -> str:
        return f"{value:.{self.digits}f}" if math.isfinite(value) else "-"


@dataclass(frozen=True)
class Section:
    """Rows that are measured together.

    Attributes
    ----------
    title : str
        Subset and numbers of samples.
    rows : tuple of Row
    seconds : float
        Wall time; 0 if it was not measured.
    """

    title: str
    rows: tuple[Row, ...] = ()
    seconds: float = 0.0

    def lines(self) -> list[str]:
        """A heading, the names of the columns, a line for each row."""
        heading = textwrap.wrap(self.title, WIDTH, break_on_hyphens=False)
        if not self.rows:
            return heading
        names = list(dict.fromkeys(name for row in self.rows for name in row.baselines))
        head = columns("", "value [95 %]", names, "at least", "n")
        return [*heading, head, *(row.line(names) for row in self.rows)]


def columns(figure: str, value: str, baselines: list[str], target: str, n: str) -> str:
    """A line of the table."""
    one, two, three, four, five = _HEAD
    padded = [*baselines, *[""] * (_BASELINES - len(baselines))]
    middle = "".join(f"{text:>{three}}" for text in padded)
    return f"{figure:{one}}{value:>{two}}{middle}{target:>{four}}{n:>{five}}".rstrip()


class Sections:
    """Finished sections by name in a folder, each a JSON file; without a folder, in memory.

    Parameters
    ----------
    directory : path or None
        Made if missing; sections of an earlier run are read.
    run : dict
        Settings that the figures depend on.

    Raises
    ------
    SLMError
        The folder cannot be written, or holds figures of other settings.
    """

    def __init__(self, directory: str | os.PathLike | None, run: dict) -> None:
        self.directory = None if directory is None else Path(directory)
        self.found: dict[str, Section] = {}
        if self.directory is None:
            return
        paths = self._paths()
        begin_folder(self.directory, run, begun=bool(paths))
        for path in paths:
            self.found[path.name.removesuffix(_END)] = _read(path)

    def _paths(self) -> list[Path]:
        return sorted(self.directory.glob(f"*{_END}"))

    def add(self, name: str, section: Section) -> None:
        """Write one more section."""
        self.found[name] = section
        if self.directory is not None:
            write_json(self.directory / f"{name}{_END}", _plain(asdict(section)))


_END = ".section.json"


def _plain(value: object) -> object:
    """The value without NaN and NumPy numbers, which JSON does not have."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def _read(path: Path) -> Section:
    """Read a section."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        rows = []
        for row in values.pop("rows"):
            named = {name: math.nan if row[name] is None else row[name] for name in row}
            named["baselines"] = {
                name: math.nan if value is None else value
                for name, value in row["baselines"].items()
            }
            rows.append(Row(**named))
        return Section(rows=tuple(rows), **values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise SLMError(
            f"{path}: not a section of a scoreboard; remove it, or choose another output folder"
        ) from None
