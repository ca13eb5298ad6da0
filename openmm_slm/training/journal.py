"""CSV logs of a training run."""

from __future__ import annotations

import csv
from pathlib import Path

import torch


class Journal:
    """Append rows to a CSV file whose first column is the step.

    Parameters
    ----------
    path : Path
    step : int
        Current step. Later rows are removed: they were written after the checkpoint from which
        the run continues.

    Attributes
    ----------
    last : float
        Step of the last row; -1 before the first.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path, self.last = path, -1.0
        if path.exists():
            with open(path, newline="", encoding="utf-8") as handle:
                rows = list(csv.reader(handle))
            if not rows:  # the run was killed before it wrote the header
                path.unlink()
                return
            header, *rows = rows
            kept = [row for row in rows if len(row) == len(header) and float(row[0]) <= step]
            temporary = path.with_suffix(".tmp")
            with open(temporary, "w", newline="", encoding="utf-8") as handle:
                csv.writer(handle).writerows([header, *kept])
            temporary.replace(path)
            self.last = float(kept[-1][0]) if kept else -1.0

    def write(self, row: dict) -> None:
        """Append one row; the keys of the first row become the header."""
        new = not self.path.exists()
        with open(self.path, "a", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle)
            if new:
                writer.writerow(row)
            writer.writerow(
                f"{value.item() if torch.is_tensor(value) else value:.10g}"
                for value in row.values()
            )
        self.last = float(next(iter(row.values())))
