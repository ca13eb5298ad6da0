"""Arrays onto Matplotlib axes: what `openmm_slm.plots`, pages and comparisons draw alike.

Figures belong to no window and need no closing. Colours are those of Okabe and Ito, of viridis and
of one hue, which colour-blind people tell apart.
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
TORSION_BINS = 120  # of 3 degrees
MOST_POINTS = 20_000  # of a Ramachandran plot; more are shown as their density


@dataclass(frozen=True, eq=False)
class Rows:
    """What L residues in a row are called.

    Attributes
    ----------
    labels : sequence of str
        Residue numbers.
    chain : ndarray, int [L]
        Number of the chain; does not decrease.
    names : sequence of str
        Of the chains.
    """

    labels: Sequence[str]
    chain: np.ndarray
    names: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def starts(self) -> np.ndarray:
        """First row of each chain but the first."""
        return np.flatnonzero(np.diff(self.chain)) + 1

    def name(self, row: int) -> str:
        """Number of a residue, with its chain where there are several."""
        several = len(self.starts) and len(self.names)
        return f"{self.names[self.chain[row]]} {self.labels[row]}" if several else self.labels[row]


def new_figure(width: float, height: float) -> Figure:
    return require("matplotlib.figure", "plots").Figure((width, height), layout="constrained")


def axes_or_new(ax: Axes | None, width: float = 7.0, height: float = 3.5) -> Axes:
    return new_figure(width, height).add_subplot() if ax is None else ax


def residue_axis(ax: Axes, rows: Rows, which: str = "x", most: int = 12) -> None:
    """Ticks with residue numbers, and a line between chains."""
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
            place = ax.get_xaxis_transform()
            ax.text((a + b - 1) / 2, 1.01, name, transform=place, ha="center", fontsize=8)


def residue_profile(
    ax: Axes, rows: Rows, values: np.ndarray, label: str = "", colour: str = SAMPLES, **style
) -> None:
    """A curve [L] that breaks between chains."""
    x = np.insert(np.arange(len(rows), dtype=float), rows.starts, np.nan)
    y = np.insert(np.asarray(values, float), rows.starts, np.nan)
    marker = "o" if len(rows) < 3 or (np.diff(rows.starts, prepend=0) == 1).any() else ""
    ax.plot(x, y, color=colour, label=label, marker=marker, ms=3, **{"lw": 1.4, **style})
    ax.set_xlim(-0.5, len(rows) - 0.5)
    ax.set_ylim(0)


def free_energy(x: np.ndarray, weights: np.ndarray, edges: list[np.ndarray]) -> np.ndarray:
    """-ln p - min [B, B] (kT) of points [F, 2]; NaN in empty bins."""
    count = np.histogram2d(*x.T, bins=edges, weights=weights)[0]
    with np.errstate(divide="ignore"):
        energy = -np.log(count)
    if not np.isfinite(energy).any():
        return np.full(count.shape, np.nan)
    return np.where(count > 0, energy - energy[np.isfinite(energy)].min(), np.nan)


def in_plane(points: np.ndarray) -> np.ndarray:
    """The first two coordinates of points [F, D]; the second is 0 where there is one."""
    return points[:, :2] if points.shape[1] > 1 else np.pad(points, ((0, 0), (0, 1)))


def plane_edges(points: np.ndarray) -> list[np.ndarray]:
    """Edges of bins over the range of points [F, 2], widened by a quarter to each side."""
    low, high = points.min(0), points.max(0)
    margin = np.maximum(0.25 * (high - low), 1e-6)
    return [np.linspace(a, b, BINS + 1) for a, b in zip(low - margin, high + margin, strict=True)]


def share_beyond(x: np.ndarray, weights: np.ndarray, edges: list[np.ndarray]) -> float:
    """Share of points [F, 2] outside the bins."""
    low, high = (np.array([e[k] for e in edges]) for k in (0, -1))
    return float(weights[((x < low) | (x > high)).any(1)].sum() / weights.sum())


def free_energy_map(ax: Axes, edges: list[np.ndarray], energy: np.ndarray, bar: bool) -> None:
    """A free energy [B, B] (kT) as shades, with their scale if `bar`."""
    mesh = ax.pcolormesh(*edges, energy.T, cmap="viridis", vmin=0, vmax=HIGHEST, rasterized=True)
    if bar:
        ax.figure.colorbar(mesh, ax=ax, fraction=0.06).set_label("free energy (kT)", fontsize=8)


def torsion_counts(phi: np.ndarray, psi: np.ndarray, bins: int = TORSION_BINS) -> np.ndarray:
    """Numbers [B, B] of (phi, psi) in radians in equal bins from -180 to 180 degrees."""
    points = np.degrees(np.stack([np.ravel(phi), np.ravel(psi)]))
    points = points[:, np.isfinite(points).all(0)]
    edges = np.linspace(-180, 180, bins + 1)
    return np.histogram2d(*points, bins=[edges, edges])[0]


def torsion_density(ax: Axes, counts: np.ndarray) -> None:
    """Shades: the logarithm of counts [B, B]."""
    edges = np.linspace(-180, 180, len(counts) + 1)
    with np.errstate(divide="ignore"):
        shade = np.where(counts > 0, np.log(counts / max(counts.max(), 1)), np.nan)
    ax.pcolormesh(edges, edges, shade.T, cmap="magma_r", vmin=-8, vmax=0, rasterized=True)


def torsion_points(ax: Axes, phi: np.ndarray, psi: np.ndarray) -> None:
    """A point for each (phi, psi) in radians; shades where there are too many."""
    defined = np.isfinite(phi) & np.isfinite(psi)
    if defined.sum() > MOST_POINTS:
        torsion_density(ax, torsion_counts(phi, psi))
        return
    points = np.degrees(np.stack([phi[defined], psi[defined]], 1))
    size = np.clip(3000 / max(len(points), 1), 2, 12)
    ax.scatter(*points.T, s=size, color=SAMPLES, alpha=0.5, linewidths=0, rasterized=True)


def torsion_axes(ax: Axes, outline: bool = True) -> None:
    """Degrees, and the favoured and allowed regions of most residues as outlines."""
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
    """Shares [L, L] of frames, first residue upwards; NaN is left blank."""
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, origin="lower", aspect="equal")
    residue_axis(ax, rows, "x", most=8)
    residue_axis(ax, rows, "y", most=8)
    ax.figure.colorbar(image, ax=ax, fraction=0.046).set_label("share of frames", fontsize=8)
