"""`compare`: an ensemble beside a reference ensemble, an experiment, or both."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..analysis.matching import Matched, match
from ..analysis.weights import Weights, checked_weights
from ..errors import StructureError, require
from ..files.json_file import write_atomically
from ..files.options import takes
from ..protein.periodic import made_whole
from .catalogue import METRICS
from .comparison_settings import ComparisonSettings
from .experiment import ExperimentResult, compare_with_experiment
from .measuring import Measured, measure

if TYPE_CHECKING:
    import mdtraj
    import pandas
    from matplotlib.figure import Figure

    from ..protein.trajectory import HasTrajectory

_COLUMNS = (
    "metric", "value", "reference", "floor", "floor_low", "floor_high", "unit", "better"
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Comparison:
    """Result of `compare`.

    Attributes
    ----------
    table : pandas.DataFrame
        Index ``metric``. ``value`` is for the samples, ``reference`` for the reference itself if
        the metric is defined for it. ``floor``, ``floor_low`` and ``floor_high`` are median and
        95 % interval for the same number of frames drawn from the reference. ``unit`` follows, then
        ``better``: lower, higher, or reference (the best value is that of the reference). Empty
        without a reference.
    profiles : dict of str to ndarray
        Values per residue, pair or frame; see docs/comparison.md. Lengths in nm, torsions in
        radians.
    settings : dict
        Numbers of frames and residues, and the arguments.
    experiment : ExperimentResult or None
        Comparison with the experiment, and the weights after reweighting.
    """

    table: pandas.DataFrame
    profiles: dict[str, np.ndarray]
    settings: dict
    experiment: ExperimentResult | None = None

    def plot(self) -> Figure:
        """One page of plots: free energy, contacts, radius of gyration, RMSF, Ramachandran.

        Without a reference, the page shows the experiment only.
        """
        from .experiment_figure import draw_experiment
        from .figure import draw

        if self.experiment is not None and self.table.empty:
            return draw_experiment(self.experiment)
        return draw(self.profiles, self.settings)

    def to_html(self, path: str | os.PathLike) -> Path:
        """Write table, figure and settings as a self-contained HTML page."""
        from .report import html

        page = html(self.table, self.settings, self.plot(), self.experiment)
        return write_atomically(Path(path), page.encode())

    def save(self, directory: str | os.PathLike) -> Path:
        """Write ``table.csv``, ``comparison.png`` and ``report.html`` into `directory`.

        With an experiment, ``experiment.csv`` is written, and after reweighting ``weights.csv``.
        Without a reference, there is no ``table.csv``.

        Raises
        ------
        StructureError
            One of these files exists already.
        """
        from .report import save

        return save(directory, self.table, self.settings, self.plot(), self.experiment)


@takes(ComparisonSettings)
def compare(
    samples: mdtraj.Trajectory | HasTrajectory,
    reference: mdtraj.Trajectory | HasTrajectory | None = None,
    *,
    weights: np.ndarray | str | os.PathLike | None = None,
    reference_weights: np.ndarray | str | os.PathLike | None = None,
    lengths: Sequence[int] | None = None,
    clusters: mdtraj.Trajectory | None = None,
    experiment: str | os.PathLike | Iterable[Mapping[str, object]] | None = None,
    settings: dict[str, Any],
    progress: bool = True,
) -> Comparison:
    """Compare an ensemble with another one of the same protein, with an experiment, or with both.

    Residues are matched by sequence and atoms by name. Topologies may differ, and residues and
    atoms may be missing. Metrics of CA are always computed, metrics of N, CA, C and O for the
    residues with these atoms in both. Molecules that a periodic box has cut are made whole.

    Parameters
    ----------
    samples, reference : mdtraj.Trajectory or Ensemble
        At least 2 frames each. The reference may be left out if there is an experiment.
    weights, reference_weights : array [N], [M], or path, optional
        Frame weights; default equal. A path is a file with one weight per line, or the
        ``weights.csv`` of an earlier comparison. TM-score, RMSD-ens and residue flexibility use at
        most 100 frames; these are chosen regardless of the weights, which enter the means.
    lengths : sequence of int, optional
        Numbers of frames of the trajectories that were joined into `reference`, in order. TICA uses
        pairs of frames within one trajectory only. Default: one trajectory.
    clusters : mdtraj.Trajectory, optional
        Target conformations for TM-ens and RMSD-ens. Default: at most 100 evenly spaced reference
        frames.
    experiment : path or list of dict, optional
        Measured averages: a CSV or JSON file with observable (rg, end_to_end, 3J_HN_HA), value,
        error, unit and residue. See docs/experiment.md.
    progress : bool
        Show a progress bar.
    {options}

    Returns
    -------
    Comparison

    Raises
    ------
    StructureError
        The sequences differ, an ensemble has a single frame or coordinates that are not finite,
        features of the reference do not vary, the lag is too long for the trajectories,
        weights or lengths have the wrong size, or the experiment has an unknown observable or unit,
        a residue that does not exist, or a number that cannot be right.
    SLMError
        Reweighting leaves an effective share of frames under 10 %.
    MissingDependencyError
        pandas or deeptime is missing: the extra ``compare``.
    """
    pandas = require("pandas", "compare")
    chosen = ComparisonSettings(**settings)
    _check_arguments(reference, experiment, chosen, reference_weights, lengths, clusters)
    ours = _trajectory(samples, "samples")
    against, facts = None, {}
    if experiment is not None:
        against = compare_with_experiment(
            ours,
            checked_weights(weights, ours.n_frames, "weights", "samples"),
            experiment,
            reweighted=chosen.reweight,
            theta=chosen.theta,
        )
        if against.reweighting is not None:
            weights = against.reweighting.weights
        facts = against.facts()
    if reference is None:
        facts = {"samples": ours.n_frames, **facts}
        return Comparison(_table(pandas, None), {}, facts, against)
    theirs = _trajectory(reference, "reference")
    matched = match(ours, theirs)
    targets = _targets(matched, ours, clusters)
    rng = np.random.default_rng(chosen.seed)
    frame_weights = Weights.make(
        weights, ours.n_frames, reference_weights, theirs.n_frames, chosen.n_bootstrap, rng
    )
    measured = measure(
        matched, frame_weights, targets, lengths, chosen.tica_lag, chosen.tica_components, rng,
        progress,
    )  # fmt: skip
    facts = {
        "samples": ours.n_frames,
        "reference frames": theirs.n_frames,
        "reference trajectories": 1 if lengths is None else len(lengths),
        "residues": len(matched.sequence),
        "sequence": matched.sequence,
        "TICA lag (frames)": chosen.tica_lag,
        "TICA components": chosen.tica_components,
        "draws for the noise floor": chosen.n_bootstrap,
        "frames in a draw": frame_weights.n_drawn,
        "seed": chosen.seed,
        **measured.notes,
        **facts,
    }
    return Comparison(_table(pandas, measured), measured.profiles, facts, against)


def _trajectory(source: Any, whose: str) -> mdtraj.Trajectory:
    """The frames of a Trajectory or Ensemble in whole molecules."""
    found = getattr(source, "trajectory", source)
    if not hasattr(found, "topology") or not hasattr(found, "xyz"):
        raise StructureError(
            f"the {whose} are of type {type(source).__name__}; pass an mdtraj.Trajectory or an "
            "Ensemble"
        )
    if not found.n_frames:
        raise StructureError(f"the {whose} have 0 frames; give at least 1")
    return made_whole(found, whose)


def _check_arguments(
    reference: object, experiment: object, settings: ComparisonSettings, *of_reference: object
) -> None:
    """Refuse arguments that would have no effect."""
    if reference is None and experiment is None:
        raise StructureError("there is nothing to compare with; give a reference or an experiment")
    if reference is None and any(given is not None for given in of_reference):
        raise StructureError(
            "reference_weights, lengths and clusters belong to a reference; give it too"
        )
    if experiment is None and settings.reweight:
        raise StructureError("reweight needs an experiment (--experiment FILE)")


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


def _table(pandas: ModuleType, measured: Measured | None) -> pandas.DataFrame:
    rows = []
    for metric in METRICS:
        if measured is None or metric.name not in measured.values:
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
    return pandas.DataFrame(rows, columns=_COLUMNS).set_index("metric")
