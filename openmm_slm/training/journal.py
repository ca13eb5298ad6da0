"""What a training run leaves to read, and how it is told to stop."""

from __future__ import annotations

import csv
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list that SIGTERM or Ctrl-C fills instead of ending the process (a second one does)."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # only the main thread may handle signals
        return

    def note(number: int, _: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    before = {which: signal.signal(which, note) for which in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)
