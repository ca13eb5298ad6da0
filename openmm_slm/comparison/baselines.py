"""What a structure alone would give: itself, itself with noise, its harmonic motions.

A sampler that is given a template has shown something when it does better than these, at equal
numbers of frames. All displacements are drawn per residue: every atom moves with its CA.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import StructureError, require
from ..protein.elastic_network import CUTOFF, network_modes, rigid_motions
from ..protein.superposition import superpose

if TYPE_CHECKING:
    import mdtraj


def repeated(template: mdtraj.Trajectory, n: int) -> mdtraj.Trajectory:
    """The template n times."""
    return _displaced(template, n, lambda frame: np.zeros((template.n_residues, 3)))


def jitter(template: mdtraj.Trajectory, n: int, rmsf: float, *, seed: int = 0) -> mdtraj.Trajectory:
    """The template with Gaussian noise of one size on every residue.

    Rigid-body motion is taken out of the noise, which is then scaled: the mean RMSF of superposed
    frames is `rmsf`, as it is for `elastic_network`.

    Parameters
    ----------
    template : Trajectory
        One frame, a CA in every residue.
    n : int
        Frames.
    rmsf : float
        Root mean square fluctuation, averaged over residues (nm); see `mean_rmsf`.
    seed : int
        Frame i depends on (seed, i) alone.

    Returns
    -------
    Trajectory
        n frames of the template's topology.
    """
    ca = _ca(template)
    rigid = rigid_motions(ca)
    inside = 1 - (rigid**2).sum(1)  # [3 L], variance left in each coordinate
    sigma = _scale(inside, rmsf)

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
    """The template moved along the harmonic modes of an anisotropic network model (ANM).

    Displacements are Gaussian with the covariance of `network_modes`, to first order: large ones
    stretch bonds, as they do in every linear model.

    Parameters
    ----------
    template, n, rmsf
        As of `jitter`; the network knows no temperature, so `rmsf` gives the amplitude.
    cutoff : float
        Springs join CA atoms closer than this (nm).
    seed : int
        As of `jitter`.

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

    Frames are superposed on the first, then on their mean; `weights` [F] count frames.
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
    """Factor that makes the mean RMSF of coordinates with these variances [3 L] `rmsf`."""
    if not (np.isfinite(rmsf) and rmsf >= 0):
        raise StructureError(f"rmsf is {rmsf!r} nm; give a length of 0 or more")
    return float(rmsf / np.sqrt(variance.reshape(-1, 3).sum(1)).mean())


def _normal(seed: int, frame: int, size: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(key=[seed, frame])).standard_normal(size)


def _ca(template: mdtraj.Trajectory) -> np.ndarray:
    """CA positions [L, 3] of a template of one frame."""
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
        raise StructureError(f"the template has {len(found)} residues; at least 4 are needed")
    ca = np.asarray(template.xyz[0, np.concatenate(found)], np.float64)
    if not np.isfinite(ca).all():
        where = int((~np.isfinite(ca).all(1)).argmax())
        raise StructureError(f"residue {where} of the template has a CA that is not finite")
    return ca


def _displaced(template: mdtraj.Trajectory, n: int, draw: object) -> mdtraj.Trajectory:
    """n frames of a template whose residues are moved by ``draw(frame)`` [L, 3]."""
    md = require("mdtraj")
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise StructureError(f"n is {n!r}; give the number of frames, at least 1")
    _ca(template)
    residue = [atom.residue.index for atom in template.topology.atoms]
    xyz = np.empty((n, template.n_atoms, 3), np.float32)
    for frame in range(n):
        xyz[frame] = template.xyz[0] + draw(frame)[residue]
    return md.Trajectory(xyz, template.topology, time=np.arange(n))
