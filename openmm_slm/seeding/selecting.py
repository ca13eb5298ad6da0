"""`select_seeds`: select a few representative frames of an ensemble."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np

from ..analysis.weights import FrameWeights, checked_weights
from ..errors import SLMError, counted, require
from .features import FEATURES, Space, feature_space
from .frames import CandidateFrames

if TYPE_CHECKING:
    import mdtraj

    from ..files.report_table import Report
    from ..protein.trajectory import HasTrajectory

DRAWN = "drawn"
METHODS = ("kcenters", "kmeans", "least-populated", DRAWN)
CLUSTERS = 5  # clusters per seed, for least-populated


def select_seeds(
    ens_or_traj: HasTrajectory | mdtraj.Trajectory | str | os.PathLike,
    n: int = 10,
    method: str | None = None,
    features: str = "ca-rmsd",
    report: Report | np.ndarray | str | None = None,
    *,
    weights: np.ndarray | str | os.PathLike | None = None,
    clusters: int | None = None,
    lag: int = 20,
    lengths: Sequence[int] | None = None,
    seed: int = 0,
    per_state: bool = False,
    top: str | os.PathLike | None = None,
) -> np.ndarray:
    """Select frames to start simulations from; invalid frames are skipped.

    Parameters
    ----------
    ens_or_traj : Ensemble, mdtraj.Trajectory, or path
        A path is a trajectory file or a folder written by `openmm-slm sample`.
    n : int
        Number of seeds.
    method : "kcenters", "kmeans", "least-populated" or "drawn", optional
        Default: kcenters, or drawn if there are weights. kcenters covers the ensemble evenly,
        outliers included: it starts from the most central frame and repeatedly adds the frame
        farthest from all selected ones (Gonzalez, Theor. Comput. Sci. 38, 293, 1985). kmeans
        follows the density of frames: it takes the frame nearest to each of n means, largest
        cluster first. least-populated favours rare conformations: it takes the medoids of the n
        smallest of `clusters` k-centers clusters. drawn takes random frames with probabilities of
        `weights`, each at most once.
    features : "ca-rmsd", "dihedrals", "pca" or "tica"
        See `openmm_slm.seeding.features`. tica needs frames in time order and the extra
        ``compare``.
    report : dict, array of bool, or "md", optional
        Report with a column ``valid``. Default: the report of the Ensemble, or computed. "md"
        applies the criteria for frames of a simulation (see `openmm_slm.seeding.judging`).
    weights : array [F], or path, optional
        Weights of all frames for method drawn; default equal. A path is a file with one weight per
        line, or the ``weights.csv`` of `openmm_slm.compare`.
    clusters : int, optional
        Number of clusters for least-populated. Default: 5 n, at most the number of valid frames.
    lag : int
        Lag of TICA in frames.
    lengths : sequence of int, optional
        For TICA: numbers of frames of the trajectories that were joined.
    seed : int
        Random seed of k-means and of drawn frames.
    per_state : bool
        Select `n` seeds from the frames of each state, of an ensemble that was sampled from several
        (``template=[a, b]``); those of state 0 come first.
    top : path, optional
        Topology of a trajectory file without one.

    Returns
    -------
    ndarray, int [n], or [n times the number of states] with `per_state`
        Numbers of different frames. They do not depend on the position and orientation of frames.

    Raises
    ------
    ValueError
        `method` or `features` is unknown, there are fewer valid frames than `n`, `per_state` is set
        for frames without states, or `weights` are given with another method than drawn, for
        another number of frames, or negative.

    Examples
    --------
    >>> import openmm_slm
    >>> traj = openmm_slm.generate_ensemble("GYDPETGTWG", n=8, seed=1, relax=True)
    >>> len(openmm_slm.select_seeds(traj, n=3))
    3
    """
    return choose(
        CandidateFrames.of(ens_or_traj, report, top),
        n,
        method,
        features,
        weights,
        clusters,
        lag,
        lengths,
        seed,
        per_state,
    )


def choose(
    frames: CandidateFrames,
    n: int,
    method: str | None = None,
    features: str = "ca-rmsd",
    weights: FrameWeights = None,
    clusters: int | None = None,
    lag: int = 20,
    lengths: Sequence[int] | None = None,
    seed: int = 0,
    per_state: bool = False,
) -> np.ndarray:
    """`select_seeds` for frames whose validity is known."""
    if per_state:
        if frames.state is None:
            raise SLMError(
                "per_state is True, but the report of the frames has no column 'state'; sample "
                "from several states (template=[a, b], --template A --template B), or leave "
                "per_state out"
            )
        chosen = []
        for state in np.unique(frames.state):
            mine = replace(frames, valid=frames.valid & (frames.state == state), state=None)
            try:
                chosen.append(
                    choose(mine, n, method, features, weights, clusters, lag, lengths, seed)
                )
            except SLMError as error:
                raise SLMError(f"state {state}: {error}") from None
        return np.concatenate(chosen)
    method = method_of(method, weights)
    for name, value, allowed in (("method", method, METHODS), ("features", features, FEATURES)):
        if value not in allowed:
            raise SLMError(f"{name} is {value!r}; give one of {', '.join(allowed)}")
    if isinstance(n, bool) or not isinstance(n, Integral) or n < 1:
        raise SLMError(f"n is {n!r}; give a number of seeds from 1")
    kept = np.flatnonzero(frames.valid)
    if n > len(kept):
        raise SLMError(
            f"{counted(n, 'seed')} of {counted(len(kept), 'valid frame')} ({len(frames.valid)} in "
            "all); sample more, relax them (openmm_slm.relax), or ask for fewer seeds; "
            "report='md' judges frames of a simulation"
        )
    if clusters is not None and not n <= clusters <= len(kept):
        raise SLMError(f"clusters is {clusters}; give {n} (seeds) to {len(kept)} (valid frames)")
    if method == DRAWN:
        return _drawn(
            kept, checked_weights(weights, len(frames.valid), "weights", "ensemble"), n, seed
        )
    space = feature_space(frames.trajectory, features, lag, lengths, kept)
    if method == "kcenters":
        return kept[k_centers(space, n)[0]]
    if method == "kmeans":
        return kept[_k_means(space, n, seed)]
    return kept[_least_populated(space, n, clusters or min(CLUSTERS * n, len(kept)))]


def method_of(method: str | None, weights: FrameWeights) -> str:
    """The method, or its default; weights are for `DRAWN` only."""
    if method is None:
        return METHODS[0] if weights is None else DRAWN
    if weights is not None and method != DRAWN:
        raise SLMError(
            f"method is {method!r}, which takes no weights; give {DRAWN!r}, or leave them out"
        )
    return method


def _drawn(kept: np.ndarray, weights: np.ndarray, n: int, seed: int) -> np.ndarray:
    """n different frames of `kept`, drawn one after another with probabilities of `weights`."""
    probability = weights[kept]
    possible = int(np.count_nonzero(probability))
    if n > possible:
        raise SLMError(
            f"{counted(n, 'seed')} of {counted(possible, 'valid frame')} with a weight above 0; "
            "ask for fewer seeds"
        )
    rng = np.random.default_rng(seed)
    return rng.choice(kept, n, replace=False, p=probability / probability.sum())


def k_centers(space: Space, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Center frames [n], most central first, and the number of the center of each frame [F]."""
    away = np.linalg.norm(space.points - space.points.mean(0), axis=1)
    centers = [int(away.argmin())]
    nearest = space.distances(centers[0])
    owner = np.zeros(len(nearest), int)
    while len(centers) < n:
        free = nearest.copy()
        free[centers] = -1.0  # never select a frame twice, even if frames are equal
        centers.append(int(free.argmax()))
        distance = space.distances(centers[-1])
        closer = distance < nearest
        owner[closer], nearest = len(centers) - 1, np.minimum(nearest, distance)
    owner[centers] = np.arange(n)
    return np.array(centers), owner


def _k_means(space: Space, n: int, seed: int) -> np.ndarray:
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore")  # empty clusters get a frame too
        means, owner = require("scipy.cluster.vq").kmeans2(
            space.points, n, minit="++", seed=np.random.default_rng(seed)
        )
    size = np.bincount(owner, minlength=n)
    free = np.ones(len(space.points), bool)
    chosen = []
    for k in np.argsort(-size, kind="stable"):
        away = np.linalg.norm(space.points - means[k], axis=1)
        chosen.append(int(np.where(free, away, np.inf).argmin()))
        free[chosen[-1]] = False
    return np.array(chosen)


def _least_populated(space: Space, n: int, clusters: int) -> np.ndarray:
    _, owner = k_centers(space, clusters)
    size = np.bincount(owner, minlength=clusters)
    return np.array(
        [_medoid(space, owner == k) for k in np.argsort(size, kind="stable")[:n].tolist()]
    )


def _medoid(space: Space, members: np.ndarray) -> int:
    rows = np.flatnonzero(members)
    return int(rows[np.argmin([space.distances(i)[rows].mean() for i in rows.tolist()])])
