"""`compare`: a table of metrics for an ensemble and a reference."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..analysis.matching import Matched, match
from ..analysis.weights import Weights
from ..errors import StructureError, require
from ..files.json_file import write_atomically
from ..files.options import takes
from ..protein.periodic import made_whole
from .catalogue import METRICS
from .comparison_settings import ComparisonSettings
from .measuring import Measured, measure

if TYPE_CHECKING:
    import mdtraj
    import pandas
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Comparison:
    """Result of `compare`.

    Attributes
    ----------
    table : pandas.DataFrame
        Index ``metric``. ``value`` is for the samples, ``reference`` for the reference itself if
        the metric is defined for it. ``floor``, ``floor_low`` and ``floor_high`` are median and
        95 % interval for the same number of frames drawn from the reference. ``unit`` follows, then
        ``better``: lower, higher, or reference (the best value is that of the reference).
    profiles : dict of str to ndarray
        Values per residue, pair or frame; see docs/comparison.md. Lengths in nm, torsions in
        radians.
    settings : dict
        Numbers of frames and residues, and the arguments.
    """

    table: pandas.DataFrame
    profiles: dict[str, np.ndarray]
    settings: dict

    def plot(self) -> Figure:
        """One page of plots: free energy, contacts, radius of gyration, RMSF, Ramachandran."""
        from .figure import draw

        return draw(self.profiles, self.settings)

    def to_html(self, path: str | os.PathLike) -> Path:
        """Write table, figure and settings as a self-contained HTML page."""
        from .report import html

        page = html(self.table, self.settings, self.plot())
        return write_atomically(Path(path), page.encode())

    def save(self, directory: str | os.PathLike) -> Path:
        """Write ``table.csv``, ``comparison.png`` and ``report.html`` into `directory`.

        Raises
        ------
        StructureError
            One of these files exists already.
        """
        from .report import save

        return save(directory, self.table, self.settings, self.plot())


@takes(ComparisonSettings)
def compare(
    samples: mdtraj.Trajectory,
    reference: mdtraj.Trajectory,
    *,
    weights: np.ndarray | None = None,
    reference_weights: np.ndarray | None = None,
    lengths: Sequence[int] | None = None,
    clusters: mdtraj.Trajectory | None = None,
    settings: dict[str, Any],
) -> Comparison:
    """Compare an ensemble with a simulation or another ensemble of the same protein.

    Residues are matched by sequence and atoms by name. Topologies may differ, and residues and
    atoms may be missing. Metrics of CA are always computed, metrics of N, CA, C and O for the
    residues with these atoms in both. Molecules that a periodic box has cut are made whole.

    Parameters
    ----------
    samples, reference : mdtraj.Trajectory
        At least 2 frames each.
    weights, reference_weights : array [N], [M], optional
        Frame weights; default equal. TM-score, RMSD-ens and residue flexibility use at most 100
        frames; these are chosen regardless of the weights, which enter the means.
    lengths : sequence of int, optional
        Numbers of frames of the trajectories that were joined into `reference`, in order. TICA uses
        pairs of frames within one trajectory only. Default: one trajectory.
    clusters : mdtraj.Trajectory, optional
        Target conformations for TM-ens and RMSD-ens. Default: at most 100 evenly spaced reference
        frames.
    {options}

    Returns
    -------
    Comparison

    Raises
    ------
    StructureError
        The sequences differ, an ensemble has a single frame or coordinates that are not finite,
        features of the reference do not vary, the lag is too long for the trajectories, or
        weights or lengths have the wrong size.
    MissingDependencyError
        pandas or deeptime is missing: the extra ``compare``.
    """
    pandas = require("pandas", "compare")
    chosen = ComparisonSettings(**settings)
    samples = made_whole(samples, "samples")
    reference = made_whole(reference, "reference")
    matched = match(samples, reference)
    targets = _targets(matched, samples, clusters)
    rng = np.random.default_rng(chosen.seed)
    frame_weights = Weights.make(
        weights, samples.n_frames, reference_weights, reference.n_frames, chosen.n_bootstrap, rng
    )
    measured = measure(
        matched, frame_weights, targets, lengths, chosen.tica_lag, chosen.tica_components, rng
    )
    facts = {
        "samples": samples.n_frames,
        "reference frames": reference.n_frames,
        "reference trajectories": 1 if lengths is None else len(lengths),
        "residues": len(matched.sequence),
        "sequence": matched.sequence,
        "TICA lag (frames)": chosen.tica_lag,
        "TICA components": chosen.tica_components,
        "draws for the noise floor": chosen.n_bootstrap,
        "frames in a draw": frame_weights.n_drawn,
        "seed": chosen.seed,
        **measured.notes,
    }
    return Comparison(_table(pandas, measured), measured.profiles, facts)


def _targets(
    matched: Matched, samples: mdtraj.Trajectory, clusters: mdtraj.Trajectory | None
) -> np.ndarray | None:
    """CA [T, R, 3] of the matched residues in the clusters."""
    if clusters is None:
        return None
    # `match` requires two frames; a single conformation is allowed here.
    twice = clusters if clusters.n_frames > 1 else clusters.join([clusters])
    found = match(samples[:2] if samples.n_frames > 1 else samples, twice)
    if found.labels != matched.labels:
        raise StructureError(
            f"the clusters have {len(found.labels)} of the {len(matched.labels)} residues that "
            "samples and reference share; give clusters with the same residues"
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
