"""Find homologous chains of a sequence in a shard directory and use them as templates."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..errors import StructureError, counted
from ..protein.sequence_search import Hit, SequenceLibrary
from .shards import ShardDataset
from .threading import thread

logger = logging.getLogger(__name__)

LIMIT = 10  # largest number of relatives
E_VALUE = 1e-3
# Smallest bit score and coverage of a relative, as shares of the best relative's. Chosen on
# training chains with relatives of up to 70 % identity: lower values reduce the mean TM-score,
# higher values the TM-score of the best relative.
WORTH, COVERED = 0.6, 0.8


@dataclass(frozen=True, eq=False)
class Relative:
    """A chain of a dataset, aligned to part of a query sequence.

    Attributes
    ----------
    id : str
        Id of the entry.
    row : int
        Row number of the entry in the dataset.
    first : int
        Index of the chain's first residue in the entry.
    hit : Hit
        The alignment.
    """

    id: str
    row: int
    first: int
    hit: Hit

    def summary(self) -> dict[str, object]:
        """Record of the relative for ``run.json``."""
        return {
            "id": self.id,
            "identity": round(self.hit.identity, 3),
            "coverage": round(self.hit.coverage, 3),
            "bits": round(self.hit.bits, 1),
        }


class Relatives:
    """Search the chains of a shard directory for relatives of a sequence.

    Parameters
    ----------
    dataset : ShardDataset
        Chains of a complex are searched separately.
    """

    def __init__(self, dataset: ShardDataset) -> None:
        self.dataset = dataset
        self._chains: list[tuple[int, int]] = []  # row and first residue of each chain
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
        """Find the closest relatives, best first.

        Relatives with less than 60 % of the best bit score, or 80 % of the best coverage, are left
        out.

        Parameters
        ----------
        sequence : str
            One chain.
        limit : int
            Largest number of relatives.
        most_identical : float
            Largest share of identical residues. Below 1, it excludes close relatives, to measure
            how well distant ones do.

        Returns
        -------
        list of Relative
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
        """Thread a sequence onto the backbones of its relatives.

        Returns
        -------
        ndarray, float32 [T, L, 14, 3]
            nm, superposed on the first relative. NaN where a residue is not aligned, and beside
            insertions and deletions, where the backbone must be rebuilt to close the gap.
        """
        entries = [self.dataset[relative.row].backbone[relative.first :] for relative in relatives]
        return thread(len(sequence), entries, [relative.hit.places for relative in relatives])


def find_relatives(
    sequence: str, data: str | os.PathLike
) -> tuple[np.ndarray, list[dict[str, object]]]:
    """Find relatives of a sequence in a shard directory and thread it onto them.

    Returns
    -------
    atom14 : ndarray, float32 [T, L, 14, 3]
        Backbones in nm (see `Relatives.threaded`).
    summaries : list of dict
        Records of the relatives for ``run.json``.

    Raises
    ------
    StructureError
        The sequence has several chains, or no relative was found.
    """
    if ":" in sequence:
        raise StructureError(
            f"relatives can be found for one chain only, but the sequence has "
            f"{sequence.count(':') + 1}; give a template of the complex instead"
        )
    relatives = _open(os.path.abspath(data))
    found = relatives.find(sequence)
    if not found:
        raise StructureError(
            "no relative of the sequence among "
            f"{counted(len(relatives.dataset), 'entry', 'entries')} of {data} (E-value "
            f"{E_VALUE:g}); prepare more structures, or sample without relatives"
        )
    for relative in found:
        logger.info(
            "relative %s: %.0f %% identical over %.0f %% of the sequence, %.0f bits",
            relative.id, 100 * relative.hit.identity, 100 * relative.hit.coverage,
            relative.hit.bits,
        )  # fmt: skip
    return relatives.threaded(sequence, found), [relative.summary() for relative in found]


@lru_cache(maxsize=1)
def _open(data: str) -> Relatives:
    return Relatives(ShardDataset(data))
