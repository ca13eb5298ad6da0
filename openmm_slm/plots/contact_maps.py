"""Contact maps of ensembles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..analysis.pairwise import CONTACT
from ..errors import require
from .drawing import axes_or_new, contact_map
from .residues import ca_of, frames_of, matched_ca

if TYPE_CHECKING:
    import mdtraj
    from matplotlib.axes import Axes

    from ..protein.trajectory import HasTrajectory

NEAR = 3  # pairs less than this many residues apart are left blank; they are always in contact


def plot_contact_map(
    traj: mdtraj.Trajectory | HasTrajectory,
    reference: mdtraj.Trajectory | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot the share of frames in which the CA of two residues are within 0.8 nm.

    Parameters
    ----------
    traj : mdtraj.Trajectory or Ensemble
        Shown above the diagonal.
    reference : mdtraj.Trajectory, optional
        Shown below the diagonal; default `traj`.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        ``ax.images[0].get_array()`` has the shares [L, L], masked for pairs less than 3 residues
        apart in a chain.

    Raises
    ------
    StructureError
        `traj` has no protein, or `reference` is another protein.
    """
    ax = axes_or_new(ax, 5.4, 4.6)
    if reference is None:
        rows, ca = ca_of(frames_of(traj))
        contact_map(ax, rows, contact_counts(ca) / len(ca) + neighbours(rows.chain))
        return ax
    rows, ca, other = matched_ca(traj, reference)
    # The first index is the y axis, which points upwards: above the diagonal it is the larger one.
    square = np.tril(contact_counts(ca) / len(ca)) + np.triu(contact_counts(other) / len(other))
    contact_map(ax, rows, square + neighbours(rows.chain))
    for text, x, y, side in (("samples", 0.02, 0.98, "left"), ("reference", 0.98, 0.02, "right")):
        alignment = {"ha": side, "va": "top" if y > 0.5 else "bottom"}
        ax.text(x, y, text, transform=ax.transAxes, fontsize=8, **alignment)
    return ax


def contact_counts(ca: np.ndarray) -> np.ndarray:
    """Numbers of frames [L, L] in which CA [F, L, 3] are within 0.8 nm; 0 on the diagonal."""
    tree = require("scipy.spatial").cKDTree
    counts = np.zeros((ca.shape[1],) * 2, np.int64)
    for frame in ca:
        i, j = tree(frame).query_pairs(CONTACT, output_type="ndarray").T
        counts[i, j] += 1
    return counts + counts.T


def neighbours(chain: np.ndarray) -> np.ndarray:
    """Array [L, L]: NaN for residues less than 3 apart in one chain, 0 for all others."""
    row = np.arange(len(chain))
    near = (np.abs(row[:, None] - row) < NEAR) & (chain[:, None] == chain)
    return np.where(near, np.nan, 0.0)
