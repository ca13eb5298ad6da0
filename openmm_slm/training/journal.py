"""The tables a training run leaves to read."""

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
        Where the run stands. Rows after it belong to a piece of the run that was lost, and are
        taken out.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        if path.exists():
            with open(path, newline="") as handle:
                header, *rows = csv.reader(handle)
            kept = [row for row in rows if len(row) == len(header) and float(row[0]) <= step]
            temporary = path.with_suffix(".tmp")
            with open(temporary, "w", newline="") as handle:
                csv.writer(handle).writerows([header, *kept])
            temporary.replace(path)

    def write(self, row: dict) -> None:
        """Append one row; the first says what the columns are."""
        new = not self.path.exists()
        with open(self.path, "a", newline="") as handle:
            writer = csv.writer(handle)
            if new:
                writer.writerow(row)
            writer.writerow(
                f"{value.item() if torch.is_tensor(value) else value:.10g}"
                for value in row.values()
            )
