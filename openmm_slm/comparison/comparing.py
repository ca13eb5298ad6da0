"""`compare`: an ensemble against a reference, from two Trajectories to a table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from ..analysis.matching import Matched, match
from ..analysis.weights import Weights
from ..errors import StructureError, require
from ..files.json_file import write_whole
from .catalogue import METRICS
from .measuring import Measured, measure

if TYPE_CHECKING:
    import mdtraj
    import pandas
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` found.

    Attributes
    ----------
    table : pandas.DataFrame
        Index ``metric``. ``value`` is the samples', ``reference`` the reference's own where that
        means something; ``floor``, ``floor_low`` and ``floor_high`` are median and 95 % interval
        of the value of as many frames drawn from the reference; ``unit``; ``better``: lower,
        higher, or reference (as near as possible to the reference's value).
    profiles : dict of str to ndarray
        Per residue, pair or frame; see docs/comparison.md. Lengths in nm, torsions in radians.
    settings : dict
        Numbers of frames and residues, and the arguments that were used.
    """

    table: pandas.DataFrame
    profiles: dict[str, np.ndarray]
    settings: dict

    def plot(self) -> Figure:
        """One page: free energy of both, RMSF, contacts, radius of gyration, Ramachandran."""
        from .figure import draw

        return draw(self.profiles, self.settings)

    def to_html(self, path: str | os.PathLike) -> Path:
        """One file with table, figure and settings, that needs no other."""
        from .report import html

        page = html(self.table, self.settings, self.plot())
        return write_whole(Path(path), page.encode())

    def save(self, directory: str | os.PathLike) -> Path:
        """``table.csv``, ``comparison.png`` and ``report.html`` in `directory`.

        Raises
        ------
        StructureError
            One of them is there already.
        """
        from .report import save

        return save(directory, self.table, self.settings, self.plot())


def compare(
    samples: mdtraj.Trajectory,
    reference: mdtraj.Trajectory,
    *,
    weights: np.ndarray | None = None,
    reference_weights: np.ndarray | None = None,
    lengths: Sequence[int] | None = None,
    clusters: mdtraj.Trajectory | None = None,
    tica_lag: int | None = 20,
    tica_components: int = 50,
    n_bootstrap: int = 100,
    seed: int = 0,
) -> Comparison:
    """Compare an ensemble with a simulation or another ensemble of the same protein.

    Residues are matched by sequence and atoms by name; topologies may differ, residues and atoms
    may be missing. What needs CA alone is always computed, what needs N, CA, C and O where both
    have them. Molecules must be whole (not cut by periodic boundaries).

    Parameters
    ----------
    samples, reference : mdtraj.Trajectory
        At least 2 frames each.
    weights, reference_weights : array [N], [M], optional
        Of frames; default equal. Where at most 100 frames enter (TM-score, RMSD-ens, residue
        flexibility), they are chosen regardless of weights, and weights count in means.
    lengths : sequence of int, optional
        Numbers of frames of the trajectories that `reference` is made of, in order: no pair of
        frames for TICA is taken from two. Default: one trajectory.
    clusters : mdtraj.Trajectory, optional
        Target conformations of TM-ens and RMSD-ens. Default: reference frames, at most 100,
        evenly spaced.
    tica_lag : int or None
        Frames of the reference. None: frames without an order in time; JS-TIC is left out.
    tica_components : int
        Principal components of CA-CA distances in which TICA is done.
    n_bootstrap : int
        Draws from the reference for the noise floor; 0 for none.
    seed : int
        Of these draws and of the choice of 100 frames.

    Returns
    -------
    Comparison

    Raises
    ------
    StructureError
        Sequences that differ, a single frame, coordinates that are not finite, reference features
        that do not vary, a lag too long for the trajectories, weights or lengths that do not fit.
    MissingDependencyError
        pandas or deeptime is missing: the extra ``compare``.
    """
    pandas = require("pandas", "compare")
    if n_bootstrap < 0 or tica_components < 1:
        raise StructureError(
            f"n_bootstrap is {n_bootstrap} and tica_components {tica_components}; "
            "give at least 0 and 1"
        )
    matched = match(samples, reference)
    targets = _targets(matched, samples, clusters)
    rng = np.random.default_rng(seed)
    frame_weights = Weights.make(
        weights, samples.n_frames, reference_weights, reference.n_frames, n_bootstrap, rng
    )
    measured = measure(matched, frame_weights, targets, lengths, tica_lag, tica_components, rng)
    settings = {
        "samples": samples.n_frames,
        "reference frames": reference.n_frames,
        "reference trajectories": 1 if lengths is None else len(lengths),
        "residues": len(matched.sequence),
        "sequence": matched.sequence,
        "TICA lag (frames)": tica_lag,
        "TICA components": tica_components,
        "draws for the noise floor": n_bootstrap,
        "frames in a draw": frame_weights.n_drawn,
        "seed": seed,
        **measured.notes,
    }
    return Comparison(_table(pandas, measured), measured.profiles, settings)


def _targets(
    matched: Matched, samples: mdtraj.Trajectory, clusters: mdtraj.Trajectory | None
) -> np.ndarray | None:
    """CA [T, R, 3] of the clusters, for the matched residues."""
    if clusters is None:
        return None
    # One conformation may be all there is; matching asks for two frames.
    twice = clusters if clusters.n_frames > 1 else clusters.join([clusters])
    found = match(samples[:2] if samples.n_frames > 1 else samples, twice)
    if found.labels != matched.labels:
        raise StructureError(
            f"the clusters have {len(found.labels)} of the residues, samples and reference "
            f"{len(matched.labels)} in common; give clusters with the same residues"
        )
    return found.reference[: clusters.n_frames]


def _table(pandas: ModuleType, measured: Measured) -> pandas.DataFrame:
    rows = []
    for metric in METRICS:
        if metric.name not in measured.values:
            continue
        value, floor, reference = measured.values[metric.name]
        floor = np.asarray(floor, float)
        finite = metric.scale * floor[np.isfinite(floor)]
        low, middle, high = (
            np.quantile(finite, (0.025, 0.5, 0.975)) if len(finite) else [np.nan] * 3
        )
        rows.append(
            {
                "metric": metric.name,
                "value": metric.scale * value,
                "reference": metric.scale * reference,
                "floor": middle,
                "floor_low": low,
                "floor_high": high,
                "unit": metric.unit,
                "better": metric.better,
            }
        )
    return pandas.DataFrame(rows).set_index("metric")
