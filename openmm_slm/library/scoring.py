"""Scores of a query against the profile columns of a library.

A query residue a scores ln(p(a) / f(a)) with a column of frequencies p, where f is the background.
A column q of the query's own profile scores ln(sum_a q(a) p(a) / f(a)), as in HHsearch (Söding,
Bioinformatics 2005). Scores are integers, in units of 1/8 nat.
"""

from __future__ import annotations

import numpy as np

UNIT = 8  # per nat
OPEN, EXTEND = 30, 3  # costs of the first and of each further residue of a gap
_PSEUDOCOUNT = 0.1  # share of the background in each column
_UNKNOWN = -4  # score of an unknown residue


def letter_table(columns: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Scores of amino acids with profile columns.

    Parameters
    ----------
    columns : ndarray [K, 20]
        Frequencies of each kind of library residue.
    background : ndarray [20]

    Returns
    -------
    ndarray, int16 [21, K]
        The last row is for unknown residues.
    """
    table = np.full((len(background) + 1, len(columns)), _UNKNOWN, np.int16)
    for part in _parts(len(columns)):
        table[:-1, part] = _rounded(np.log(_odds(columns[part], background))).T
    return table


def profile_table(profile: np.ndarray, columns: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Scores int16 [Q, K] of the columns of a query's profile [Q, 20] with those of a library."""
    odds = np.asarray(profile, np.float32) @ _odds(columns, background).T
    return _rounded(np.log(np.maximum(odds, 1e-3)))


def _odds(columns: np.ndarray, background: np.ndarray) -> np.ndarray:
    return ((1 - _PSEUDOCOUNT) * columns + _PSEUDOCOUNT * background) / background


def _rounded(nats: np.ndarray) -> np.ndarray:
    return np.rint(UNIT * nats).astype(np.int16)


def _parts(count: int):
    return (slice(first, first + 2**18) for first in range(0, count, 2**18))
