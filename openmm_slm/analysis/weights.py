"""Frame weights, and frames drawn from the reference for the noise floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import StructureError


@dataclass(frozen=True, eq=False)
class Weights:
    """How much each frame counts.

    Attributes
    ----------
    samples : ndarray [N]
        Adds up to N.
    reference : ndarray [M]
        Adds up to M.
    draws : ndarray [M, B]
        How often each reference frame is in each of B draws with replacement (by
        `reference`), of as many frames as there are samples; of weighted samples as many as their
        effective number (sum w)^2 / sum w^2 (Kish, Survey Sampling, 1965).
    """

    samples: np.ndarray
    reference: np.ndarray
    draws: np.ndarray

    @property
    def n_drawn(self) -> int:
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
        w = checked_weights(samples, n_samples, "weights", "samples")
        v = checked_weights(reference, n_reference, "reference_weights", "reference")
        draws = rng.multinomial(effective_number(w), v / v.sum(), size=n_bootstrap)
        return cls(w, v, draws.T.astype(np.float64))


def checked_weights(
    weights: np.ndarray | None, frames: int, argument: str, whose: str
) -> np.ndarray:
    """Weights [frames] that add up to `frames`."""
    if weights is None:
        return np.ones(frames)
    weights = np.asarray(weights, np.float64)
    if weights.shape != (frames,):
        raise StructureError(
            f"{argument} has shape {weights.shape}, the {whose} {frames} frames; give one number "
            "for each frame"
        )
    wrong = np.flatnonzero(~np.isfinite(weights) | (weights < 0))
    if len(wrong) or not weights.any():
        what = f"{weights[wrong[0]]} at frame {wrong[0]}" if len(wrong) else "nothing but zeros"
        raise StructureError(f"{argument} has {what}; weights are numbers from 0, not all 0")
    return weights * (frames / weights.sum())


def effective_number(weights: np.ndarray) -> int:
    return max(1, round(float(weights.sum() ** 2 / (weights**2).sum())))


def means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted means [K, F] of values [N, F] for weights [N, K]."""
    return weights.T @ values / weights.sum(0)[:, None]
