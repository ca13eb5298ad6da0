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
TABLE = 600_000  # bytes of the histograms that are filled together


def digitise(values: np.ndarray, low: np.ndarray, high: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Bin numbers [N, F] of values [N, F], int32; `bins` for values outside low to high [F]."""
    with np.errstate(invalid="ignore"):
        number = np.floor((values - low) * (bins / (high - low)))
        number = np.where(values == high, bins - 1, np.minimum(number, bins - 1))
        inside = (values >= low) & (values <= high)
    return np.where(inside, number, bins).astype(np.int32)


def counts(numbers: np.ndarray, weights: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Histograms [F, bins, K] of bin numbers [N, F] for each of K sets of weights [N, K].

    One sparse matrix product handles all sets of weights, such as bootstrap draws. It takes so few
    features at a time that the caches of a CPU hold their histograms.
    """
    sparse = require("scipy.sparse")
    frames, features = numbers.shape
    out = np.empty((features, bins, weights.shape[1]), weights.dtype)
    size = max(1, TABLE // max(1, (bins + 1) * weights[:1].nbytes))
    for first in range(0, features, size):
        some = numbers[:, first : first + size]
        wide = some.shape[1]
        rows = (some + np.arange(wide, dtype=np.int32) * (bins + 1)).ravel()
        one, starts = np.ones(len(rows), out.dtype), np.arange(frames + 1) * wide
        hot = sparse.csc_array((one, rows, starts), shape=(wide * (bins + 1), frames))
        out[first : first + wide] = (hot @ weights).reshape(wide, bins + 1, -1)[:, :bins]
    return out


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
    places = digitise(reference, low, high, bins)
    truth = counts(places, weights.reference[:, None], bins)
    # Counts of draws are integers, which float32 holds exactly.
    drawn = counts(places, weights.draws.astype(np.float32), bins)
    floor = np.empty((len(truth), drawn.shape[2]))
    for k in range(0, len(truth), 16):
        part = slice(k, k + 16)
        floor[part] = js_distance(drawn[part].astype(np.float64), truth[part])
    return js_distance(found, truth)[:, 0], floor
