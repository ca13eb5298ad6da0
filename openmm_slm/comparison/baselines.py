"""Baselines from a single structure: copies, Gaussian noise, and harmonic motions.

A sampler with a template should do better than these at an equal number of frames. Displacements
are drawn per residue; all atoms of a residue move with its CA.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import StructureError, counted, require
from ..protein.elastic_network import CUTOFF, network_modes, rigid_motions
from ..protein.superposition import superpose

if TYPE_CHECKING:
    import mdtraj


def repeated(template: mdtraj.Trajectory, n: int) -> mdtraj.Trajectory:
    """n copies of the template."""
    return _displaced(template, n, lambda frame: np.zeros((template.n_residues, 3)))


def jitter(template: mdtraj.Trajectory, n: int, rmsf: float, *, seed: int = 0) -> mdtraj.Trajectory:
    """The template with Gaussian noise of the same amplitude on every residue.

    Rigid-body motion is removed from the noise. It is then scaled so that the mean RMSF of
    superposed frames is `rmsf`, as for `elastic_network`.

    Parameters
    ----------
    template : Trajectory
        One frame with one CA in every residue.
    n : int
        Number of frames.
    rmsf : float
        Root mean square fluctuation, averaged over residues (nm); see `mean_rmsf`.
    seed : int
        Random seed; frame i depends on (seed, i) only.

    Returns
    -------
    Trajectory
        n frames of the template's topology.
    """
    ca = _ca(template)
    rigid = rigid_motions(ca)
    variance = 1 - (rigid**2).sum(1)  # [3 L], what remains in each coordinate
    sigma = _scale(variance, rmsf)

    def draw(frame: int) -> np.ndarray:
        noise = _normal(seed, frame, ca.size)
        return sigma * (noise - rigid @ (rigid.T @ noise)).reshape(-1, 3)

    return _displaced(template, n, draw)


def elastic_network(
    template: mdtraj.Trajectory,
    n: int,
    rmsf: float,
    *,
    cutoff: float = CUTOFF,
    seed: int = 0,
) -> mdtraj.Trajectory:
    """The template displaced along the harmonic modes of an anisotropic network model (ANM).

    Displacements are Gaussian with the covariance of `network_modes`. The model is linear, so large
    displacements stretch bonds.

    Parameters
    ----------
    template, n, rmsf
        As for `jitter`. The network has no temperature; `rmsf` sets the amplitude.
    cutoff : float
        Springs join CA atoms closer than this (nm).
    seed : int
        As for `jitter`.

    Returns
    -------
    Trajectory
        n frames of the template's topology.
    """
    ca = _ca(template)
    stiffness, modes = network_modes(ca, cutoff)
    modes = modes / np.sqrt(stiffness)
    scale = _scale((modes**2).sum(1), rmsf)

    def draw(frame: int) -> np.ndarray:
        return scale * (modes @ _normal(seed, frame, modes.shape[1])).reshape(-1, 3)

    return _displaced(template, n, draw)


def mean_rmsf(trajectory: mdtraj.Trajectory, weights: np.ndarray | None = None) -> float:
    """Root mean square fluctuation of the CA atoms, averaged over residues (nm).

    Frames are superposed on the first frame, then on their mean, with weights [F].
    """
    atoms = [atom.index for atom in trajectory.topology.atoms if atom.name == "CA"]
    x = np.asarray(trajectory.xyz[:, atoms], np.float64)
    weights = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    centre = x[0]
    for _ in range(2):
        x = superpose(x, centre)[0]
        centre = np.average(x, 0, weights)
    square = np.average(((x - centre) ** 2).sum(-1), 0, weights)
    return float(np.sqrt(square).mean())


def _scale(variance: np.ndarray, rmsf: float) -> float:
    """Factor that gives coordinates with these variances [3 L] the mean RMSF `rmsf`."""
    if not (np.isfinite(rmsf) and rmsf >= 0):
        raise StructureError(f"rmsf is {rmsf!r} nm; give a length of 0 or more")
    return float(rmsf / np.sqrt(variance.reshape(-1, 3).sum(1)).mean())


def _normal(seed: int, frame: int, size: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(key=[seed, frame])).standard_normal(size)


def _ca(template: mdtraj.Trajectory) -> np.ndarray:
    """CA positions [L, 3] of a template, after checks."""
    if template.n_frames != 1:
        raise StructureError(
            f"the template has {template.n_frames} frames; choose one, as in trajectory[0]"
        )
    found = [[a.index for a in r.atoms if a.name == "CA"] for r in template.topology.residues]
    for residue, atoms in zip(template.topology.residues, found, strict=True):
        if len(atoms) != 1:
            raise StructureError(
                f"{residue} of the template has {len(atoms)} CA atoms; keep protein residues with "
                "one each (trajectory.atom_slice)"
            )
    if len(found) < 4:
        raise StructureError(
            f"the template has {counted(len(found), 'residue')}; at least 4 are needed"
        )
    ca = np.asarray(template.xyz[0, np.concatenate(found)], np.float64)
    if not np.isfinite(ca).all():
        where = int((~np.isfinite(ca).all(1)).argmax())
        raise StructureError(f"residue {where} of the template has a CA that is not finite")
    return ca


def _displaced(template: mdtraj.Trajectory, n: int, draw: object) -> mdtraj.Trajectory:
    """n frames of the template with residues displaced by ``draw(frame)`` [L, 3]."""
    md = require("mdtraj")
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise StructureError(f"n is {n!r}; give the number of frames, at least 1")
    _ca(template)
    residue = [atom.residue.index for atom in template.topology.atoms]
    xyz = np.empty((n, template.n_atoms, 3), np.float32)
    for frame in range(n):
        xyz[frame] = template.xyz[0] + draw(frame)[residue]
    return md.Trajectory(xyz, template.topology, time=np.arange(n))
