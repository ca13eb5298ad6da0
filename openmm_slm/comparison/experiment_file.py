"""Read measured averages from JSON or CSV files; every value is checked."""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

from ..errors import StructureError

RG, END_TO_END, COUPLING = "rg", "end_to_end", "3J_HN_HA"
#: The two protons of glycine, told apart; `COUPLING` of a glycine is the mean of both.
COUPLING_HA2, COUPLING_HA3 = "3J_HN_HA2", "3J_HN_HA3"
_LENGTHS = {"nm": 1.0, "Å": 0.1, "A": 0.1, "angstrom": 0.1}
_FREQUENCIES = {"Hz": 1.0}
#: Units of each observable, as factors to nm or Hz.
UNITS = {
    RG: _LENGTHS,
    END_TO_END: _LENGTHS,
    COUPLING: _FREQUENCIES,
    COUPLING_HA2: _FREQUENCIES,
    COUPLING_HA3: _FREQUENCIES,
}
COLUMNS = ("observable", "value", "error", "unit", "residue")
_RESIDUE = re.compile(r"(?:([^\s:,]+):)?(-?\d+)([A-Za-z]?)(?:-(-?\d+)([A-Za-z]?))?")
_CHAIN = re.compile(r"[^\s:,]+")


@dataclass(frozen=True)
class Place:
    """Residues as a file names them; None where it names none.

    Attributes
    ----------
    chain : str or None
    first, last : (int, str) or None
        Residue number and insertion code.
    """

    chain: str | None = None
    first: tuple[int, str] | None = None
    last: tuple[int, str] | None = None


@dataclass(frozen=True)
class Measurement:
    """A measured average.

    Attributes
    ----------
    observable : str
        One of `UNITS`.
    value, error : float
        nm or Hz.
    unit : str
        As in the file.
    residue : str
        As in the file, for example "A:12".
    place : Place
        The same, parsed.
    source : str
        File and row, for messages.
    """

    observable: str
    value: float
    error: float
    unit: str
    residue: str
    place: Place
    source: str

    @property
    def factor(self) -> float:
        """nm or Hz per unit of the file."""
        return UNITS[self.observable][self.unit]

    @property
    def label(self) -> str:
        """Observable and residue: "3J_HN_HA A:12"."""
        return f"{self.observable} {self.residue}".strip()


def read_experiment(
    experiment: str | os.PathLike | Iterable[Mapping[str, object]],
) -> list[Measurement]:
    """Measurements of a JSON or CSV file, or of records in memory.

    Parameters
    ----------
    experiment : path or iterable of dict
        A CSV file has the columns observable, value, error, unit and residue. A JSON file has a
        list of objects with these keys. `residue` may be left out if an observable needs none.

    Raises
    ------
    StructureError
        The file is missing, empty or of another form; an observable or unit is unknown; a value or
        error is missing, not finite or negative; an observable is there twice. The message names
        the row.
    """
    if isinstance(experiment, (str, os.PathLike)):
        path = Path(experiment)
        records, name = _records(path), f"{path}: "
    else:
        records, name = list(experiment), "experiment: "
    if not records:
        raise StructureError(f"{name}no measurement; give at least one")
    found = [_measurement(record, f"{name}row {k}") for k, record in enumerate(records, 1)]
    seen: dict[tuple, Measurement] = {}
    for each in found:
        before = seen.setdefault((each.observable, each.residue), each)
        if before is not each:
            raise StructureError(
                f"{each.source}: {each.label} is there already ({before.source.split(': ')[-1]}); "
                "keep one, or their mean with its error"
            )
    return found


def _records(path: Path) -> list:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise StructureError(f"{path}: cannot be read ({error})") from None
    if not text.strip():
        raise StructureError(f"{path}: the file is empty; give at least one measurement")
    if path.suffix.lower() == ".json":
        return _from_json(text, path)
    if path.suffix.lower() == ".csv":
        return _from_csv(text, path)
    raise StructureError(f"{path}: give a file whose name ends with .json or .csv")


