"""Write a comparison as CSV, PNG and a self-contained HTML page."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..analysis.weights import weights_text
from ..errors import StructureError
from ..files.html_page import cells, html_page, image, png, settings_table, table
from ..files.json_file import write_atomically
from .catalogue import BY_NAME
from .experiment_figure import draw_experiment

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    from .experiment import ExperimentResult

FILES = ("table.csv", "comparison.png", "report.html", "experiment.csv", "weights.csv")
_NOTE = (
    "The noise floor is the value for the same number of frames drawn from the reference itself: "
    "median and 95 % interval. A value within the interval is indistinguishable from the reference "
    "at this number of frames; values on the worse side of it are bold. The floor does not show "
    "whether the reference itself is converged."
)


def number(value: float) -> str:
    """Format with three decimals, below 0.01 with two significant digits; empty for NaN."""
    if not math.isfinite(value):
        return ""
    return f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"


def floor_text(row: dict) -> str:
    """Median and interval of the noise floor; empty without one."""
    middle = number(row["floor"])
    low, high = number(row["floor_low"]), number(row["floor_high"])
    return f"{middle} ({low} to {high})" if middle else ""


def beyond_floor(row: dict) -> bool:
    """Whether the value is on the worse side of the floor's interval."""
    value, low, high = row["value"], row["floor_low"], row["floor_high"]
    return {
        "lower": value > high,
        "higher": value < low,
        "reference": value > high or value < low,
    }[row["better"]]


def as_text(table: pandas.DataFrame) -> str:
    """Format the table for a terminal."""
    lines = [f"{'metric':20}{'value':>9}{'reference':>11}  {'noise floor':32}{'unit':5}better"]
    for name, row in table.to_dict("index").items():
        numbers = f"{number(row['value']):>9}{number(row['reference']):>11}"
        lines.append(f"{name:20}{numbers}  {floor_text(row):32}{row['unit']:5}{row['better']}")
    return "\n".join(lines)


def html(
    values: pandas.DataFrame, settings: dict, figure: Figure, experiment: ExperimentResult | None
) -> str:
    """HTML page of a `Comparison`."""
    parts = [image(figure)]
    if not values.empty:
        parts.append(f"<p>{_NOTE}</p>{_metrics(values)}")
    if experiment is not None:
        parts.append(f"<h2>Experiment</h2>{_experiment(experiment)}")
        if not values.empty:
            parts.append(image(draw_experiment(experiment)))
    parts.append(f"<h2>Settings</h2>{settings_table(settings)}")
    return html_page("Comparison of ensembles", "".join(parts))


def _metrics(values: pandas.DataFrame) -> str:
    rows = [
        cells(
            name,
            number(row["value"]),
            number(row["reference"]),
            floor_text(row),
            row["unit"],
            row["better"],
            BY_NAME[name].definition,
            kinds=("", "n beyond" if beyond_floor(row) else "n", "n", "n", "", "", "d"),
        )
        for name, row in values.to_dict("index").items()
    ]
    titles = ("metric", "samples", "reference", "noise floor", "unit", "better", "definition")
    return table(rows, titles)


def _experiment(result: ExperimentResult) -> str:
    rows = [
        cells(label, *(x if isinstance(x, str) else number(x) for x in row.values()),
              kinds=("", *("" if isinstance(x, str) else "n" for x in row.values())))
        for label, row in result.table.to_dict("index").items()
    ]  # fmt: skip
    titles = [name.replace("_", " ") for name in result.table.columns]
    return table(rows, ("observable", *titles))


def save(
    directory: str | os.PathLike,
    values: pandas.DataFrame,
    settings: dict,
    figure: Figure,
    experiment: ExperimentResult | None,
) -> Path:
    """Write the files of `FILES` that there is something for."""
    directory = Path(directory)
    check_free(directory)
    directory.mkdir(parents=True, exist_ok=True)
    if not values.empty:
        write_atomically(directory / "table.csv", values.to_csv().encode())
    if experiment is not None:
        write_atomically(directory / "experiment.csv", experiment.table.to_csv().encode())
        if experiment.reweighting is not None:
            text = weights_text(experiment.reweighting.weights)
            write_atomically(directory / "weights.csv", text.encode())
    write_atomically(directory / "comparison.png", png(figure))
    page = html(values, settings, figure, experiment)
    write_atomically(directory / "report.html", page.encode())
    return directory


def check_free(directory: str | os.PathLike) -> None:
    """Raise StructureError if `directory` contains a comparison."""
    for name in FILES:
        if (Path(directory) / name).exists():
            raise StructureError(f"{directory} holds a {name} already; choose another folder")
