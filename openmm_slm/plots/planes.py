"""Points of a plane: torsions, slow coordinates."""

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
    """phi and psi of all residues of all frames.

    Outlines: the regions of 98 and 99.8 % of the residues of known structures other than glycine,
    proline and what precedes proline (`openmm_slm.protein.ramachandran`).

    Parameters
    ----------
    traj : mdtraj.Trajectory or Ensemble
        With N, CA and C.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        A point for each residue that has both angles; more than 20,000 are shown as the
        logarithm of their density.
    """
    ax = axes_or_new(ax, 4.6, 4.4)
    torsion_points(ax, *phi_psi(load_structure(frames_of(traj))))
    torsion_axes(ax)
    return ax


def phi_psi(structure: ProteinStructure) -> tuple[np.ndarray, np.ndarray]:
    """phi and psi [F, L] (radians); NaN at ends and where atoms are missing."""
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
    """Free energy of the samples along the two slowest coordinates of a simulation.

    TICA of the reference's CA-CA distances, as in `openmm_slm.compare`. What is shown is
    -ln p - min of the samples in kT: their density, which is a free energy if they are Boltzmann
    distributed (those of a model trained on known structures are not). Lines are the reference's at
    1, 3 and 5 kT.

    Parameters
    ----------
    samples : mdtraj.Trajectory or Ensemble
    reference : mdtraj.Trajectory
        Of the same protein, frames in order of time.
    lag : int
        Frames of the reference.
    ax : matplotlib.axes.Axes, optional
    lengths : sequence of int, optional
        Numbers of frames of the trajectories that `reference` is made of.
    components : int
        Principal components of CA-CA distances in which TICA is done; fewer for short references.

    Returns
    -------
    matplotlib.axes.Axes
        The plane is the reference's range and a quarter more; the title says what share of the
        samples is beyond.

    Raises
    ------
    StructureError
        Another protein, fewer than 2 frames, or a reference too short for `lag`.
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
    shown = np.nan_to_num(energy, nan=HIGHEST).T  # an empty bin is as high as it gets
    ax.contour(*centres, shown, levels=[1, 3, 5], colors=REFERENCE, linewidths=0.7)
    out = share_beyond(x, weights, edges)
    ax.set_title(f"lines: reference{f'; {out:.0%} of the samples beyond' if out else ''}", size=9)
    ax.set(xlabel="TIC 1", ylabel="TIC 2")
    return ax
