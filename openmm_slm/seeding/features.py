"""Feature spaces for clustering: coordinates of frames and distances between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np

from ..analysis.fluctuations import mean_structure
from ..analysis.tica import distance_basis, fit_tica, split
from ..errors import SLMError, StructureError, counted
from ..protein.geometry import backbone_torsions
from ..protein.superposition import rmsd_matrix, superposed
from ..protein.trajectory import from_trajectory

if TYPE_CHECKING:
    import mdtraj

FEATURES = ("ca-rmsd", "dihedrals", "pca", "tica")
COMPONENTS = 10  # principal components, for PCA and as input of TICA


@dataclass(frozen=True, eq=False)
class Space:
    """F frames as points.

    Attributes
    ----------
    points : ndarray [F, D]
    distances : callable
        Distances [F] from frame i: Euclidean in `points`, or RMSD after superposition.
    """

    points: np.ndarray
    distances: Callable[[int], np.ndarray]


def feature_space(
    trajectory: mdtraj.Trajectory,
    features: str,
    lag: int = 20,
    lengths: Sequence[int] | None = None,
    kept: np.ndarray | None = None,
) -> Space:
    """Map frames to the space of one of `FEATURES`.

    - ca-rmsd: distances are CA RMSDs after pairwise superposition. Points are CA coordinates
      superposed on the iterated mean structure, divided by sqrt(L); their distances are upper
      bounds of the RMSDs.
    - dihedrals: sine and cosine of phi and psi.
    - pca: the first `COMPONENTS` principal components of CA-CA distances (nm).
    - tica: two TICA components of these principal components, from all frames in time order.

    Parameters
    ----------
    trajectory : mdtraj.Trajectory
    features : str
        One of `FEATURES`.
    lag : int
        Lag of TICA in frames.
    lengths : sequence of int, optional
        For TICA: numbers of frames of the trajectories that were joined.
    kept : ndarray, int, optional
        Frames to return; default all.

    Returns
    -------
    Space

    Raises
    ------
    SLMError
        `features` is unknown, or `lag` leaves too few pairs of frames.
    """
    if features not in FEATURES:
        raise SLMError(f"features is {features!r}; give one of {', '.join(FEATURES)}")
    kept = np.arange(trajectory.n_frames) if kept is None else kept
    if features == "dihedrals":
        protein = from_trajectory(trajectory[kept])
        phi, psi, _ = backbone_torsions(protein.backbone.astype(float), protein.chain_break)
        angles = np.concatenate([phi, psi], 1)
        angles = angles[:, np.isfinite(angles).all(0)]
        return _euclidean(np.concatenate([np.sin(angles), np.cos(angles)], 1))
    ca = ca_positions(trajectory)
    if features == "ca-rmsd":
        return _superposed(ca[kept])
    try:
        basis = distance_basis(ca if features == "tica" else ca[kept], COMPONENTS)
    except StructureError:  # all frames are equal: so are all choices
        return _euclidean(np.zeros((len(kept), 1)))
    if features == "pca":
        return _euclidean(basis.project(ca[kept]) / np.linalg.norm(basis.vectors, axis=0))
    scores = basis.project(ca)
    if isinstance(lag, bool) or not isinstance(lag, Integral) or lag < 1:
        raise SLMError(f"lag is {lag!r}; give a number of frames, 1 or more")
    longest = max(part.stop - part.start for part in split(len(ca), lengths))
    try:
        found = fit_tica(scores, lag, lengths)
    except StructureError:
        raise SLMError(
            f"lag is {counted(lag, 'frame')} and the longest trajectory has {longest}, which are "
            "too few for TICA; give a shorter lag, or features='pca', which needs no order in time"
        ) from None
    return _euclidean(found.transform(scores)[kept])


def ca_positions(trajectory: mdtraj.Trajectory) -> np.ndarray:
    """CA [F, L, 3] (nm); ions of calcium are left out."""
    atoms = [a.index for a in trajectory.topology.atoms if a.name == "CA" and a.residue.n_atoms > 1]
    atoms = atoms or [a.index for a in trajectory.topology.atoms if a.name == "CA"]
    if len(atoms) < 3:
        raise StructureError(f"{counted(len(atoms), 'CA atom')}; features need at least 3")
    return trajectory.xyz[:, atoms]


def _superposed(ca: np.ndarray) -> Space:
    mean = mean_structure(ca, np.ones(len(ca)))
    points = superposed(ca, mean).reshape(len(ca), -1) / np.sqrt(ca.shape[1])
    return Space(points, lambda i: rmsd_matrix(ca, ca[i : i + 1])[:, 0])


def _euclidean(points: np.ndarray) -> Space:
    return Space(points, lambda i: np.linalg.norm(points - points[i], axis=1))
