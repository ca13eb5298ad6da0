"""Picture of the predicted motion of a structure."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .drawing import Rows, axes_or_new, new_figure, residue_axis, residue_profile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..protein.structure import ProteinStructure


def plot_profile(structure: ProteinStructure, rmsf: np.ndarray, ax: Axes | None = None) -> Axes:
    """Plot the predicted RMSF [L] (nm) of CA along the sequence; NaN leaves a gap."""
    ax = axes_or_new(ax)
    rows = _rows(structure)
    residue_profile(ax, rows, rmsf)
    residue_axis(ax, rows)
    ax.set_ylabel("RMSF of CA at 300 K (nm)")
    return ax


def save_flexibility_picture(
    structure: ProteinStructure,
    rmsf: np.ndarray,
    correlation: np.ndarray,
    directory: str | os.PathLike,
) -> Path:
    """Draw the RMSF and the correlation of residues; returns ``flexibility.png``."""
    figure = new_figure(10, 3.8)
    left, right = figure.subplots(1, 2, width_ratios=[1.6, 1])
    plot_profile(structure, rmsf, left)
    image = right.imshow(correlation, cmap="RdBu_r", vmin=-1, vmax=1, origin="lower")
    rows = _rows(structure)
    residue_axis(right, rows, "x", most=6)
    residue_axis(right, rows, "y", most=6)
    figure.colorbar(image, ax=right, fraction=0.046).set_label("correlation", fontsize=8)
    where = Path(directory) / "flexibility.png"
    temporary = where.with_suffix(".tmp.png")
    figure.savefig(temporary, dpi=120)
    temporary.replace(where)
    return where


def _rows(structure: ProteinStructure) -> Rows:
    labels = [
        f"{number}{code}"
        for number, code in zip(structure.residue_number, structure.insertion_code, strict=True)
    ]
    return Rows(labels, structure.chain_index, structure.chain_ids)
