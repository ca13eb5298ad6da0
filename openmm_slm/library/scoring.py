"""Scores of a query against the profile columns of a library.

A query residue a scores ln(p(a) / f(a)) with a column of frequencies p, where f is the background.
A column q of the query's own profile scores ln(sum_a q(a) p(a) / f(a)), as in HHsearch (Söding,
Bioinformatics 2005). Scores are integers, in units of 1/8 nat.
"""

from __future__ import annotations

import numpy as np

from ..protein.sequence import UNKNOWN
from .codebook import background_of

UNIT = 8  # per nat
OPEN, EXTEND = 30, 3  # costs of the first and of each further residue of a gap
_PSEUDOCOUNT = 0.1  # share of the background in each column
_UNKNOWN = -4  # score of an unknown residue


def letter_table(codebook: np.ndarray) -> np.ndarray:
    """Scores int16 [21, K] of each amino acid with each kind of library residue."""
    odds = _odds(codebook)
    table = np.vstack([UNIT * np.log(odds).T, np.full((1, len(odds)), _UNKNOWN)])
    return _finish(table, codebook)


def profile_table(profile: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """Scores int16 [Q, K] of each column of a profile [Q, 20] with each kind of residue."""
    odds = np.asarray(profile, np.float32) @ _odds(codebook).T
    return _finish(UNIT * np.log(np.maximum(odds, 1e-3)), codebook)


def _odds(codebook: np.ndarray) -> np.ndarray:
    background = background_of(codebook)
    columns = (1 - _PSEUDOCOUNT) * codebook.reshape(-1, codebook.shape[-1])
    return (columns + _PSEUDOCOUNT * background) / background


def _finish(table: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    table = np.rint(table).astype(np.int16)
    table[:, UNKNOWN * codebook.shape[1] :] = _UNKNOWN
    return table
