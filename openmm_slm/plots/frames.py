"""Plot of a report: values per frame, and the reasons for invalid frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..analysis.features import radius_of_gyration
from ..errors import StructureError
from ..validity.reasons import failures
from .drawing import SAMPLES, WRONG, new_figure
from .residues import ca_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..protein.trajectory import HasTrajectory

PANELS = {
    "log_prob_nats": "log-probability\n(nats)",
    "predicted_lddt": "predicted\nlDDT",
    "rg_nm": "radius of\ngyration (nm)",
    "energy_after_kj_mol": "energy\n(kJ/mol)",
}


def plot_report(
    report: dict[str, np.ndarray] | HasTrajectory, figure: Figure | None = None
) -> list[Axes]:
    """Plot values per frame, and the reasons why frames are invalid.

    Parameters
    ----------
    report : Ensemble, or dict of ndarray [F]
        A report from `Ensemble.report`, `openmm_slm.geometry_report` or `openmm_slm.relax`. The
        panels show log-probability, predicted lDDT, radius of gyration (``rg_nm``; computed for an
        Ensemble) and energy, as far as the report has them.
    figure : matplotlib.figure.Figure, optional
        An empty figure to draw on.

    Returns
    -------
    list of matplotlib.axes.Axes
        From top to bottom. The last has a mark for each frame and reason. Invalid frames are
        orange.

    Raises
    ------
    StructureError
        `report` is not a report.
    """
    if hasattr(report, "trajectory"):
        ca = report.trajectory.xyz[:, ca_rows(report.trajectory.topology)[1]]
        report = {**report.report, "rg_nm": radius_of_gyration(ca)}
    try:
        valid, found = np.asarray(report["valid"], bool), failures(report)
    except (KeyError, TypeError, IndexError):
        raise StructureError(
            "not a report of frames; give an Ensemble, its report, or that of "
            "openmm_slm.geometry_report or openmm_slm.relax"
        ) from None
    frame = np.asarray(report.get("frame", np.arange(len(valid))))
    reasons = {what: bad for what, bad in found.items() if bad.any()}
    columns = [name for name in PANELS if name in report and np.isfinite(report[name]).any()]
    heights = [1.0] * len(columns) + [0.25 + 0.2 * max(1, len(reasons))]
    figure = new_figure(8.5, 0.8 + 1.15 * sum(heights)) if figure is None else figure
    axes = list(
        figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights).flat
    )
    size = float(np.clip(4000 / max(len(valid), 1), 2, 18))
    for ax, name in zip(axes, columns, strict=False):
        for kind, colour, marker in ((~valid, WRONG, "x"), (valid, SAMPLES, "o")):
            ax.scatter(frame[kind], report[name][kind], s=size, c=colour, marker=marker,
                       linewidths=0.0 if marker == "o" else 0.8, rasterized=True)  # fmt: skip
        ax.set_ylabel(PANELS[name], fontsize=8)
        ax.tick_params(labelsize=8)
    _reasons(axes[-1], frame, reasons)
    axes[-1].set_xlim(frame.min() - 0.5, frame.max() + 0.5)
    axes[-1].xaxis.get_major_locator().set_params(integer=True)
    axes[-1].set_xlabel("frame")
    axes[0].set_title(
        f"{valid.sum():,} of {len(valid):,} frames are valid (blue; orange: not valid)", fontsize=10
    )
    return axes


def _reasons(ax: Axes, frame: np.ndarray, reasons: dict[str, np.ndarray]) -> None:
    for line, bad in enumerate(reasons.values()):
        y = np.full(bad.sum(), line)
        ax.scatter(frame[bad], y, marker="|", s=40, c=WRONG, linewidths=1, rasterized=True)
    names = [f"{what} ({bad.sum():,})" for what, bad in reasons.items()] or ["no frame fails"]
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.tick_params("x", labelsize=8)
