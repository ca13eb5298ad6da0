"""Plots in two dimensions: torsion angles and slow coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..analysis.tica import distance_basis, fit_tica
from ..protein.geometry import backbone_torsions
from ..protein.loading import load_structure
from ..protein.structure import ProteinStructure
from .drawing import (
    HIGHEST,
    REFERENCE,
    axes_or_new,
    free_energy,
    free_energy_map,
    in_plane,
    plane_edges,
    share_beyond,
    torsion_axes,
    torsion_points,
)
from .residues import frames_of, matched_ca

if TYPE_CHECKING:
    import mdtraj
    from matplotlib.axes import Axes

    from ..protein.trajectory import HasTrajectory


def plot_ramachandran(traj: mdtraj.Trajectory | HasTrajectory, ax: Axes | None = None) -> Axes:
    """Plot phi and psi of all residues of all frames.

    The outlines contain 98 and 99.8 % of the residues of known structures other than glycine,
    proline and pre-proline (`openmm_slm.protein.ramachandran`).

    Parameters
    ----------
    traj : mdtraj.Trajectory or Ensemble
        With N, CA and C.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        A point for each residue with both angles. More than 20,000 points are shown as the
        logarithm of their density.
    """
    ax = axes_or_new(ax, 4.6, 4.4)
    torsion_points(ax, *phi_psi(load_structure(frames_of(traj))))
    torsion_axes(ax)
    return ax


def phi_psi(structure: ProteinStructure) -> tuple[np.ndarray, np.ndarray]:
    """phi and psi [F, L] (radians); NaN at chain ends and where atoms are missing."""
    with np.errstate(invalid="ignore"):
        return backbone_torsions(structure.backbone, structure.chain_break)[:2]


def plot_tic_free_energy(
    samples: mdtraj.Trajectory | HasTrajectory,
    reference: mdtraj.Trajectory,
    lag: int = 20,
    ax: Axes | None = None,
    *,
    lengths: Sequence[int] | None = None,
    components: int = 50,
) -> Axes:
    """Plot the free energy of samples along the two slowest coordinates of a simulation.

    The coordinates are from TICA of the reference's CA-CA distances, as in `openmm_slm.compare`.
    Shades show -ln p (kT) of the samples. This is a free energy only for Boltzmann-distributed
    samples, which a model trained on known structures does not give. Lines show the reference at 1,
    3 and 5 kT.

    Parameters
    ----------
    samples : mdtraj.Trajectory or Ensemble
    reference : mdtraj.Trajectory
        Simulation of the same protein, with frames in order of time.
    lag : int
        TICA lag, in frames of the reference.
    ax : matplotlib.axes.Axes, optional
    lengths : sequence of int, optional
        Numbers of frames of the trajectories that were joined into `reference`.
    components : int
        Principal components of CA-CA distances in TICA; fewer for short references.

    Returns
    -------
    matplotlib.axes.Axes
        The plot covers the range of the reference, extended by a quarter. The title gives the share
        of samples outside.

    Raises
    ------
    StructureError
        The proteins differ, an ensemble has fewer than 2 frames, or `reference` is too short for
        `lag`.
    MissingDependencyError
        deeptime is missing: the extra ``compare``.
    """
    ax = axes_or_new(ax, 5.2, 4.2)
    _, *both = matched_ca(samples, reference)
    basis = distance_basis(both[1], components)
    scores = [basis.project(ca) for ca in both]
    model = fit_tica(scores[1], lag, lengths)
    x, y = (in_plane(np.atleast_2d(model.transform(s))) for s in scores)
    edges = plane_edges(y)
    weights = np.ones(len(x))
    free_energy_map(ax, edges, free_energy(x, weights, edges), bar=True)
    energy = free_energy(y, np.ones(len(y)), edges)
    centres = [(e[1:] + e[:-1]) / 2 for e in edges]
    shown = np.nan_to_num(energy, nan=HIGHEST).T  # empty bins get the highest energy
    ax.contour(*centres, shown, levels=[1, 3, 5], colors=REFERENCE, linewidths=0.7)
    out = share_beyond(x, weights, edges)
    ax.set_title(f"lines: reference{f'; {out:.0%} of the samples beyond' if out else ''}", size=9)
    ax.set(xlabel="TIC 1", ylabel="TIC 2")
    return ax
