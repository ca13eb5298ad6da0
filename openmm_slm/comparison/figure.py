"""One page of plots that compares two ensembles; needs Matplotlib (the extra ``plots``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..plots.drawing import (  # fmt: skip
    REFERENCE,
    SAMPLES,
    Rows,
    free_energy,
    free_energy_map,
    in_plane,
    new_figure,
    plane_edges,
    residue_axis,
    residue_profile,
    share_beyond,
    torsion_axes,
    torsion_counts,
    torsion_density,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(p: dict[str, np.ndarray], s: dict) -> Figure:
    """Figure of the profiles `p` and settings `s` of a `Comparison`, without a window."""
    figure = new_figure(11.7, 8.3)
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
    figure.suptitle(
        f"{s['samples']:,} samples (blue) and {s['reference frames']:,} frames of the "
        f"reference (grey), {s['residues']} residues"
    )
    return figure


def _planes(axes: list[Axes], p: dict) -> None:
    name, keys = ("TIC", ("tic", "reference_tic"))
    if "tic" not in p:
        name, keys = "PC", ("pc", "reference_pc")
    points = [in_plane(p[key]) for key in keys]
    # Both cover the extended range of the reference. The title gives the share of samples outside.
    edges = plane_edges(points[1])
    weights = p["weights"], p["reference_weights"]
    for ax, x, w, title in zip(axes, points, weights, ("samples", "reference"), strict=True):
        free_energy_map(ax, edges, free_energy(x, w, edges), bar=ax is axes[1])
        out = share_beyond(x, w, edges)
        ax.set_title(f"{title}{f' ({out:.0%} beyond)' if out else ''}", fontsize=10)
        ax.set_xlabel(f"{name} 1")
        ax.tick_params(labelsize=7)
    axes[0].set_ylabel(f"{name} 2")


def _contacts(ax: Axes, p: dict) -> None:
    change = p["contacts"] - p["reference_contacts"]
    # The colour scale ends at the largest difference.
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
    rows = Rows(p["labels"], np.zeros(len(p["labels"])))
    for key, colour, label in (("reference_rmsf", REFERENCE, "reference"),
                               ("rmsf", SAMPLES, "samples")):  # fmt: skip
        residue_profile(ax, rows, 10 * p[key], label, colour)
    residue_axis(ax, rows)
    ax.tick_params("x", rotation=60, labelsize=7)
    ax.set_ylabel("RMSF of CA (Å)")
    ax.set_title("flexibility", fontsize=10)
    ax.legend(frameon=False, fontsize=8)


def _ramachandran(ax: Axes, torsions: np.ndarray, title: str) -> None:
    torsion_density(ax, torsion_counts(torsions[..., 0], torsions[..., 1]))
    torsion_axes(ax)
    ax.set_title(f"phi, psi: {title}", fontsize=10)
