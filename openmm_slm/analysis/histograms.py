"""Weighted histograms of many features, and Jensen-Shannon distances between them.

The bins have equal width between the smallest and the largest value of the *reference*. Values
outside are dropped, not clipped. `PSEUDOCOUNT` is added to the count of each bin; the weights of
all frames sum to their number. The distance is the square root of the Jensen-Shannon divergence
with natural logarithms, from 0 to sqrt(ln 2) = 0.83 (as SciPy's `jensenshannon`).
"""

from __future__ import annotations

import numpy as np

from ..errors import require
from .weights import Weights

BINS = 50
PSEUDOCOUNT = 1e-6


def digitise(values: np.ndarray, low: np.ndarray, high: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Bin numbers [N, F] of values [N, F], int32; `bins` for values outside low to high [F]."""
    with np.errstate(invalid="ignore"):
        number = np.floor((values - low) * (bins / (high - low)))
        number = np.where(values == high, bins - 1, np.minimum(number, bins - 1))
        inside = (values >= low) & (values <= high)
    return np.where(inside, number, bins).astype(np.int32)


def counts(numbers: np.ndarray, weights: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Histograms [F, bins, K] of bin numbers [N, F] for each of K sets of weights [N, K].

    One sparse matrix product handles all sets of weights, such as bootstrap draws.
    """
    sparse = require("scipy.sparse")
    frames, features = numbers.shape
    rows = (numbers + np.arange(features, dtype=np.int32) * (bins + 1)).ravel()
    starts = np.arange(frames + 1) * features
    one = np.ones(len(rows))
    hot = sparse.csc_array((one, rows, starts), shape=(features * (bins + 1), frames))
    return (hot @ weights).reshape(features, bins + 1, -1)[:, :bins]


def js_distance(p: np.ndarray, q: np.ndarray, axis: int = 1) -> np.ndarray:
    """Jensen-Shannon distance between counts along `axis`; other dimensions broadcast.

    sqrt((KL(p | m) + KL(q | m)) / 2) with m = (p + q) / 2 (Lin, IEEE Trans. Inf. Theory 37, 145,
    1991; Endres & Schindelin, ibid. 49, 1858, 2003). It is computed as the square root of
    entropy(m) - (entropy(p) + entropy(q)) / 2.
    """

    def entropy(x):
        return -(x * np.log(x)).sum(axis)

    p, q = (x + PSEUDOCOUNT for x in (p, q))
    p, q = (x / x.sum(axis, keepdims=True) for x in (p, q))
    divergence = entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2
    return np.sqrt(np.maximum(divergence, 0.0))


def js_of_features(
    samples: np.ndarray, reference: np.ndarray, weights: Weights, bins: int = BINS
) -> tuple[np.ndarray, np.ndarray]:
    """JS distance [F] of features [N, F] from [M, F], and [F, B] of draws from `reference`.

    `reference` defines the bins; its features must vary.
    """
    low, high = reference.min(0), reference.max(0)
    found = counts(digitise(samples, low, high, bins), weights.samples[:, None], bins)
    all_weights = np.column_stack([weights.reference, weights.draws])
    expected = counts(digitise(reference, low, high, bins), all_weights, bins)
    truth = expected[..., :1]
    return js_distance(found, truth)[:, 0], js_distance(expected[..., 1:], truth)