def _from_json(text: str, path: Path) -> list:
    try:
        records = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StructureError(f"{path}: not readable as JSON ({error}); correct the file") from None
    if not isinstance(records, list):
        raise StructureError(
            f"{path}: the file has a {type(records).__name__}; give a list of objects: "
            '[{"observable": "rg", "value": 1.38, "error": 0.05, "unit": "nm"}]'
        )
    return records


def _from_csv(text: str, path: Path) -> list:
    try:
        header, *rows = (row for row in csv.reader(text.splitlines(), strict=True) if any(row))
    except csv.Error as error:
        raise StructureError(f"{path}: not readable as CSV ({error}); correct the file") from None
    header = [name.strip() for name in header]
    if {*header} - {*COLUMNS} or {*COLUMNS[:4]} - {*header} or len({*header}) < len(header):
        raise StructureError(
            f"{path}: the columns are {', '.join(header)}; give {', '.join(COLUMNS)}, each once "
            "(residue may be left out)"
        )
    for k, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise StructureError(
                f"{path}: row {k} has {len(row)} fields for {len(header)} columns; correct it"
            )
    return [dict(zip(header, map(str.strip, row), strict=True)) for row in rows]


def _measurement(record: object, source: str) -> Measurement:
    if not isinstance(record, Mapping):
        raise StructureError(f"{source} is {record!r}; give an object with {', '.join(COLUMNS)}")
    unknown = [str(key) for key in record if key not in COLUMNS]
    if unknown:
        raise StructureError(f"{source} has {unknown[0]!r}; known are {', '.join(COLUMNS)}")
    observable, unit = (str(record.get(key) or "").strip() for key in ("observable", "unit"))
    if observable not in UNITS:
        raise StructureError(
            f"{source}: observable is {observable!r}; known are {', '.join(UNITS)}"
        )
    if unit not in UNITS[observable]:
        raise StructureError(
            f"{source}: unit of {observable} is {unit!r}; give {' or '.join(UNITS[observable])}"
        )
    value = _number(record.get("value"), "value", source)
    error = _number(record.get("error"), "error", source)
    residue = "" if record.get("residue") is None else str(record["residue"]).strip()
    factor = UNITS[observable][unit]
    return Measurement(
        observable, factor * value, factor * error, unit, residue,
        _place(observable, residue, source), source,
    )  # fmt: skip


def _number(given: object, name: str, source: str) -> float:
    """A finite number above 0; couplings of 0 Hz do not occur either."""
    if given is None or given == "":
        raise StructureError(f"{source}: {name} is missing; every measurement needs one")
    try:
        number = float(given) if isinstance(given, (str, Real)) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if isinstance(given, bool) or not math.isfinite(number) or number <= 0:
        raise StructureError(f"{source}: {name} is {given!r}; give a number above 0")
    return number


def _place(observable: str, residue: str, source: str) -> Place:
    """Parse "A:12", "12", "A:5-60" or "A", as the observable allows."""
    if observable == RG:
        if residue:
            raise StructureError(
                f"{source}: rg has the residue {residue!r}; it is that of all protein atoms, "
                "leave residue empty"
            )
        return Place()
    found = _RESIDUE.fullmatch(residue)
    chain, first, code, last, last_code = found.groups() if found else (None,) * 5
    start = (int(first), code) if first else None
    end = (int(last), last_code) if last else None
    if observable == END_TO_END:
        if not residue:
            return Place()
        if end:
            return Place(chain, start, end)
        if not found and _CHAIN.fullmatch(residue):
            return Place(residue)
        raise StructureError(
            f"{source}: end_to_end has the residue {residue!r}; leave it empty, or give a chain "
            "(A) or two residues (A:5-60)"
        )
    if not start or end:
        raise StructureError(
            f"{source}: {observable} has the residue {residue!r}; give chain and number, as in A:12"
        )
    return Place(chain, start)
