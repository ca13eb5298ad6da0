"""Complexes of a library that have all chains of a query."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import require
from .hits import LibraryHit
from .library import Library

_LIKELY = 0.5  # smallest probability of the fold of each chain
_LOOKED_AT = 120  # hits of a chain
_NEAR, _CONTACTS = 0.8, 3  # nm, and pairs of CA within it of two chains that touch


@dataclass(frozen=True, eq=False)
class ComplexHit:
    """A library complex on which all chains of a query are threaded.

    Attributes
    ----------
    id, pdb : str
        Id of the library entry, and its PDB entry.
    hits : tuple of LibraryHit
        One per chain of the query; each is another chain of the complex.
    """

    id: str
    pdb: str
    hits: tuple[LibraryHit, ...]

    @property
    def closeness(self) -> float:
        """Sum over chains (`LibraryHit.closeness`)."""
        return sum(hit.closeness for hit in self.hits)


def find_complexes(
    library: Library, chains: Sequence[str], limit: int = 10, **options: object
) -> list[ComplexHit]:
    """Find complexes with all chains of a query, closest first.

    Chains of one complex have ids as in ``name:1``, ``name:2``, and coordinates in one frame. The
    chains of a hit have the right fold with a probability of at least 0.5 each, and touch one
    another directly or through others of the query.

    Parameters
    ----------
    library : Library
    chains : sequence of str
        Two or more chains.
    limit : int
        Largest number of complexes.
    **options
        ``splits``, ``exclude`` and ``most_identical`` of `Library.search`.
    """
    if not any(":" in chain.id for chain in library.chains):
        return []
    assign = require("scipy.optimize").linear_sum_assignment
    searched = {
        letters: _by_complex(library, letters, options) for letters in dict.fromkeys(chains)
    }
    common = set.intersection(*(set(found) for found in searched.values()))
    out = []
    for name in sorted(common):
        found = [searched[letters][name] for letters in chains]
        numbers = sorted({number for hits in found for number in hits})
        if len(numbers) < len(chains):
            continue
        cost = np.full((len(chains), len(numbers)), 1e6)
        for row, hits in enumerate(found):
            for number, hit in hits.items():
                cost[row, numbers.index(number)] = -hit.closeness
        columns = assign(cost)[1]
        if (cost[np.arange(len(chains)), columns] > 0).any():
            continue
        hits = tuple(found[row][numbers[column]] for row, column in enumerate(columns))
        if _touch(library, hits):
            out.append(ComplexHit(name, hits[0].pdb, hits))
    return sorted(out, key=lambda one: -one.closeness)[:limit]


def _by_complex(library: Library, letters: str, options: dict) -> dict[str, dict[int, LibraryHit]]:
    """Likely hits of a chain that belong to complexes: by complex and number of the chain."""
    found: dict[str, dict[int, LibraryHit]] = defaultdict(dict)
    for hit in library.search(letters, limit=_LOOKED_AT, **options):
        name, colon, _ = hit.id.rpartition(":")
        if colon and hit.probability >= _LIKELY:
            found[name][hit.number] = hit
    return found


def _touch(library: Library, hits: Sequence[LibraryHit]) -> bool:
    """Whether the aligned parts of the chains of a complex are connected by contacts."""
    tree = require("scipy.spatial").cKDTree
    places = [library.backbone(hit.number)[hit.places[1], 1] for hit in hits]
    trees = [tree(x[np.isfinite(x).all(-1)]) for x in places]
    reached, left = {0}, set(range(1, len(hits)))
    while left:
        near = {
            j
            for j in left
            if any(trees[i].count_neighbors(trees[j], _NEAR) >= _CONTACTS for i in reached)
        }
        if not near:
            return False
        reached |= near
        left -= near
    return True
