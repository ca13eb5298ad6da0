"""Relatives of a sequence among prepared structures, and what they tell of its backbone."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..errors import StructureError
from ..protein.sequence_search import Hit, SequenceLibrary
from ..protein.superposition import superpose
from .shards import ShardDataset

logger = logging.getLogger(__name__)

LIMIT = 10  # relatives used
E_VALUE = 1e-3
# Shares of the best one's bits and coverage under which a relative is left out. On training chains
# and relatives at most 70 % identical: less lowers the mean TM-score, more the best one's.
WORTH, COVERED = 0.6, 0.8
_FLANK = 1, 2  # residues on each side that are sampled, of an insertion and of a deletion


@dataclass(frozen=True, eq=False)
class Relative:
    """A chain of a dataset that is aligned to part of a sequence.

    Attributes
    ----------
    id : str
        In the index of the shards.
    row : int
        Of the dataset.
    first : int
        Residue of the entry where the chain begins.
    hit : Hit
    """

    id: str
    row: int
    first: int
    hit: Hit

    def told(self) -> dict[str, object]:
        """What ``run.json`` says of it."""
        return {
            "id": self.id,
            "identity": round(self.hit.identity, 3),
            "coverage": round(self.hit.coverage, 3),
            "bits": round(self.hit.bits, 1),
        }


class Relatives:
    """Chains of a shard directory among which relatives are sought.

    Parameters
    ----------
    dataset : ShardDataset
        The chains of complexes are searched one by one.
    """

    def __init__(self, dataset: ShardDataset) -> None:
        self.dataset = dataset
        self._chains: list[tuple[int, int]] = []  # row and first residue of each
        sequences = []
        for row, values in enumerate(dataset.rows):
            first = 0
            for sequence in values["sequence"].split(":"):
                self._chains.append((row, first))
                sequences.append(sequence)
                first += len(sequence)
        self._library = SequenceLibrary(sequences)

    def find(
        self, sequence: str, *, limit: int = LIMIT, most_identical: float = 1.0
    ) -> list[Relative]:
        """The nearest chains, best first.

        Parameters
        ----------
        sequence : str
            One chain.
        limit : int
            At most so many; those with less than 60 % of the best one's bits, or 80 % of its
            coverage, are left out.
        most_identical : float
            Chains with a larger share of identical residues are passed over: to measure what more
            distant ones tell.
        """
        found = [
            hit
            for hit in self._library.search(sequence)
            if hit.e_value <= E_VALUE and hit.identity <= most_identical
        ]
        found.sort(key=lambda hit: (-hit.bits, hit.number))
        found = [
            hit
            for hit in found
            if hit.bits >= WORTH * found[0].bits and hit.coverage >= COVERED * found[0].coverage
        ]
        return [
            Relative(self.dataset.rows[row]["id"], row, first, hit)
            for hit in found[:limit]
            for row, first in [self._chains[hit.number]]
        ]

    def threaded(self, sequence: str, relatives: list[Relative]) -> np.ndarray:
        """Backbones of relatives on the residues of a sequence: float32 [T, L, 14, 3], nm.

        NaN where a residue has no partner, and beside insertions and deletions, where the backbone
        needs room to bridge them. Frames lie on the first.
        """
        atom14 = np.full((len(relatives), len(sequence), 14, 3), np.nan, np.float32)
        for frame, relative in zip(atom14, relatives, strict=True):
            ours, theirs = _bridged(relative.hit.places)
            frame[ours, :4] = self.dataset[relative.row].backbone[relative.first + theirs]
        ca = atom14[:, :, 1]
        _, rotation, shift = superpose(ca, ca[:1])
        moved = atom14 @ np.swapaxes(rotation, -1, -2)[:, None] + shift[:, None, None]
        common = np.isfinite(ca) & np.isfinite(ca[:1])
        fits = common.all(-1).sum(1) >= 3
        atom14[fits] = moved[fits]
        return atom14


def find_relatives(
    sequence: str, data: str | os.PathLike
) -> tuple[np.ndarray, list[dict[str, object]]]:
    """Backbones [T, L, 14, 3] of relatives in a shard directory, and what is told of them.

    Raises
    ------
    StructureError
        Several chains, or no relative there.
    """
    if ":" in sequence:
        raise StructureError(
            f"relatives are sought for one chain, the sequence has {sequence.count(':') + 1}; "
            "give a template of all of them"
        )
    relatives = _opened(os.path.abspath(data))
    found = relatives.find(sequence)
    if not found:
        raise StructureError(
            f"no relative of the sequence among the {len(relatives.dataset)} entries of {data} "
            f"(E-value {E_VALUE:g}); prepare more structures, or sample without relatives"
        )
    for each in found:
        logger.info(
            "relative %s: %.0f %% identical over %.0f %% of the sequence, %.0f bits",
            each.id, 100 * each.hit.identity, 100 * each.hit.coverage, each.hit.bits,
        )  # fmt: skip
    return relatives.threaded(sequence, found), [each.told() for each in found]


@lru_cache(maxsize=1)
def _opened(data: str) -> Relatives:
    return Relatives(ShardDataset(data))


def _bridged(places: np.ndarray) -> np.ndarray:
    """Pairs [2, P] but those beside insertions and deletions."""
    ours, theirs = places
    kept = np.ones(len(ours), bool)
    for k in np.flatnonzero((np.diff(ours) != 1) | (np.diff(theirs) != 1)):
        beside = _FLANK[int(theirs[k + 1] - theirs[k] != 1)]
        kept[max(0, k + 1 - beside) : k + 1 + beside] = False
    return places[:, kept]
