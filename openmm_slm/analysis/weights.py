"""Frame weights, and bootstrap draws from the reference for the noise floor."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass

import numpy as np

from ..errors import StructureError

WEIGHTS_HEADER = ("frame", "weight")
#: One number per frame, or a file with them (`read_weights`); None: equal weights.
FrameWeights = np.ndarray | str | os.PathLike | None


@dataclass(frozen=True, eq=False)
class Weights:
    """Statistical weights of frames.

    Attributes
    ----------
    samples : ndarray [N]
        Weights with sum N.
    reference : ndarray [M]
        Weights with sum M.
    draws : ndarray [M, B]
        Counts of the reference frames in B draws with replacement, with probabilities from
        `reference`. A draw has as many frames as the effective number of samples,
        (sum w)^2 / sum w^2 (Kish, Survey Sampling, 1965).
    """

    samples: np.ndarray
    reference: np.ndarray
    draws: np.ndarray

    @property
    def n_drawn(self) -> int:
        """Number of frames in a draw."""
        return effective_number(self.samples)

    @classmethod
    def make(
        cls,
        samples: FrameWeights,
        n_samples: int,
        reference: FrameWeights,
        n_reference: int,
        n_bootstrap: int,
        rng: np.random.Generator,
    ) -> Weights:
        """Check the weights and draw from the reference; see `openmm_slm.compare`."""
        w = checked_weights(samples, n_samples, "weights", "samples")
        v = checked_weights(reference, n_reference, "reference_weights", "reference")
        draws = rng.multinomial(effective_number(w), v / v.sum(), size=n_bootstrap)
        return cls(w, v, draws.T.astype(np.float64))


def checked_weights(weights: FrameWeights, frames: int, argument: str, whose: str) -> np.ndarray:
    """Weights [frames] scaled to the sum `frames`; default equal."""
    if weights is None:
        return np.ones(frames)
    if isinstance(weights, (str, os.PathLike)):
        weights = read_weights(weights)
    weights = np.asarray(weights, np.float64)
    if weights.shape != (frames,):
        raise StructureError(
            f"{argument} has shape {weights.shape} for {frames} frames of the {whose}; give one "
            "number per frame"
        )
    wrong = np.flatnonzero(~np.isfinite(weights) | (weights < 0))
    if len(wrong) or not weights.any():
        fault = f"{weights[wrong[0]]} at frame {wrong[0]}" if len(wrong) else "only zeros"
        raise StructureError(f"{argument} has {fault}; weights must be 0 or more, and not all 0")
    return weights * (frames / weights.sum())


def read_weights(path: str | os.PathLike) -> np.ndarray:
    """Weights [F] in a file: one number per line, or a CSV file with the columns frame and weight.

    Raises
    ------
    StructureError
        The file is missing or has another form, or its frames are not 0, 1, 2, ...
    """
    try:
        with open(path, newline="", encoding="utf-8") as handle:
            rows = [row for row in csv.reader(handle) if row]
        if rows and rows[0] == list(WEIGHTS_HEADER):
            if [int(row[0]) for row in rows[1:]] != list(range(len(rows) - 1)):
                raise ValueError("its frames are not 0, 1, 2, ...")
            return np.array([float(row[1]) for row in rows[1:]])
        return np.array([float(number) for (number,) in rows])
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise StructureError(
            f"{path}: expected one weight per line, or the columns {','.join(WEIGHTS_HEADER)} "
            f"({error})"
        ) from None


def weights_text(weights: np.ndarray) -> str:
    """Text of a file that `read_weights` reads."""
    lines = [f"{frame},{weight!r}" for frame, weight in enumerate(weights.tolist())]
    return "\n".join([",".join(WEIGHTS_HEADER), *lines]) + "\n"


def effective_number(weights: np.ndarray) -> int:
    """Effective number of frames, (sum w)^2 / sum w^2, rounded to at least 1."""
    return max(1, round(float(weights.sum() ** 2 / (weights**2).sum())))


def means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted means [K, F] of values [N, F] for weights [N, K]."""
    return weights.T @ values / weights.sum(0)[:, None]
