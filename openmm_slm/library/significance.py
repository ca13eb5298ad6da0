"""E-values of hits, and the probability that their fold is right.

The score of a hit is reduced by that of the reversed query with the same chain, which removes what
composition and low complexity contribute (Karplus et al., Bioinformatics 1998). The number of
chains out of N that reach the difference d by chance is then

    E = N exp(a - lambda d)

with a and lambda fitted to searches with reversed queries. The probability is a logistic function
of the features of `features`, fitted to chains of known fold that have no close relative in the
library; there is one for queries with a sequence and one for queries with a profile. The constants
belong to a library and stand in its ``library.json``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from ..errors import StructureError

_FEATURES = 4


@dataclass(frozen=True)
class Significance:
    """Constants of a library; the defaults are those of the default library.

    Attributes
    ----------
    decay : float
        lambda, per unit of score.
    offset : float
        a.
    weights : tuple of float
        Of the logistic function for the fold of the whole query: constant, then one per feature.
    stretch_weights : tuple of float
        The same for the fold of the stretch from the first to the last aligned residue.
    profile_weights, profile_stretch_weights : tuple of float
        The same for queries with a profile.
    """

    decay: float = 0.1027
    offset: float = -0.968
    weights: tuple[float, ...] = (-18.81, 1.361, 1.340, 12.38, 3.784)
    stretch_weights: tuple[float, ...] = (-11.60, 0.785, 2.042, 2.765, 2.233)
    profile_weights: tuple[float, ...] = (-13.446, 0.392, 0.799, 7.895, 9.616)
    profile_stretch_weights: tuple[float, ...] = (-8.003, 0.356, 1.666, 0.206, 3.957)

    def __post_init__(self) -> None:
        for name in (
            "weights", "stretch_weights", "profile_weights", "profile_stretch_weights",
        ):  # fmt: skip
            if len(getattr(self, name)) != _FEATURES + 1:
                raise StructureError(
                    f"{name} of a library are {getattr(self, name)!r}, expected a constant and "
                    f"{_FEATURES} numbers; install or build the library again"
                )

    def bits(self, difference: np.ndarray | int) -> np.ndarray:
        """Bits of score differences: E = N 2^-bits."""
        return (self.decay * np.asarray(difference) - self.offset) / np.log(2)

    def probability(
        self, bits: float, chains: int, coverage: float, length: int, profile: bool = False
    ) -> float:
        """Probability that the fold of the whole query of `length` residues is right.

        Parameters
        ----------
        bits : float
        chains : int
            Number of chains searched.
        coverage : float
            Share of the query that is aligned.
        length : int
        profile : bool
            The query had a profile.
        """
        weights = self.profile_weights if profile else self.weights
        return _logistic(weights, features(bits, chains, coverage, length))

    def stretch_probability(
        self, bits: float, chains: int, coverage: float, length: int, profile: bool = False
    ) -> float:
        """The same for the stretch of `length` residues that a hit spans."""
        weights = self.profile_stretch_weights if profile else self.stretch_weights
        return _logistic(weights, features(bits, chains, coverage, length))

    def about(self) -> dict:
        """Entries for ``library.json``."""
        return asdict(self)


def features(bits: float, chains: int, coverage: float, length: int) -> np.ndarray:
    """-log10 E between -1 and 3, log(1 + bits), coverage, and bits per residue (at most 1)."""
    exponent = (bits - np.log2(chains)) * np.log10(2)
    bits = np.clip(bits, 0, 200)
    return np.array([np.clip(exponent, -1, 3), np.log1p(bits), coverage, min(1, bits / length)])


def _logistic(weights: tuple[float, ...], values: np.ndarray) -> float:
    return float(1 / (1 + np.exp(-np.clip(weights[0] + values @ weights[1:], -30, 30))))
