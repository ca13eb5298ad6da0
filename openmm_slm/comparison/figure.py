"""One page that shows two ensembles side by side. Needs Matplotlib (the extra ``plots``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .comparing import Comparison

SAMPLES, REFERENCE = "#d95f02", "#1b6ca8"
HIGHEST = 6  # kT
BINS = 40


def draw(comparison: Comparison) -> Figure:
    """The page; the figure belongs to no window and is not shown."""
    figure_module = require("matplotlib.figure", "plots")
    p = comparison.profiles
    figure = figure_module.Figure(figsize=(11.7, 8.3), layout="constrained")
    grid = figure.add_gridspec(2, 12)
    plane = [figure.add_subplot(grid[0, k : k + 3]) for k in (0, 3)]
    _planes(plane, p)
    _contacts(figure.add_subplot(grid[0, 6:9]), p)
    _rg(figure.add_subplot(grid[0, 9:]), p)
    torsions = "torsions" in p
    _rmsf(figure.add_subplot(grid[1, : 6 if torsions else 12]), p)
    if torsions:
        for k, (key, title) in enumerate(
            (("torsions", "samples"), ("reference_torsions", "reference"))
        ):
            _ramachandran(figure.add_subplot(grid[1, 6 + 3 * k : 9 + 3 * k]), p[key], title)
    s = comparison.settings
    figure.suptitle(
        f"{s['samples']:,} samples (orange) against {s['reference frames']:,} frames of the "
        f"reference (blue), {s['residues']} residues"
    )
    return figure


def free_energy(x: np.ndarray, weights: np.ndarray, edges: list[np.ndarray]) -> np.ndarray:
    """-ln p - min [B, B] (kT) of points [F, 2]; NaN in empty bins."""
    count = np.histogram2d(*x.T, bins=edges, weights=weights)[0]
    with np.errstate(divide="ignore"):
        energy = -np.log(count)
    if not np.isfinite(energy).any():
        return np.full(count.shape, np.nan)
    return np.where(count > 0, energy - energy[np.isfinite(energy)].min(), np.nan)


def _planes(axes: list[Axes], p: dict) -> None:
    name, keys = ("TIC", ("tic", "reference_tic"))
    if "tic" not in p:
        name, keys = "PC", ("pc", "reference_pc")
    points = [p[key] for key in keys]
    if points[1].shape[1] < 2:
        points = [np.column_stack([x, np.zeros(len(x))]) for x in points]
    # Both in the reference's range, widened; samples beyond are counted in the title.
    low, high = points[1].min(0), points[1].max(0)
    margin = np.maximum(0.25 * (high - low), 1e-6)
    edges = [np.linspace(a, b, BINS + 1) for a, b in zip(low - margin, high + margin, strict=True)]
    weights = p["weights"], p["reference_weights"]
    for ax, x, w, title in zip(axes, points, weights, ("samples", "reference"), strict=True):
        energy = free_energy(x, w, edges)
        mesh = ax.pcolormesh(*edges, energy.T, cmap="viridis", vmin=0, vmax=HIGHEST)
        out = float(w[((x < low - margin) | (x > high + margin)).any(1)].sum() / w.sum())
        ax.set_title(f"{title}{f' ({out:.0%} beyond)' if out else ''}", fontsize=10)
        ax.set_xlabel(f"{name} 1")
        ax.tick_params(labelsize=7)
    axes[0].set_ylabel(f"{name} 2")
    bar = axes[1].figure.colorbar(mesh, ax=axes[1], fraction=0.06)
    bar.set_label("free energy (kT)", fontsize=8)


def _contacts(ax: Axes, p: dict) -> None:
    change = p["contacts"] - p["reference_contacts"]
    # Numbers would hide in the corner: the colours reach as far as the largest difference.
    reach = max(0.05, float(np.nanmax(np.abs(change))))
    image = ax.imshow(change, cmap="PuOr_r", vmin=-reach, vmax=reach, origin="lower")
    ax.set_title("contacts: samples - reference", fontsize=10)
    ax.set_xlabel("residue (row)")
    ax.figure.colorbar(image, ax=ax, fraction=0.046)


def _rg(ax: Axes, p: dict) -> None:
    both = [10 * p[key] for key in ("rg", "reference_rg")]
    edges = np.histogram_bin_edges(np.concatenate(both), 60)
    weights = p["weights"], p["reference_weights"]
    for x, w, colour in zip(both, weights, (SAMPLES, REFERENCE), strict=True):
        ax.hist(x, edges, weights=w, density=True, histtype="step", color=colour, lw=1.5)
    ax.set_xlabel("radius of gyration (Å)")
    ax.set_yticks([])
    ax.set_title("size", fontsize=10)


def _rmsf(ax: Axes, p: dict) -> None:
    rows = np.arange(len(p["rmsf"]))
    for key, colour, label in (("reference_rmsf", REFERENCE, "reference"),
                               ("rmsf", SAMPLES, "samples")):  # fmt: skip
        ax.plot(rows, 10 * p[key], color=colour, label=label)
    ticks = np.unique(np.linspace(0, len(rows) - 1, min(12, len(rows))).astype(int))
    ax.set_xticks(ticks, [str(p["labels"][t]) for t in ticks], rotation=60, fontsize=7)
    ax.set_xlim(0, len(rows) - 1)
    ax.set_ylim(0)
    ax.set_ylabel("RMSF of CA (Å)")
    ax.set_title("flexibility", fontsize=10)
    ax.legend(frameon=False, fontsize=8)


def _ramachandran(ax: Axes, torsions: np.ndarray, title: str) -> None:
    points = np.degrees(torsions.reshape(-1, 2))
    points = points[np.isfinite(points).all(1)]
    edges = np.linspace(-180, 180, 73)
    count = np.histogram2d(*points.T, bins=[edges, edges])[0]
    with np.errstate(divide="ignore"):
        shade = np.where(count > 0, np.log(count / max(count.max(), 1)), np.nan)
    ax.pcolormesh(edges, edges, shade.T, cmap="magma_r", vmin=-8, vmax=0)
    ax.set_aspect("equal")
    ax.set_xticks([-180, -60, 60, 180])
    ax.set_yticks([-180, -60, 60, 180])
    ax.tick_params(labelsize=7)
    ax.set_xlabel("phi (°)")
    ax.set_title(f"phi, psi: {title}", fontsize=10)
