"""Bayesian/maximum-entropy reweighting (BME) of frames to averages measured in experiments.

Bottaro, Bengtsen & Lindorff-Larsen, Methods Mol. Biol. 2112, 219 (2020). The weights w minimise
m/2 chi^2(w) + theta sum_j w_j ln(w_j / w0_j) for m observables and prior weights w0. They have the
form w_j ~ w0_j exp(-sum_i lambda_i F_ij), where lambda minimises the convex function

    Gamma(lambda) = ln Z(lambda) + lambda . d + theta/2 sum_i lambda_i^2 sigma_i^2

with the experimental values d, their errors sigma, and Z = sum_j w0_j exp(-sum_i lambda_i F_ij).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import SLMError
from .weights import checked_weights

MIN_SHARE = 0.10  # effective share of frames below which reweighting is refused
STEPS, DECADES = 8, 16  # values of theta per factor of 10, and factors of 10, in the scan
TOLERANCE = 1e-8  # largest error of a reweighted average, in standard deviations over frames
NEWTON_STEPS = 200


@dataclass(frozen=True, eq=False)
class Reweighting:
    """Weights of F frames that agree with an experiment, and their cost.

    Attributes
    ----------
    weights : ndarray [F]
        Weights with sum 1.
    theta : float
        Confidence in the prior weights; infinite if these agree with the experiment already.
    effective_share : float
        exp(-sum_j w_j ln(w_j / w0_j)): the share of frames that still contribute, 0 to 1.
    chi_square, chi_square_before : float
        Reduced chi-square with `weights` and with the prior weights.
    scan : ndarray [T, 3]
        theta, chi-square and effective share of the values of theta that were tried.
    """

    weights: np.ndarray
    theta: float
    effective_share: float
    chi_square: float
    chi_square_before: float
    scan: np.ndarray


def averages(
    values: np.ndarray, weights: np.ndarray, root_mean_square: np.ndarray | None = None
) -> np.ndarray:
    """Weighted averages [M] of values [F, M]; root mean squares where bool [M] is true."""
    squared = np.zeros(values.shape[1], bool) if root_mean_square is None else root_mean_square
    found = weights @ np.where(squared, values**2, values) / weights.sum()
    return np.where(squared, np.sqrt(np.abs(found)), found)


def chi_square(average: np.ndarray, experiment: np.ndarray, error: np.ndarray) -> float:
    """Reduced chi-square: the mean of ((average - experiment) / error)^2."""
    return float((((average - experiment) / error) ** 2).mean())


def reweight(
    values: np.ndarray,
    experiment: np.ndarray,
    error: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    theta: float | None = None,
    root_mean_square: np.ndarray | None = None,
) -> Reweighting:
    """Find the weights closest to the prior ones whose averages agree with an experiment.

    Parameters
    ----------
    values : ndarray [F, M]
        Observables predicted for each frame.
    experiment, error : ndarray [M]
        Measured averages and their standard errors, which include that of the prediction.
    weights : ndarray [F], optional
        Prior weights; default equal.
    theta : float, optional
        Large values keep the prior weights, small ones follow the experiment. Default: the largest
        of a scan (8 values per factor of 10) that gives a reduced chi-square of 1 or less.
    root_mean_square : ndarray, bool [M], optional
        Observables of which the experiment gives the root mean square. Their squares are
        reweighted, to d^2 with an error of 2 d sigma.

    Returns
    -------
    Reweighting

    Raises
    ------
    SLMError
        Shapes differ, a number is not finite, an error or `theta` is not above 0, or the effective
        share of frames falls under 10 %: the ensemble does not contain the experiment.
    """
    values, experiment, error = (np.asarray(x, np.float64) for x in (values, experiment, error))
    _check(values, experiment, error, theta)
    prior = checked_weights(weights, len(values), "weights", "samples") / len(values)
    squared = np.zeros(len(error), bool)
    if root_mean_square is not None:
        squared |= np.asarray(root_mean_square, bool)
    if (experiment[squared] <= 0).any():
        raise SLMError("a root mean square of 0 or less cannot be reweighted to; give one above 0")
    of_frames = np.where(squared, values**2, values)
    target = np.where(squared, experiment**2, experiment)
    scale = np.where(squared, 2 * experiment * error, error)
    solver = _Solver((of_frames - target) / scale, prior)

    def judged(w: np.ndarray) -> tuple[float, float]:
        average = averages(values, w, squared)
        return chi_square(average, experiment, error), effective_share(w, prior)

    before = judged(prior)[0]
    if theta is not None:
        w = solver.weights(theta)
        if w is None:
            raise SLMError(f"reweighting with theta {theta:g} did not converge; give a larger one")
        chi, share = judged(w)
        if share < MIN_SHARE:
            raise _refused(
                f"theta {theta:g} reaches a chi-square of {chi:.3g} (from {before:.3g}) with an "
                f"effective share of {share:.1%}",
                "or give a larger theta",
            )
        return Reweighting(w, float(theta), share, chi, before, np.array([[theta, chi, share]]))
    if before <= 1:
        return Reweighting(prior, math.inf, 1.0, before, before, np.empty((0, 3)))
    scan: list[tuple[float, float, float]] = []
    for each in solver.thetas():
        w = solver.weights(each)
        if w is None:
            break
        chi, share = judged(w)
        if share < MIN_SHARE:
            break
        scan.append((each, chi, share))
        if chi <= 1:
            return Reweighting(w, each, share, chi, before, np.array(scan))
    best, chi, share = min(scan, key=lambda row: row[1])
    raise _refused(
        f"chi-square falls from {before:.3g} to {chi:.3g} at most",
        f"or accept that with theta={best:.3g} (effective share {share:.0%})",
    )


def effective_share(weights: np.ndarray, prior: np.ndarray) -> float:
    """exp(-sum_j w_j ln(w_j / w0_j)) for weights and prior weights with sum 1."""
    used = weights > 0
    return float(np.exp(-(weights[used] * np.log(weights[used] / prior[used])).sum()))


def _refused(found: str, otherwise: str) -> SLMError:
    return SLMError(
        f"reweighting: {found}; at least {MIN_SHARE:.0%} of the frames must count. The ensemble "
        f"does not contain the experiment: sample more, check values and errors, {otherwise}"
    )


class _Solver:
    """Minimise Gamma for deviations [F, M], (F - d) / sigma.

    The variables are the multipliers times the standard deviations of the observables, so that
    their scales are alike. Observables that are the same in every frame cannot change the weights.
    """

    def __init__(self, deviation: np.ndarray, prior: np.ndarray) -> None:
        self._used = prior > 0
        self._log_prior = np.log(prior[self._used])
        deviation, prior = deviation[self._used], prior[self._used]
        mean = prior @ deviation
        spread = np.sqrt(prior @ (deviation - mean) ** 2)
        varies = spread > 1e-9 * (1 + np.abs(mean))
        self._spread, mean = spread[varies], mean[varies]
        self._scaled = deviation[:, varies] / self._spread
        self._start = np.zeros(len(mean))
        # Here the exponents of the weights differ by 0.1 at most, in the root mean square.
        width = float(np.linalg.norm(self._spread))
        self._largest = 10 * max(1.0, width * (width + float(np.linalg.norm(mean))))

    def thetas(self) -> list[float]:
        """Decreasing powers of 10^(1/8), from a value at which the weights hardly change."""
        first = math.ceil(STEPS * math.log10(self._largest))
        return [10 ** (k / STEPS) for k in range(first, first - STEPS * DECADES, -1)]

    def weights(self, theta: float) -> np.ndarray | None:
        """Weights [F] with sum 1, None if not found; starts from the multipliers found last.

        Newton's method: few steps, where L-BFGS needs hundreds for correlated observables. The
        length of a step is halved until Gamma falls, except for the last ones, whose change is
        below the precision of Gamma.
        """
        stiffness = theta / self._spread**2

        def gamma(x: np.ndarray) -> float:
            return self._tilted(x)[0] + float(stiffness @ x**2) / 2

        x = self._start
        for _ in range(NEWTON_STEPS):
            w = self._tilted(x)[1]
            mean = w @ self._scaled
            slope = stiffness * x - mean
            if not len(x) or np.abs(slope).max() < TOLERANCE:
                break
            centred = np.sqrt(w)[:, None] * (self._scaled - mean)
            step = np.linalg.solve(centred.T @ centred + np.diag(stiffness), slope)
            fall, now = float(slope @ step), gamma(x)
            while fall > 1e-8 and gamma(x - step) > now - 1e-4 * fall:
                step, fall = step / 2, fall / 2
            x = x - step
        else:
            return None
        self._start = x
        out = np.zeros(len(self._used))
        out[self._used] = self._tilted(x)[1]
        return out

    def _tilted(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """ln Z, and the weights of the frames with a prior weight."""
        exponent = self._log_prior - self._scaled @ x
        highest = exponent.max()
        w = np.exp(exponent - highest)
        return float(highest + np.log(w.sum())), w / w.sum()


def _check(
    values: np.ndarray, experiment: np.ndarray, error: np.ndarray, theta: float | None
) -> None:
    if values.ndim != 2 or not values.size or {experiment.shape, error.shape} != {values.shape[1:]}:
        raise SLMError(
            f"values has shape {values.shape}, experiment {experiment.shape} and error "
            f"{error.shape}; give [frames, observables], [observables] and [observables]"
        )
    for name, numbers in (("values", values), ("experiment", experiment), ("error", error)):
        if not np.isfinite(numbers).all():
            place = np.argwhere(~np.isfinite(numbers))[0].tolist()
            raise SLMError(f"{name} has a number that is not finite at {place}; correct or omit it")
    if (error <= 0).any():
        row = int(np.argmax(error <= 0))
        raise SLMError(f"error is {error[row]:g} for observable {row}; give errors above 0")
    if theta is not None and not (np.isfinite(theta) and theta > 0):
        raise SLMError(f"theta is {theta}; give a number above 0")
