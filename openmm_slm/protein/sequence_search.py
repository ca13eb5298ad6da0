"""Find the sequences of a library that are related to a query, and align them (NumPy, Gemmi).

Candidates share words of three letters with the query near one diagonal (as in BLAST; Altschul et
al., J. Mol. Biol. 1990). Each candidate is aligned globally with BLOSUM62; a gap of n residues
costs 10 + n. The hit is the best-scoring segment of the alignment. The number of segments with at
least its score S expected by chance between a query of q and a library of n residues is

    E = q n 2^-bits,    bits = (lambda S - ln K) / ln 2

with lambda = 0.267 and K = 0.041 for these scores and gap costs (Altschul & Gish, Methods Enzymol.
1996).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .sequence import AMINO_ACIDS, encode_sequence

_CANDIDATES = 400  # most sequences to align
_SHARED = 2  # fewest words a candidate shares with the query
_WORD = 3
_WORDS = len(AMINO_ACIDS) ** _WORD
_NONE = _WORDS  # code of words with unknown letters or across the end of a sequence
_BAND = 16  # diagonals per band
_LAMBDA, _K = 0.267, 0.041
_UNGAPPED = 0.318  # lambda of BLOSUM62 without gaps
# Frequencies of the amino acids in proteins (Robinson & Robinson, PNAS 1991).
_BACKGROUND = np.array(
    [0.078, 0.019, 0.054, 0.063, 0.039, 0.074, 0.022, 0.051, 0.057, 0.090,
     0.022, 0.045, 0.052, 0.043, 0.051, 0.071, 0.058, 0.064, 0.013, 0.032]
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Hit:
    """A library sequence aligned to part of the query.

    Attributes
    ----------
    number : int
        Index in the library.
    places : ndarray, int [2, P]
        Aligned residues of the query (first row) and of the hit; ascending.
    identity : float
        Share of the aligned pairs that are identical.
    coverage : float
        Share of the query that is aligned.
    bits, e_value : float
    """

    number: int
    places: np.ndarray
    identity: float
    coverage: float
    bits: float
    e_value: float


class SequenceLibrary:
    """Sequences indexed for searches.

    Parameters
    ----------
    sequences : sequence of str
        One-letter amino acids; X is unknown.
    """

    def __init__(self, sequences: Sequence[str]) -> None:
        self.sequences = sequences
        lengths = np.array([len(sequence) for sequence in sequences])
        first = np.cumsum(lengths) - lengths
        #: Sequence index, and position in that sequence, of every residue.
        self.number = np.repeat(np.arange(len(sequences), dtype=np.int32), lengths)
        self.place = np.arange(lengths.sum(), dtype=np.int32)
        self.place -= np.repeat(first.astype(np.int32), lengths)
        self.words = _words(encode_sequence("".join(sequences)))
        left = np.repeat(lengths.astype(np.int32), lengths) - self.place
        self.words[left[: len(self.words)] < _WORD] = _NONE

    def search(self, sequence: str) -> Iterator[Hit]:
        """Yield the aligned candidates; those that share most words come first."""
        for number in self._candidates(sequence):
            yield self._hit(sequence, int(number))

    def _candidates(self, sequence: str) -> np.ndarray:
        """Indices of the sequences that share most words within one band of diagonals."""
        ours = _words(encode_sequence(sequence))
        order = np.argsort(ours, kind="stable")
        count = np.bincount(ours, minlength=_WORDS + 1)
        start = np.cumsum(count) - count
        count[_NONE] = 0
        matches = count[self.words]
        residue = np.flatnonzero(matches)
        matches = matches[residue]
        within = np.arange(matches.sum()) - np.repeat(np.cumsum(matches) - matches, matches)
        residue = np.repeat(residue, matches)
        mine = order[start[self.words[residue]] + within]
        diagonal = self.place[residue] - mine + len(sequence)
        # Two sets of bands, offset by half a band, so that one of them keeps a cluster whole.
        bands = 2 * ((int(self.place.max()) + len(sequence)) // _BAND + 2)
        band = [(diagonal + half * _BAND // 2) // _BAND * 2 + half for half in (0, 1)]
        key = np.concatenate([self.number[residue] * np.int64(bands) + each for each in band])
        key, shared = np.unique(key, return_counts=True)
        most = np.zeros(len(self.sequences), int)
        np.maximum.at(most, key // bands, shared)
        ranked = np.argsort(-most, kind="stable")[:_CANDIDATES]
        return ranked[most[ranked] >= _SHARED]

    def _hit(self, sequence: str, number: int) -> Hit:
        other = self.sequences[number]
        places, score = _best_segment(_align(sequence, other), sequence, other)
        bits = (_LAMBDA * score - np.log(_K)) / np.log(2)
        same = [sequence[i] == other[j] for i, j in places.T]
        return Hit(
            number,
            places,
            float(np.mean(same)) if same else 0.0,
            len(same) / len(sequence),
            float(bits),
            float(len(sequence) * len(self.number) * 2.0**-bits),
        )


def _words(rows: np.ndarray) -> np.ndarray:
    """Code of the word that begins at each residue except the last two."""
    letters = len(AMINO_ACIDS)
    parts = [rows[k : max(0, len(rows) - _WORD + 1) + k].astype(np.int16) for k in range(_WORD)]
    number = sum(part * letters ** (_WORD - 1 - k) for k, part in enumerate(parts))
    known = np.all([part < letters for part in parts], 0)
    return np.where(known, number, _NONE).astype(np.int16)


def _names(sequence: str) -> list[str]:
    import gemmi

    return gemmi.expand_one_letter_sequence(sequence, gemmi.ResidueKind.AA)


@lru_cache(maxsize=1)
def _scoring():
    """Gemmi's BLOSUM62 scoring with its gap costs, and its table [21, 21] of pair scores."""
    import gemmi

    scoring = gemmi.AlignmentScoring("b")
    names = _names(AMINO_ACIDS + "X")
    table = [
        [gemmi.align_string_sequences([a], [b], [], scoring).score for b in names] for a in names
    ]
    return scoring, np.array(table)


