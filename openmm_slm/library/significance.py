"""E-values of hits, and the probability that their fold is right.

The score of a hit is reduced by that of the reversed query with the same chain, which removes what
composition and low complexity contribute (Karplus et al., Bioinformatics 1998). The number of
chains out of N that reach the difference d by chance is then

    E = N exp(a - lambda d)

with a and lambda fitted to searches with reversed queries. The probability is a logistic function
of the features of `features`, fitted to chains whose fold is known. The numbers belong to a library
and stand in its ``library.json``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Significance:
    """Constants of a library.

    Attributes
    ----------
    decay : float
        lambda, per unit of score.
    offset : float
        a.
    weights : tuple of float
        Of the logistic function: constant, then one for each feature.
    """

    decay: float = 0.09
    offset: float = 0.0
    weights: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", tuple(self.weights))

    def bits(self, difference: int) -> float:
        """Bits of a score difference: E = N 2^-bits."""
        return (self.decay * difference - self.offset) / np.log(2)

    def probability(self, bits: float, identity: float, coverage: float, length: int) -> float:
        """Probability that the fold of a hit is right."""
        z = self.weights[0] + features(bits, identity, coverage, length) @ self.weights[1:]
        return float(1 / (1 + np.exp(-np.clip(z, -30, 30))))

    def about(self) -> dict:
        """Entries for ``library.json``."""
        return asdict(self)


def features(bits, identity, coverage, length) -> np.ndarray:
    """Features [..., 3] of the probability: bits, coverage and identity, all bounded."""
    return np.stack([np.log1p(np.clip(bits, 0, 200)), coverage, identity], -1)
