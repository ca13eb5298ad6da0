"""Draw arrays on Matplotlib axes; shared by `openmm_slm.plots`, report pages and comparisons.

Figures have no window and need no closing. The colours (Okabe and Ito, viridis, or shades of one
hue) are distinguishable for colour-blind readers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import require
from ..protein.ramachandran import levels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SAMPLES, REFERENCE, WRONG = "#0072b2", "#444444", "#d55e00"
HIGHEST = 6  # kT
BINS = 40
TORSION_BINS = 120  # bins of 3 degrees
MOST_POINTS = 20_000  # a Ramachandran plot shows more points as a density


@dataclass(frozen=True, eq=False)
class Rows:
    """Labels of L residues.

    Attributes
    ----------
    labels : sequence of str
        Residue numbers.
    chain : ndarray, int [L]
        Chain number; never decreases.
    names : sequence of str
        Chain names.
    """

    labels: Sequence[str]
    chain: np.ndarray
    names: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def starts(self) -> np.ndarray:
        """First row of each chain except the first."""
        return np.flatnonzero(np.diff(self.chain)) + 1

    def name(self, row: int) -> str:
        """Number of a residue, after its chain name if there are several chains."""
        several = len(self.starts) and len(self.names)
        return f"{self.names[self.chain[row]]} {self.labels[row]}" if several else self.labels[row]


def new_figure(width: float, height: float) -> Figure:
    """Figure of this size in inches, without a window."""
    return require("matplotlib.figure", "plots").Figure((width, height), layout="constrained")


def axes_or_new(ax: Axes | None, width: float = 7.0, height: float = 3.5) -> Axes:
    """`ax`, or the Axes of a new figure of this size in inches."""
    return new_figure(width, height).add_subplot() if ax is None else ax


def residue_axis(ax: Axes, rows: Rows, which: str = "x", most: int = 12) -> None:
    """Label an axis with residue numbers and draw lines between chains."""
    ticks = np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int))
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_ticks(ticks, [rows.labels[t] for t in ticks])
    axis.set_tick_params(labelsize=8)
    axis.set_label_text("residue")
    line = ax.axvline if which == "x" else ax.axhline
    for start in rows.starts:
        line(start - 0.5, color="0.5", lw=0.8, ls=(0, (4, 3)))
    if which == "x" and len(rows.starts):
        bounds = [0, *rows.starts, len(rows)]
        for name, a, b in zip(rows.names, bounds[:-1], bounds[1:], strict=False):
            transform = ax.get_xaxis_transform()
            ax.text((a + b - 1) / 2, 1.01, name, transform=transform, ha="center", fontsize=8)


def residue_profile(
    ax: Axes, rows: Rows, values: np.ndarray, label: str = "", colour: str = SAMPLES, **style
) -> None:
    """Draw values [L] as a curve with gaps between chains."""
    x = np.insert(np.arange(len(rows), dtype=float), rows.starts, np.nan)
    y = np.insert(np.asarray(values, float), rows.starts, np.nan)
    marker = "o" if len(rows) < 3 or (np.diff(rows.starts, prepend=0) == 1).any() else ""
    ax.plot(x, y, color=colour, label=label, marker=marker, ms=3, **{"lw": 1.4, **style})
    ax.set_xlim(-0.5, len(rows) - 0.5)
    ax.autoscale(axis="y")  # an earlier, lower curve has fixed the limits
    ax.set_ylim(0)


def free_energy(x: np.ndarray, weights: np.ndarray, edges: list[np.ndarray]) -> np.ndarray:
    """Free energy -ln p [B, B] (kT) of points [F, 2], minimum 0; NaN in empty bins."""
    count = np.histogram2d(*x.T, bins=edges, weights=weights)[0]
    with np.errstate(divide="ignore"):
        energy = -np.log(count)
    if not np.isfinite(energy).any():
        return np.full(count.shape, np.nan)
    return np.where(count > 0, energy - energy[np.isfinite(energy)].min(), np.nan)


def in_plane(points: np.ndarray) -> np.ndarray:
    """First two coordinates of points [F, D]; for D = 1 the second is 0."""
    return points[:, :2] if points.shape[1] > 1 else np.pad(points, ((0, 0), (0, 1)))


def plane_edges(points: np.ndarray) -> list[np.ndarray]:
    """Bin edges over the range of points [F, 2], extended by a quarter on each side."""
    low, high = points.min(0), points.max(0)
    margin = np.maximum(0.25 * (high - low), 1e-6)
    return [np.linspace(a, b, BINS + 1) for a, b in zip(low - margin, high + margin, strict=True)]


def share_beyond(x: np.ndarray, weights: np.ndarray, edges: list[np.ndarray]) -> float:
    """Weighted share of points [F, 2] outside the bins."""
    low, high = (np.array([e[k] for e in edges]) for k in (0, -1))
    return float(weights[((x < low) | (x > high)).any(1)].sum() / weights.sum())


def free_energy_map(ax: Axes, edges: list[np.ndarray], energy: np.ndarray, bar: bool) -> None:
    """Draw a free energy [B, B] (kT) as shades, with a colour bar if `bar`."""
    mesh = ax.pcolormesh(*edges, energy.T, cmap="viridis", vmin=0, vmax=HIGHEST, rasterized=True)
    if bar:
        ax.figure.colorbar(mesh, ax=ax, fraction=0.06).set_label("free energy (kT)", fontsize=8)


def torsion_counts(phi: np.ndarray, psi: np.ndarray, bins: int = TORSION_BINS) -> np.ndarray:
    """Counts [B, B] of (phi, psi) in radians, in equal bins from -180 to 180 degrees."""
    points = np.degrees(np.stack([np.ravel(phi), np.ravel(psi)]))
    points = points[:, np.isfinite(points).all(0)]
    edges = np.linspace(-180, 180, bins + 1)
    return np.histogram2d(*points, bins=[edges, edges])[0]


def torsion_density(ax: Axes, counts: np.ndarray) -> None:
    """Draw the logarithm of counts [B, B] as shades."""
    edges = np.linspace(-180, 180, len(counts) + 1)
    with np.errstate(divide="ignore"):
        shade = np.where(counts > 0, np.log(counts / max(counts.max(), 1)), np.nan)
    ax.pcolormesh(edges, edges, shade.T, cmap="magma_r", vmin=-8, vmax=0, rasterized=True)


def torsion_points(ax: Axes, phi: np.ndarray, psi: np.ndarray) -> None:
    """Draw a point for each (phi, psi) in radians, or their density if there are too many."""
    defined = np.isfinite(phi) & np.isfinite(psi)
    if defined.sum() > MOST_POINTS:
        torsion_density(ax, torsion_counts(phi, psi))
        return
    points = np.degrees(np.stack([phi[defined], psi[defined]], 1))
    size = np.clip(3000 / max(len(points), 1), 2, 12)
    ax.scatter(*points.T, s=size, color=SAMPLES, alpha=0.5, linewidths=0, rasterized=True)


def torsion_axes(ax: Axes, outline: bool = True) -> None:
    """Set up axes in degrees, with outlines of the favoured and allowed regions (general map)."""
    if outline:
        maps = levels()[0]
        centres = (np.arange(len(maps)) + 0.5) * 360 / len(maps) - 180
        ax.contour(centres, centres, maps.T, levels=[0.5, 1.5], colors="0.45", linewidths=(0.6, 1))
    ax.set_aspect("equal")
    ax.set(xlim=(-180, 180), ylim=(-180, 180), xlabel="phi (°)", ylabel="psi (°)")
    ax.set_xticks([-180, -60, 60, 180])
    ax.set_yticks([-180, -60, 60, 180])
    ax.tick_params(labelsize=8)


def contact_map(ax: Axes, rows: Rows, shares: np.ndarray) -> None:
    """Draw shares [L, L] of frames, first residue at the bottom; NaN is left blank."""
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, origin="lower", aspect="equal")
    residue_axis(ax, rows, "x", most=8)
    residue_axis(ax, rows, "y", most=8)
    ax.figure.colorbar(image, ax=ax, fraction=0.046).set_label("share of frames", fontsize=8)
