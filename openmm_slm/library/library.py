"""Chains of known structure that can be searched by sequence or by profile."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from ..data.threading import thread
from ..errors import StructureError, counted
from ..files.json_settings import build
from ..protein.sequence import AMINO_ACIDS, encode_sequence
from .backbone_blocks import Block
from .codebook import background_of, kinds_of
from .hits import LibraryHit
from .local_alignment import best_alignments, best_scores
from .scoring import EXTEND, OPEN, letter_table, profile_table
from .significance import Significance
from .storage import BLOCK, LibraryFiles
from .ungapped_filter import segment_scores

logger = logging.getLogger(__name__)

SHORTEST, LONGEST = 20, 2000  # residues of a query
_ALIGNED = 1500  # chains that pass the gap-free filter
_COMPARED = 200  # chains whose score is compared with that of the reversed query
_TRACED = 25  # alignments made at a time
_MOST_TRACED = 100
_LARGEST_E, _SURE_E = 10.0, 1e-3
_ALPHABET = np.array([*AMINO_ACIDS, "X"])


class LibraryChain(NamedTuple):
    """A chain of a library: its names, split, cluster at 30 % identity, and length."""

    id: str
    pdb: str
    chain: str
    split: str
    cluster: str
    length: int


class Library:
    """A library of chains with profiles and backbones.

    Files are read and verified when they are first needed.

    Parameters
    ----------
    directory : path
        See `openmm_slm.library.storage`.

    Raises
    ------
    StructureError
        The directory is no library. Later, on first use: a file is missing or damaged.
    """

    def __init__(self, directory: str | os.PathLike) -> None:
        self.files = LibraryFiles(directory)
        self.about = self.files.about
        self.significance = build(
            Significance, self.about["significance"], f"{directory}: significance"
        )

    def __len__(self) -> int:
        return int(self.about["chains"])

    @cached_property
    def chains(self) -> list[LibraryChain]:
        """All chains, in the order of their numbers."""
        rows = self.files.rows()
        return [LibraryChain(**{**row, "length": int(row["length"])}) for row in rows]

    @cached_property
    def codebook(self) -> np.ndarray:
        """Profile columns, float32 [21, 256, 20]."""
        return np.array(self.files.array("codebook"))

    @cached_property
    def background(self) -> np.ndarray:
        """Mean frequencies of the amino acids, [20]."""
        return background_of(self.codebook)

    @cached_property
    def kinds(self) -> np.ndarray:
        """Row of each residue of the library in `columns`, one chain after the other."""
        return kinds_of(self.files.array("letters"), self.files.array("codes"))

    @cached_property
    def begin(self) -> np.ndarray:
        """Row of the first residue of each chain among those of all, and their number."""
        return np.cumsum([0, *(chain.length for chain in self.chains)])

    @cached_property
    def columns(self) -> np.ndarray:
        """Profile columns of the codebooks, float32 [K, 20]."""
        return self.codebook.reshape(-1, self.codebook.shape[-1])

    @cached_property
    def table(self) -> np.ndarray:
        """Scores int16 [21, K] of each amino acid with each kind of residue."""
        return letter_table(self.columns, self.background)

    def sequence(self, number: int) -> str:
        """Letters of a chain; X is an unknown residue."""
        return "".join(_ALPHABET[self._letters(number)])

    def _letters(self, number: int) -> np.ndarray:
        part = slice(self.begin[number], self.begin[number + 1])
        return np.array(self.files.array("letters")[part])

    def profile(self, number: int) -> np.ndarray:
        """Profile of a chain as it is stored: frequencies float32 [L, 20]."""
        kinds = self.kinds[self.begin[number] : self.begin[number + 1]]
        return self.columns[kinds]

    def backbone(self, number: int) -> np.ndarray:
        """N, CA, C and O of a chain: float32 [L, 4, 3] in nm; NaN in incomplete residues."""
        return self.block(number // BLOCK).backbone(number % BLOCK)

    def residue_numbers(self, number: int) -> np.ndarray:
        """Residue numbers of a chain in its PDB entry, int32 [L]."""
        return self.block(number // BLOCK).numbers(number % BLOCK)

    def block(self, number: int) -> Block:
        """Chains of a block; the blocks used last are kept."""
        return _block(self, number)

    def search(
        self,
        sequence: str,
        profile: np.ndarray | None = None,
        *,
        splits: Collection[str] | None = None,
        exclude: Collection[str] = (),
        most_identical: float = 1.0,
        limit: int = 10,
    ) -> list[LibraryHit]:
        """Find chains that are related to a query, best first.

        Parameters
        ----------
        sequence : str
            One chain of 20 to 2,000 residues; X is an unknown residue. A shorter one has no hits.
        profile : ndarray [L, 20], optional
            Frequencies of the amino acids at each residue of the query, as `read_alignment` returns
            them. They find more distant relatives than the sequence alone.
        splits : collection of str, optional
            Search only chains of these splits.
        exclude : collection of str
            Ids of chains, or PDB entries, that are left out.
        most_identical : float
            Leave out chains with a larger share of identical residues.
        limit : int
            Largest number of hits.

        Returns
        -------
        list of LibraryHit
            E-values of at most 10. Hits whose fold is likely to be right (a probability of at least
            0.5) come first, the closest of them at the beginning; then the others by E-value.

        Raises
        ------
        StructureError
            The sequence has several chains, an unknown character or more than 2,000 residues, or
            the profile is of another length.
        """
        letters = _check_query(sequence, profile)
        allowed = self.allowed(splits, exclude)
        if len(letters) < SHORTEST or not len(allowed):
            logger.info("the library is not searched with %s", counted(len(letters), "residue"))
            return []
        if profile is None:
            rows, table = letters.astype(int), self.table
        else:
            rows, table = (
                np.arange(len(letters)),
                profile_table(profile, self.columns, self.background),
            )
        # The best chains of each step go on to the next.
        left = allowed[_largest(segment_scores(rows, table, self._of(allowed)), _ALIGNED)]
        scores = best_scores(rows, table, self._of(left), OPEN, EXTEND)
        best = _largest(scores, _COMPARED)
        left, scores = left[best], scores[best]
        scores = scores - best_scores(rows[::-1], table, self._of(left), OPEN, EXTEND)
        order = _largest(scores, len(scores))
        hits: list[LibraryHit] = []
        for first in range(0, len(order), _TRACED):
            part = order[first : first + _TRACED]
            chance = len(allowed) * 2.0 ** -self.significance.bits(scores[part])
            # A closer relative may have a lower score than others of its family: look at all.
            if len(hits) >= limit and (chance[0] > _SURE_E or first >= _MOST_TRACED):
                break
            part = part[chance <= _LARGEST_E]
            traced = best_alignments(rows, table, self._of(left[part]), OPEN, EXTEND)
            for number, score, (_, places) in zip(left[part], scores[part], traced, strict=True):
                found = int(number), places, int(score), len(allowed)
                hit = self._hit(letters, *found, profile is not None)
                if hit.identity <= most_identical:
                    hits.append(hit)
            if len(part) < _TRACED:
                break
        return sorted(hits, key=_closest_first)[:limit]

    def threaded(self, sequence: str, hits: Sequence[LibraryHit]) -> np.ndarray:
        """Thread a query onto the backbones of its hits: float32 [T, L, 14, 3] in nm.

        See `openmm_slm.data.threading.thread`.
        """
        backbones = [self.backbone(hit.number) for hit in hits]
        return thread(len(sequence), backbones, [hit.places for hit in hits])

    def allowed(self, splits: Collection[str] | None, exclude: Collection[str]) -> np.ndarray:
        """Numbers of the chains of some splits, without those of `exclude` (see `search`)."""
        if isinstance(splits, str):
            splits = (splits,)
        known = {chain.split for chain in self.chains}
        for split in splits or ():
            if split not in known:
                raise StructureError(
                    f"{self.files.directory}: no chains of split {split!r}; it has "
                    f"{', '.join(sorted(known))}"
                )
        unwanted = {name.upper() for name in exclude}
        kept = [
            (splits is None or chain.split in splits)
            and not (unwanted and {chain.id.upper(), chain.pdb.upper()} & unwanted)
            for chain in self.chains
        ]
        return np.flatnonzero(kept)

    def _of(self, numbers: np.ndarray) -> list[np.ndarray]:
        begin, end = self.begin[numbers].tolist(), self.begin[numbers + 1].tolist()
        return [self.kinds[i:j] for i, j in zip(begin, end, strict=True)]

    def _hit(
        self,
        letters: np.ndarray,
        number: int,
        places: np.ndarray,
        score: int,
        searched: int,
        with_profile: bool,
    ) -> LibraryHit:
        chain = self.chains[number]
        same = letters[places[0]] == self._letters(number)[places[1]]
        aligned, span = places.shape[1], int(places[0, -1] - places[0, 0]) + 1
        coverage = aligned / len(letters)
        bits = float(self.significance.bits(score))
        return LibraryHit(
            number,
            chain.id,
            chain.pdb,
            chain.chain,
            places,
            float(same.mean()),
            coverage,
            bits,
            float(searched * 2.0**-bits),
            self.significance.probability(bits, searched, coverage, len(letters), with_profile),
            self.significance.stretch_probability(
                bits, searched, aligned / span, span, with_profile
            ),
        )


@lru_cache(maxsize=32)
def _block(library: Library, number: int) -> Block:
    lengths = [chain.length for chain in library.chains[number * BLOCK : (number + 1) * BLOCK]]
    return Block(library.files.block(number), lengths, library.about["error"])


def _closest_first(hit: LibraryHit) -> tuple[bool, float]:
    """Sorting key: likely folds first, the closest at the beginning; then the others by score."""
    likely = hit.probability >= 0.5
    return not likely, -(hit.closeness if likely else hit.bits)


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Indices of the largest values, in falling order."""
    return np.argsort(-values.astype(np.int64), kind="stable")[:count]


def _check_query(sequence: str, profile: np.ndarray | None) -> np.ndarray:
    """Letters of a query as integers."""
    sequence = "".join(sequence.split()).upper()
    if ":" in sequence:
        raise StructureError(
            f"the library is searched with one chain, but the sequence has "
            f"{sequence.count(':') + 1}; search with each of them"
        )
    for place, letter in enumerate(sequence, 1):
        if not "A" <= letter <= "Z":
            raise StructureError(
                f"{letter!r} at position {place} of the sequence is no amino acid; use letters, "
                "X for an unknown residue"
            )
    if len(sequence) > LONGEST:
        raise StructureError(
            f"the sequence has {len(sequence)} residues, the library can be searched with up to "
            f"{LONGEST}; search with parts of it"
        )
    if profile is not None and np.shape(profile) != (len(sequence), 20):
        raise StructureError(
            f"the profile has the shape {np.shape(profile)}, but the sequence needs "
            f"{(len(sequence), 20)}"
        )
    return encode_sequence(sequence)
