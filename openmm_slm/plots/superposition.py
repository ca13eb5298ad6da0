"""Plot of superposed frames as smoothed CA traces, viewed along principal axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..analysis.fluctuations import mean_structure
from ..errors import SLMError, require
from ..protein.superposition import superposed
from .drawing import Rows, axes_or_new
from .residues import ca_of, frames_of

if TYPE_CHECKING:
    import mdtraj
    from matplotlib.axes import Axes

    from ..protein.trajectory import HasTrajectory

STEP = 5  # curve points per residue
GAP = 0.5  # nm; the curve is interrupted between neighbours that are further apart


def plot_ensemble(
    traj: mdtraj.Trajectory | HasTrajectory,
    ax: Axes | None = None,
    *,
    shown: int = 20,
    turn: float = 0.0,
) -> Axes:
    """Plot superposed frames as curves through CA, coloured along the sequence.

    Of the principal axes of the mean structure, the longest is horizontal and the shortest points
    to the viewer. Distant parts are paler. The frame nearest to the mean is thick.

    Parameters
    ----------
    traj : mdtraj.Trajectory or Ensemble
    ax : matplotlib.axes.Axes, optional
    shown : int
        Largest number of frames to draw, evenly spaced.
    turn : float
        Rotation about the horizontal axis, in degrees.

    Returns
    -------
    matplotlib.axes.Axes
        In nm, with a scale bar of 1 nm. The first residue is darkest.

    Raises
    ------
    SLMError
        `traj` has no protein or no finite frame, or `shown` is below 1.
    """
    if shown < 1:
        raise SLMError(f"shown is {shown}; show at least one frame")
    traj = frames_of(traj)
    few = traj[evenly_spaced(traj.n_frames, shown)]
    rows, ca = ca_of(few)
    return draw_superposed(axes_or_new(ax, 5.5, 4.5), rows, ca, turn)


def evenly_spaced(frames: int, most: int) -> np.ndarray:
    """Numbers of at most `most` evenly spaced frames, including the first and the last."""
    return np.unique(np.linspace(0, frames - 1, min(frames, most)).round().astype(int))


def superposed_view(ca: np.ndarray) -> tuple[np.ndarray, int]:
    """CA [F, L, 3] in the principal axes of their mean structure, and the frame nearest to it.

    The axes x, y and z (towards the viewer) are right-handed, so the picture shows the true
    handedness of helices.
    """
    mean = mean_structure(ca, np.ones(len(ca)))
    x = superposed(ca, mean)
    central = int(((x - mean) ** 2).sum((1, 2)).argmin())
    centred = mean - mean.mean(0)
    axes = np.linalg.svd(centred, full_matrices=True)[2]
    if np.arange(len(mean)) @ centred @ axes[0] < 0:  # the sequence runs from left to right
        axes[0] *= -1
    axes[2] *= np.sign(np.linalg.det(axes))
    return (x - mean.mean(0)) @ axes.T, central


def draw_superposed(
    ax: Axes, rows: Rows, ca: np.ndarray, turn: float = 0.0, bar: bool = True
) -> Axes:
    """Draw CA [F, L, 3] (nm); see `plot_ensemble`."""
    matplotlib = require("matplotlib", "plots")
    collections = require("matplotlib.collections", "plots")
    x, central = superposed_view(ca)
    angle = np.radians(turn)
    c, s = np.cos(angle), np.sin(angle)
    x = x @ np.array([[1, 0, 0], [0, c, s], [0, -s, c]])
    # The end of viridis is omitted: its pale yellow is invisible on white.
    colours = matplotlib.colors.LinearSegmentedColormap.from_list(
        "residues", matplotlib.colormaps["viridis"](np.linspace(0, 0.9, 64))
    )
    scale = matplotlib.colors.Normalize(0, max(1, len(rows) - 1))
    segments, row, thick = [], [], []
    for number, frame in enumerate(x):
        for points, where in _curves(frame, rows.chain):
            segments.append(np.stack([points[:-1], points[1:]], 1))
            row.append((where[:-1] + where[1:]) / 2)
            thick.append(np.full(len(where) - 1, number == central))
    if segments:
        segments, row, thick = (np.concatenate(part) for part in (segments, row, thick))
        depth = segments[:, :, 2].mean(1)
        near = (depth - depth.min()) / max(np.ptp(depth), 1e-6)
        rgb = colours(scale(row))[:, :3]
        fog = np.where(thick, 0.25, 0.55) * (1 - near) + np.where(thick, 0.0, 0.25)
        rgb = rgb + (1 - rgb) * fog[:, None]
        width = float(np.clip(20 / np.sqrt(len(rows)), 1.2, 2.6))
        widths = np.where(thick, width, width / 3)
        order = np.argsort(depth)
        lines = {"capstyle": "round", "rasterized": True}
        if thick.any():  # a dark rim around the thick curve, drawn behind all curves
            rim = order[thick[order]]
            ax.add_collection(collections.LineCollection(
                segments[rim, :, :2], colors="#303030", linewidths=width + 1, zorder=1, **lines
            ))  # fmt: skip
        ax.add_collection(collections.LineCollection(
            segments[order, :, :2], colors=rgb[order], linewidths=widths[order], zorder=2, **lines
        ))  # fmt: skip
    _frame_of_view(ax, x, bar, rows, matplotlib.cm.ScalarMappable(scale, colours))
    return ax


def _curves(frame: np.ndarray, chain: np.ndarray):
    """Yield points [P, 3] and fractional rows [P] of the smooth pieces of a trace [L, 3]."""
    spline = require("scipy.interpolate").make_interp_spline
    step = np.linalg.norm(np.diff(frame, axis=0), axis=1)
    cuts = np.flatnonzero((np.diff(chain) != 0) | (step > GAP)) + 1
    for rows in np.split(np.arange(len(frame)), cuts):
        if len(rows) > 1:
            where = np.linspace(rows[0], rows[-1], STEP * (len(rows) - 1) + 1)
            yield spline(rows, frame[rows], k=min(3, len(rows) - 1))(where), where


def _frame_of_view(ax: Axes, x: np.ndarray, bar: bool, rows: Rows, colours) -> None:
    low, high = x[..., :2].min((0, 1)) - 0.3, x[..., :2].max((0, 1)) + 0.3
    low[1] -= 0.2  # space for the scale bar
    ax.set_aspect("equal")
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    ax.set_axis_off()
    ax.plot([low[0], low[0] + 1], [low[1]] * 2, color="0.2", lw=2, solid_capstyle="butt")
    ax.annotate(
        "1 nm", (low[0] + 0.5, low[1]), (0, 3), textcoords="offset points", ha="center", size=8
    )
    if bar:
        ticks = np.unique(np.linspace(0, len(rows) - 1, min(6, len(rows))).round().astype(int))
        scale = ax.figure.colorbar(colours, ax=ax, fraction=0.035, ticks=ticks)
        scale.ax.set_yticklabels([rows.name(t) for t in ticks], fontsize=8)
        scale.set_label("residue", fontsize=8)
