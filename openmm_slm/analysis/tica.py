"""Slow coordinates of the reference: TICA of CA-CA distances in a PCA basis.

All distances are projected on their leading principal components, computed from at most
`PCA_FRAMES` evenly spaced frames and divided by their standard deviations. Components with less
than `CUTOFF` of the variance of the first are dropped. TICA (Perez-Hernandez et al., J. Chem. Phys.
139, 015102, 2013) then solves C(lag) v = lambda C(0) v. The covariances are symmetrised, mean-free
and use pairs of frames within one trajectory; eigenvalues of C(0) up to `CUTOFF` are dropped. All
reference frames have equal weight.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from ..errors import StructureError, counted, require
from .features import by_residue, distances, pair_blocks

logger = logging.getLogger(__name__)
CUTOFF = 1e-6
PCA_FRAMES = 2000
COMPONENTS = 2
WIDE = 4_000_000  # distances in an array here, where matrix products take most of the time


@dataclass(frozen=True, eq=False)
class DistanceBasis:
    """Leading principal components of all CA-CA distances of the reference.

    Attributes
    ----------
    mean : ndarray [P]
        Mean distances (nm); pairs in the order of ``numpy.triu_indices(L, 1)``.
    vectors : ndarray [P, D]
        Orthogonal; projections of the fitted frames have unit variance.
    explained : float
        Share of the variance that the components explain.
    """

    mean: np.ndarray
    vectors: np.ndarray
    explained: float

    def project(self, ca: np.ndarray) -> np.ndarray:
        """Projections [F, D] of CA [F, L, 3] (nm)."""
        i, j = np.triu_indices(ca.shape[1], 1)
        x, out = by_residue(ca), np.zeros((len(ca), self.vectors.shape[1]))
        for part in pair_blocks(len(ca), len(i), WIDE):
            out += (distances(x, i[part], j[part]) - self.mean[part, None]).T @ self.vectors[part]
        return out


def distance_basis(ca: np.ndarray, components: int) -> DistanceBasis:
    """Principal components of all CA-CA distances of CA [F, L, 3] (nm)."""
    scipy_linalg = require("scipy.linalg")
    rows = np.arange(len(ca))
    if len(ca) > PCA_FRAMES:
        rows = np.linspace(0, len(ca) - 1, PCA_FRAMES).round().astype(int)
    few = by_residue(ca[rows])
    i, j = np.triu_indices(ca.shape[1], 1)
    blocks = pair_blocks(len(rows), len(i), WIDE)
    means, gram = np.empty(len(i)), np.zeros((len(rows),) * 2)
    for b in blocks:
        d = distances(few, i[b], j[b])
        means[b] = d.mean(1)
        d -= means[b, None]
        gram += d.T @ d
    total = np.trace(gram)
    wanted = min(components, len(rows) - 1, len(i))
    value, left = scipy_linalg.eigh(gram, subset_by_index=[len(rows) - wanted, len(rows) - 1])
    value, left = value[::-1], left[:, ::-1]
    if value[0] / len(rows) < 1e-12:
        raise StructureError(
            "all distances are the same in every frame of the reference; give frames that differ"
        )
    kept = value > CUTOFF * value[0]
    value, left = value[kept], left[:, kept]
    vectors = np.empty((len(i), len(value)))
    for b in blocks:
        d = distances(few, i[b], j[b]) - means[b, None]
        vectors[b] = d @ left / value * np.sqrt(len(rows))
    return DistanceBasis(means, vectors, float(value.sum() / total))


def split(frames: int, lengths: list[int] | np.ndarray | None) -> list[slice]:
    """Slices of the single trajectories within a concatenated one."""
    lengths = [frames] if lengths is None else [int(n) for n in lengths]
    if sum(lengths) != frames or min(lengths, default=0) < 1:
        raise StructureError(
            f"lengths sum to {sum(lengths)}, but the reference has {counted(frames, 'frame')}; "
            "give the number of frames of each trajectory, in order"
        )
    ends = np.cumsum(lengths)
    return [slice(end - n, end) for end, n in zip(ends, lengths, strict=True)]


def fit_tica(scores: np.ndarray, lag: int, lengths=None, components: int = COMPONENTS):
    """Fit deeptime's TICA to scores [F, D]; return the model, which has ``transform``.

    Raises
    ------
    StructureError
        `lag` is not a positive integer, or leaves too few pairs of frames.
    """
    decomposition = require("deeptime.decomposition", "compare")
    if lag != int(lag) or lag < 1:
        raise StructureError(f"tica_lag is {lag}; give a number of frames (1 or more), or None")
    parts = [scores[part] for part in split(len(scores), lengths)]
    pieces = [part for part in parts if len(part) > lag]
    n_pairs = sum(len(part) - lag for part in pieces)
    longest = max(map(len, parts))
    if n_pairs <= scores.shape[1]:
        raise StructureError(
            f"tica_lag is {counted(lag, 'frame')} and the longest trajectory of the reference has "
            f"{longest}: {counted(n_pairs, 'pair')} of frames for "
            f"{counted(scores.shape[1], 'component')}; give a shorter tica_lag or fewer "
            "tica_components, or tica_lag=None if frames are not in order of time"
        )
    if len(pieces) < len(parts):
        logger.warning(
            "TICA ignores %s not longer than its lag of %s",
            counted(len(parts) - len(pieces), "trajectory", "trajectories"),
            counted(lag, "frame"),
        )
    estimator = decomposition.TICA(lagtime=int(lag), epsilon=CUTOFF, dim=components, scaling=None)
    covariances = decomposition.TICA.covariance_estimator(int(lag))
    for piece in pieces:
        covariances.partial_fit((piece[:-lag], piece[lag:]))
    return estimator.fit_from_covariances(covariances.fetch_model()).fetch_model()
