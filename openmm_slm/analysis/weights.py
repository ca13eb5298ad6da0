"""Frame weights, and bootstrap draws from the reference for the noise floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import StructureError


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
        samples: np.ndarray | None,
        n_samples: int,
        reference: np.ndarray | None,
        n_reference: int,
        n_bootstrap: int,
        rng: np.random.Generator,
    ) -> Weights:
        """Check the weights and draw from the reference; see `openmm_slm.compare`."""
        w = checked_weights(samples, n_samples, "weights", "samples")
        v = checked_weights(reference, n_reference, "reference_weights", "reference")
        draws = rng.multinomial(effective_number(w), v / v.sum(), size=n_bootstrap)
        return cls(w, v, draws.T.astype(np.float64))


def checked_weights(
    weights: np.ndarray | None, frames: int, argument: str, whose: str
) -> np.ndarray:
    """Weights [frames] scaled to the sum `frames`; default equal."""
    if weights is None:
        return np.ones(frames)
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


def effective_number(weights: np.ndarray) -> int:
    """Effective number of frames, (sum w)^2 / sum w^2, rounded to at least 1."""
    return max(1, round(float(weights.sum() ** 2 / (weights**2).sum())))


def means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted means [K, F] of values [N, F] for weights [N, K]."""
    return weights.T @ values / weights.sum(0)[:, None]
