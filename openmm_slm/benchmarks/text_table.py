"""Tables of figures as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Column(NamedTuple):
    """How a figure is shown.

    Attributes
    ----------
    figure : str
        Its key in a row.
    digits : int or None
        After the point; None for ``1.2e-07``.
    factor : float
        By which it is multiplied, as 10 from nm to Å.
    """

    figure: str
    digits: int | None
    factor: float = 1.0

    def text(self, row: Mapping[str, float]) -> str:
        """The figure of one row; a dash if it is absent or not finite."""
        value = self.factor * row.get(self.figure, np.nan)
        if not np.isfinite(value):
            return "-"
        return f"{value:.1e}" if self.digits is None else f"{value:.{self.digits}f}"


def text_table(
    title: str, rows: Mapping[str, Mapping[str, float]], columns: Mapping[str, Column]
) -> str:
    """The title, a line of headings, and a line for each row."""
    width = max(map(len, rows), default=0) + 1
    widths = [max(11, len(heading)) for heading in columns]
    lines = [title, _line("", columns, width, widths)]
    for label, row in rows.items():
        cells = [column.text(row) for column in columns.values()]
        lines.append(_line(label, cells, width, widths))
    return "\n".join(lines)


def _line(label: str, cells, width: int, widths: list[int]) -> str:
    return f"{label:{width}}" + "".join(
        f" {cell:>{size}}" for cell, size in zip(cells, widths, strict=True)
    )
