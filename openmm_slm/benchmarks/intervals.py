"""Bootstrap intervals of figures over proteins."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

DRAWS = 2000


def interval(
    count: int, statistic: Callable[[np.ndarray], float], draws: int = DRAWS, seed: int = 0
) -> tuple[float, float, float]:
    """A statistic of `count` proteins, and its 95 % interval (percentile bootstrap: Efron, 1979).

    Parameters
    ----------
    count : int
    statistic : callable
        Called with indices int [count] of proteins: 0, 1, ... for the value, then drawn with
        replacement. Draws with a statistic that is not finite (a correlation over one protein) are
        left out.
    draws, seed : int

    Returns
    -------
    value, low, high : float
        NaN without proteins; a single protein has a value and no interval.
    """
    if not count:
        return (float("nan"),) * 3
    value = float(statistic(np.arange(count)))
    rng = np.random.default_rng(seed)
    drawn = [statistic(rng.integers(count, size=count)) for _ in range(draws * (count > 1))]
    drawn = np.array(drawn)[np.isfinite(drawn)] if drawn else np.empty(0)
    if not len(drawn):
        return value, float("nan"), float("nan")
    low, high = np.quantile(drawn, (0.025, 0.975))
    return value, float(low), float(high)


def median_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Median of finite values [C] and its interval."""
    return _of(values, np.median)


def mean_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean of finite values [C] and its interval."""
    return _of(values, np.mean)


def _of(values: np.ndarray, statistic: Callable) -> tuple[float, float, float]:
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    return interval(len(values), lambda drawn: float(statistic(values[drawn])))
