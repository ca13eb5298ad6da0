"""Reports on frames: the file ``report.csv``, one row per frame."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import numpy as np

from ..errors import SLMError

_UNITS = ("_nm", "_nats")  # ends of the names of columns

Report = dict[str, np.ndarray]  # columns by name, one value per frame


def read_report(directory: str | os.PathLike) -> Report:
    """Read ``report.csv`` of an ensemble's folder.

    Raises
    ------
    SLMError
        The file is missing or not a report.
    """
    path = Path(directory) / "report.csv"
    try:
        with open(path, newline="", encoding="utf-8") as handle:
            header, *rows = csv.reader(handle, strict=True)
        columns = zip(header, zip(*rows, strict=True), strict=True)
        report = {name: _column(name, values) for name, values in columns}
    except (OSError, ValueError, csv.Error) as error:
        raise SLMError(f"{path}: cannot be read as a report ({error})") from None
    if not {"frame", "valid"} <= report.keys():
        raise SLMError(f"{path}: not the report of an ensemble (no frame and valid)")
    return report


def _column(name: str, texts: tuple[str, ...]) -> np.ndarray:
    if name in ("valid", "finite", "valid_before"):
        return np.array(texts) == "1"
    # Lengths and log probabilities are no counts, even if all of them are whole numbers.
    for kind in (float,) if name.endswith(_UNITS) else (int, float):
        try:
            return np.array(texts, kind)
        except ValueError:
            continue
    return np.array(texts)


def report_rows(report: Report, header: bool) -> bytes:
    """Rows of ``report.csv`` as bytes, after the column names if `header`."""
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    if header:
        rows.writerow(report)
    for row in zip(*report.values(), strict=True):
        rows.writerow(_text(value) for value in row)
    return text.getvalue().encode()


def _text(value: object) -> str:
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    return f"{value:.6g}" if isinstance(value, (float, np.floating)) else str(value)
