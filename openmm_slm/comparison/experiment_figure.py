"""Figure of an ensemble beside measured averages; needs Matplotlib (the extra ``plots``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..plots.drawing import REFERENCE, SAMPLES, WRONG, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .experiment import ExperimentResult

_LABELLED = 30  # observables with a label of their own
_SPREAD = 4  # distributions shown


def draw_experiment(result: ExperimentResult) -> Figure:
    """Deviations in units of their errors, and distributions of the worst observables."""
    figure = new_figure(11.7, 5.0)
    grid = figure.add_gridspec(2, 4)
    _deviations(figure.add_subplot(grid[:, :2]), result)
    worst = np.argsort(-np.abs(result.table["chi"].to_numpy()), kind="stable")[:_SPREAD]
    for k, column in enumerate(sorted(worst.tolist())):
        row = slice(None) if len(worst) == 1 else k if len(worst) == 2 else k // 2
        columns = 2 + k % 2 if len(worst) > 2 else slice(2, None)
        _distribution(figure.add_subplot(grid[row, columns]), result, column)
    return figure


def _deviations(ax: Axes, result: ExperimentResult) -> None:
    table, new = result.table, result.reweighting
    rows = np.arange(len(table))
    ax.axvspan(-1, 1, color="#dddddd", lw=0)
    ax.plot(table["chi"], rows, "o", color=REFERENCE if new else SAMPLES, ms=4, label="samples")
    title = f"chi-square {result.chi_square:.2f}"
    if new:
        ax.plot(table["reweighted_chi"], rows, "o", color=SAMPLES, ms=4, label="reweighted")
        ax.legend(frameon=False, fontsize=8)
        title += f", reweighted {new.chi_square:.2f} ({new.effective_share:.0%} of the frames)"
    if len(table) <= _LABELLED:
        ax.set_yticks(rows, table.index)
    ax.tick_params(labelsize=7)
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.set_xlabel("deviation / error")
    ax.set_title(title, fontsize=10)


def _distribution(ax: Axes, result: ExperimentResult, column: int) -> None:
    row, new = result.table.iloc[column], result.reweighting
    values = result.values[:, column] * result.per_unit[column]
    edges = np.histogram_bin_edges(values, 30)
    sides = [(result.prior_weights, REFERENCE if new else SAMPLES)]
    sides += [(new.weights, SAMPLES)] if new else []
    for weights, colour in sides:
        ax.hist(values, edges, weights=weights, density=True, histtype="step", color=colour)
    low, high = row["experiment"] - row["error"], row["experiment"] + row["error"]
    ax.axvspan(low, high, color=WRONG, alpha=0.3, lw=0)
    ax.set_yticks([])
    ax.tick_params(labelsize=7)
    ax.set_title(result.table.index[column], fontsize=8)
    ax.set_xlabel(row["unit"], fontsize=8)