def substitution_frequencies() -> np.ndarray:
    """Frequencies [20, 20] of the amino acids that BLOSUM62 expects in place of each.

    With score s(a, b) and background f, the frequency of b in place of a is f(b) exp(lambda s).
    """
    table = _scoring()[1][: len(AMINO_ACIDS), : len(AMINO_ACIDS)]
    expected = _BACKGROUND * np.exp(_UNGAPPED * table)
    return expected / expected.sum(1, keepdims=True)


def _align(a: str, b: str) -> np.ndarray:
    """Aligned residues [2, P] of the global alignment."""
    import gemmi

    cigar = gemmi.align_string_sequences(_names(a), _names(b), [], _scoring()[0]).cigar_str()
    ours = theirs = 0
    parts = [np.zeros((2, 0), int)]
    for count, kind in re.findall(r"(\d+)([MID])", cigar):
        size = int(count)
        if kind == "M":
            parts.append(np.arange(size) + [[ours], [theirs]])
        ours += size * (kind != "D")
        theirs += size * (kind != "I")
    return np.concatenate(parts, 1)


def _best_segment(places: np.ndarray, a: str, b: str) -> tuple[np.ndarray, int]:
    """The segment of an alignment with the largest score, and its score (0 if empty)."""
    scoring, table = _scoring()
    pairs = table[encode_sequence(a)[places[0]], encode_sequence(b)[places[1]]]
    gap_length = np.diff(places, axis=1, prepend=places[:, :1] - 1) - 1
    gaps = np.where(gap_length > 0, scoring.gapo + scoring.gape * gap_length, 0).sum(0)
    best = running = first = 0
    chosen = slice(0, 0)
    for k, (gap, pair) in enumerate(zip(gaps.tolist(), pairs.tolist(), strict=True)):
        running += gap
        if running <= 0:
            running, first = 0, k
        running += pair
        if running > best:
            best, chosen = running, slice(first, k + 1)
    return places[:, chosen], best
