"""Learning curves of training runs: python tools/plot_training.py RUN... -o curves.png.

Loss and what the run is judged by on validation chains, against the residues seen, from the
``log.csv`` and ``validation.csv`` of run directories; annealing (``decay_*.csv``) is drawn dashed.
Runs of one kind share a row of axes.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

# Columns of validation.csv that judge a run, and what they are; by kind of run.
JUDGED = (
    {"nats_per_token": "nats per token"},
    {"chi1_pass1": "chi1 within 40 degrees, first pass", "chi1_pass3": "after two more passes"},
    {"local": "local error, A", "rmsd_128": "CA RMSD, L <= 128, A", "lddt": "lDDT (CA)"},
)


def read(path: Path) -> list[dict[str, float]]:
    """Rows of a log; none where there is no file, or where its last line is cut."""
    if not path.exists():
        return []
    with open(path, newline="") as handle:
        rows = list(csv.DictReader(handle))
    return [
        {name: float(value) for name, value in row.items()}
        for row in rows
        if None not in row.values() and None not in row
    ]


def judged(row: dict[str, float]) -> dict[str, str]:
    """Columns of a row of validation.csv that judge the run, and their labels."""
    for kind in JUDGED:
        if kind.keys() & row.keys():
            return {name: kind[name] for name in kind if name in row}
    return {}


def running_mean(values: list[float], width: int) -> list[float]:
    """Mean of up to `width` values up to each."""
    starts = [max(0, i + 1 - width) for i in range(len(values))]
    return [sum(values[a : i + 1]) / (i + 1 - a) for i, a in enumerate(starts)]


def draw(runs: list[Path], width: int = 10):
    """Figure of the runs; the loss is a running mean over `width` rows of the log."""
    from matplotlib.figure import Figure

    found = {run: (read(run / "log.csv"), read(run / "validation.csv")) for run in runs}
    for run, (log, _) in found.items():
        if not log:
            raise SystemExit(f"{run}: no rows in log.csv; give directories of training runs")
    kinds: dict[tuple[tuple[str, str], ...], list[Path]] = {}
    for run, (_, validation) in found.items():
        names = judged(validation[-1]) if validation else {}
        kinds.setdefault(tuple(names.items()), []).append(run)
    columns = 1 + max(map(len, kinds))
    figure = Figure((3.6 * columns, 2.8 * len(kinds)), layout="constrained")
    grid = figure.subplots(len(kinds), columns, squeeze=False)
    for row, (names, members) in zip(grid, kinds.items(), strict=True):
        row[0].set_title(f"loss, mean of {width} rows of the log", fontsize=9)
        for axes, (_, label) in zip(row[1:], names, strict=False):
            axes.set_title(label, fontsize=9)
        for axes in row[1 + len(names) :]:
            axes.set_axis_off()
        for axes in row:
            axes.set_xlabel("residues seen, millions", fontsize=9)
        for number, run in enumerate(members):
            for prefix, style in (("", "-"), ("decay_", "--")):
                look = {"color": f"C{number}", "linestyle": style}
                log = read(run / f"{prefix}log.csv")
                loss = running_mean([each["loss"] for each in log], width)
                label = None if prefix else run.name
                row[0].plot([each["residues"] / 1e6 for each in log], loss, label=label, **look)
                rows = read(run / f"{prefix}validation.csv")
                seen = [each["residues"] / 1e6 for each in rows]
                for axes, (name, _) in zip(row[1:], names, strict=False):
                    axes.plot(seen, [each[name] for each in rows], marker=".", **look)
        row[0].legend(fontsize=8)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--width", type=int, default=10, help="rows of the running mean")
    options = parser.parse_args()
    draw(options.runs, options.width).savefig(options.output, dpi=110)
    for run in options.runs:
        rows = read(run / "decay_validation.csv") or read(run / "validation.csv")
        if rows:
            last = ", ".join(f"{label} {rows[-1][n]:.4g}" for n, label in judged(rows[-1]).items())
            print(f"{run.name}: step {rows[-1]['step']:.0f}, {rows[-1]['residues'] / 1e6:.2f} "
                  f"million residues: {last}")  # fmt: skip


if __name__ == "__main__":
    main()
