"""Plots along the sequence: fluctuations and token entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..analysis.fluctuations import mean_structure, rmsf
from ..errors import StructureError
from ..protein.superposition import superposed
from .drawing import REFERENCE, SAMPLES, axes_or_new, residue_axis, residue_profile
from .residues import ca_of, ca_rows, frames_of, matched_ca

if TYPE_CHECKING:
    import mdtraj
    from matplotlib.axes import Axes

    from ..protein.trajectory import HasTrajectory


def plot_rmsf(
    traj: mdtraj.Trajectory | HasTrajectory,
    reference: mdtraj.Trajectory | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot the RMSF of CA, for each ensemble about its own mean structure.

    Parameters
    ----------
    traj : mdtraj.Trajectory or Ensemble
    reference : mdtraj.Trajectory, optional
        For example MD of the same protein; residues are matched as in `openmm_slm.compare`.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        The first line is the RMSF (nm) of `traj`.

    Raises
    ------
    StructureError
        `traj` has no protein, or `reference` is another protein.
    """
    ax = axes_or_new(ax)
    if reference is None:
        rows, samples = ca_of(frames_of(traj))
        curves = [(samples, f"{len(samples):,} frames", SAMPLES)]
    else:
        rows, samples, other = matched_ca(traj, reference)
        curves = [(samples, "samples", SAMPLES), (other, "reference", REFERENCE)]
    for ca, label, colour in curves:
        residue_profile(ax, rows, rmsf_about_mean(ca), label, colour)
    rmsf_axes(ax, rows)
    if reference is not None:
        ax.legend(frameon=False)
    return ax


def rmsf_axes(ax: Axes, rows) -> None:
    """Label the axes of an RMSF plot."""
    residue_axis(ax, rows)
    ax.set_ylabel("RMSF of CA (nm)")


def rmsf_about_mean(ca: np.ndarray) -> np.ndarray:
    """RMSF [L] (nm) of CA [F, L, 3] superposed on their mean structure."""
    weights = np.ones(len(ca))
    return rmsf(superposed(ca, mean_structure(ca, weights)), weights[:, None])[0]


def plot_token_entropy(ens: HasTrajectory, ax: Axes | None = None) -> Axes:
    """Plot the token entropy of each residue, which is high where the language model is uncertain.

    Parameters
    ----------
    ens : Ensemble
        From `EnsembleGenerator.sample`; a Trajectory has no tokens.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Entropy in nats; the dotted line is the maximum, ln F for F frames. See
        `Ensemble.token_entropy`.

    Raises
    ------
    StructureError
        `ens` has no tokens.
    """
    if not hasattr(ens, "token_entropy"):
        raise StructureError(
            f"{type(ens).__name__} has no tokens; give the Ensemble of EnsembleGenerator.sample"
        )
    ax = axes_or_new(ax)
    rows, _ = ca_rows(ens.trajectory.topology)
    residue_profile(ax, rows, ens.token_entropy)
    residue_axis(ax, rows)
    most = np.log(len(ens.tokens))
    ax.axhline(most, color=REFERENCE, lw=0.8, ls=":")
    ax.text(1.01, most, f"ln {len(ens.tokens):,}", transform=ax.get_yaxis_transform(), fontsize=8)
    ax.set_ylabel("entropy of tokens (nats)")
    return ax
