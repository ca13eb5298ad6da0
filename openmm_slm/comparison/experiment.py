"""Compare an ensemble with measured averages, and reweight it."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..analysis.maximum_entropy import Reweighting, averages, chi_square, reweight
from ..errors import require
from .experiment_file import read_experiment
from .observables import predict

if TYPE_CHECKING:
    import mdtraj
    import pandas

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ExperimentResult:
    """An ensemble of F frames beside M measured averages.

    Attributes
    ----------
    table : pandas.DataFrame
        Index ``observable``. ``experiment`` and ``error`` are measured, ``value`` is the average of
        the ensemble, ``deviation`` is value - experiment, all in ``unit``; ``chi`` is deviation /
        error. ``reweighted`` and ``reweighted_chi`` are those of the new weights, if there are any.
    values : ndarray [F, M]
        Prediction for each frame (nm or Hz).
    per_unit : ndarray [M]
        Factors from nm or Hz to the units of the table.
    chi_square : float
        Reduced chi-square: the mean of chi^2.
    prior_weights : ndarray [F]
        Weights before reweighting; sum F.
    reweighting : Reweighting or None
        Weights, theta, effective share of frames and chi-square.
    """

    table: pandas.DataFrame
    values: np.ndarray
    per_unit: np.ndarray
    chi_square: float
    prior_weights: np.ndarray
    reweighting: Reweighting | None = None

    def facts(self) -> dict[str, object]:
        """Numbers that sum up the comparison, by name."""
        found: dict[str, object] = {
            "measurements": len(self.table),
            "chi-square of the experiment": round(self.chi_square, 4),
        }
        if self.reweighting is not None:
            found |= {
                "chi-square after reweighting": round(self.reweighting.chi_square, 4),
                "effective share of frames": round(self.reweighting.effective_share, 4),
                "largest weight of a frame": round(float(self.reweighting.weights.max()), 4),
                "theta": float(f"{self.reweighting.theta:.6g}"),
            }
        return found


def compare_with_experiment(
    trajectory: mdtraj.Trajectory,
    weights: np.ndarray,
    experiment: str | os.PathLike | Iterable[Mapping[str, object]],
    *,
    reweighted: bool = False,
    theta: float | None = None,
) -> ExperimentResult:
    """Compare averages of weighted frames with an experiment; see `openmm_slm.compare`.

    Parameters
    ----------
    trajectory : mdtraj.Trajectory
        Whole molecules, one chain per protein.
    weights : ndarray [F]
        Weights of the frames; the prior weights of reweighting.
    experiment : path or iterable of dict
        See `openmm_slm.comparison.experiment_file.read_experiment`.
    reweighted, theta
        See `openmm_slm.analysis.maximum_entropy.reweight`.
    """
    pandas = require("pandas", "compare")
    measured = read_experiment(experiment)
    predicted = predict(trajectory, measured)
    wanted, error, factor = (
        np.array([getattr(m, name) for m in measured]) for name in ("value", "error", "factor")
    )
    squares = predicted.root_mean_square
    value = averages(predicted.values, weights, squares)
    table = pandas.DataFrame(
        {
            "experiment": wanted / factor,
            "error": error / factor,
            "value": value / factor,
            "deviation": (value - wanted) / factor,
            "chi": (value - wanted) / error,
            "unit": [m.unit for m in measured],
        },
        index=pandas.Index([m.label for m in measured], name="observable"),
    )
    found = None
    if reweighted:
        found = reweight(
            predicted.values, wanted, error,
            weights=weights, theta=theta, root_mean_square=squares,
        )  # fmt: skip
        if math.isinf(found.theta):
            logger.warning("the ensemble agrees with the experiment; its weights are kept")
        after = averages(predicted.values, found.weights, squares)
        table.insert(5, "reweighted", after / factor)
        table.insert(6, "reweighted_chi", (after - wanted) / error)
    chi = chi_square(value, wanted, error)
    return ExperimentResult(table, predicted.values, 1 / factor, chi, weights, found)


def as_text(result: ExperimentResult) -> str:
    """Format the table and its sum for a terminal."""
    new = result.reweighting
    title = (
        f"{'observable':22}{'experiment':>10}{'error':>8}{'value':>9}{'deviation':>11}{'chi':>8}"
    )
    lines = [title + (f"{'reweighted':>12}{'chi':>8}" if new else "") + "  unit"]
    for label, row in result.table.to_dict("index").items():
        line = (
            f"{label:22}{row['experiment']:10.3f}{row['error']:8.3f}{row['value']:9.3f}"
            f"{row['deviation']:11.3f}{row['chi']:8.2f}"
        )
        if new:
            line += f"{row['reweighted']:12.3f}{row['reweighted_chi']:8.2f}"
        lines.append(f"{line}  {row['unit']}")
    lines.append(f"chi-square of {len(result.table)} measurements: {result.chi_square:.3f}")
    if new:
        lines.append(
            f"reweighted: chi-square {new.chi_square:.3f}, effective share of frames "
            f"{new.effective_share:.1%}, largest weight of a frame {new.weights.max():.1%}, "
            f"theta {new.theta:.3g}"
        )
    return "\n".join(lines)
