"""Columns of a report that stay true when frames are relaxed or chosen: state and progress."""

from __future__ import annotations

import os
from pathlib import Path

from .report_table import Report, read_report

COLUMNS = ("state", "progress")


def frame_columns(source: object, n: int) -> Report:
    """`COLUMNS` of n frames of an ensemble, those that it has.

    Parameters
    ----------
    source : object
        Anything with a ``report`` (an Ensemble), the folder of an ensemble, or anything else, which
        has none.
    n : int
        Frames of its trajectory. If only the valid ones were written, the others are left out.
    """
    report = getattr(source, "report", None)
    if isinstance(source, (str, os.PathLike)) and (Path(source) / "report.csv").is_file():
        report = read_report(source)
    if not isinstance(report, dict):
        return {}
    found = {name: report[name] for name in COLUMNS if name in report}
    if found and len(report["valid"]) != n:
        found = {name: values[report["valid"]] for name, values in found.items()}
    return {name: values for name, values in found.items() if len(values) == n}
