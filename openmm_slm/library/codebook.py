"""Columns of sequence profiles as one byte per residue.

A column holds the frequencies of the 20 amino acids at one position of a protein family. Each amino
acid of the chain has a codebook of 256 columns of its own, so that letter and byte together choose
one of 5,120 columns. Column 0 is the mean column of the amino acid. It serves chains without a
profile, where it gives the scores of a substitution matrix.

Codebooks come from k-means with the Kullback-Leibler divergence: its centroids are means, and the
expected log-odds score of a column is changed least (Linde, Buzo & Gray, IEEE Trans. Commun. 1980).
"""

from __future__ import annotations

import numpy as np

from ..protein.sequence import AMINO_ACIDS, UNKNOWN

CODES = 256
_LETTERS = len(AMINO_ACIDS)
_SAMPLE = 30_000  # columns per amino acid to train on
_ROUNDS = 12
_FEWEST = 5  # columns of a cluster; smaller clusters start again elsewhere
_SMOOTH = 0.02  # share of the mean column mixed into each, so that no frequency is 0
_PART = 50_000


def train_codebook(letters: np.ndarray, columns: np.ndarray, seed: int = 0) -> np.ndarray:
    """Train the codebooks of the amino acids.

    Parameters
    ----------
    letters : ndarray, int [R]
        Amino acid of each residue.
    columns : ndarray, uint8 [R, 20]
        Profile of each residue: square roots of its frequencies, times 255.
    seed : int

    Returns
    -------
    ndarray, float32 [21, 256, 20]
        The last codebook is for unknown residues. It holds the mean over all residues.
    """
    rng = np.random.default_rng(seed)
    chosen = [np.flatnonzero(letters == letter) for letter in range(_LETTERS)]
    chosen = [_few(rng, places, _SAMPLE) for places in chosen]
    background = sum(
        (letters == letter).sum() * frequencies(columns[places]).mean(0)
        for letter, places in enumerate(chosen)
        if len(places)
    )
    background = background / background.sum()
    book = np.empty((_LETTERS + 1, CODES, _LETTERS), np.float32)
    book[:] = background
    for letter, places in enumerate(chosen):
        if len(places):
            found = (1 - _SMOOTH) * frequencies(columns[places]) + _SMOOTH * background
            book[letter] = found.mean(0)
            book[letter, 1:] = _k_means(rng, found, book[letter, 1:])
    return book


def _few(rng: np.random.Generator, places: np.ndarray, count: int) -> np.ndarray:
    return places if len(places) <= count else rng.choice(places, count, replace=False)


def _k_means(rng: np.random.Generator, columns: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Centroids [K, 20]; those beyond the number of columns keep their `start`."""
    count = min(len(columns), len(start))
    centres = columns[rng.choice(len(columns), count, replace=False)]
    for _ in range(_ROUNDS):
        nearest = _nearest(columns, centres)
        size = np.bincount(nearest, minlength=count)
        total = np.zeros((count, columns.shape[1]))
        np.add.at(total, nearest, columns)
        centres = (total / np.maximum(size, 1)[:, None]).astype(np.float32)
        small = np.flatnonzero(size < min(_FEWEST, len(columns) // count))
        centres[small] = columns[rng.choice(len(columns), len(small))]
    return np.concatenate([centres, start[count:]])


def _nearest(columns: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Index of the centroid with the smallest divergence from each column."""
    logs = np.log(centres).T
    parts = [columns[k : k + _PART] @ logs for k in range(0, len(columns), _PART)]
    return np.concatenate([part.argmax(1) for part in parts])


def frequencies(columns: np.ndarray) -> np.ndarray:
    """Frequencies float32 [R, 20] from their square roots times 255, uint8."""
    found = (np.asarray(columns) / np.float32(255)) ** 2
    return found / np.maximum(found.sum(-1, keepdims=True), 1e-9)


def encode_columns(letters: np.ndarray, columns: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """Codes uint8 [R] of profile columns (as given to `train_codebook`)."""
    codes = np.zeros(len(letters), np.uint8)
    for letter in range(_LETTERS):
        for places in np.array_split(np.flatnonzero(letters == letter), 8):
            if len(places):
                found = frequencies(columns[places])
                codes[places] = 1 + _nearest(found, codebook[letter, 1:])
    return codes


def kinds_of(letters: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Index uint16 of each residue's column in the codebooks, one after the other."""
    return np.asarray(letters, np.uint16) * np.uint16(CODES) + codes


def background_of(codebook: np.ndarray) -> np.ndarray:
    """Mean frequencies [20] of the amino acids."""
    return codebook[UNKNOWN, 0]
