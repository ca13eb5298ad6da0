"""Cover a query of several domains by hits that do not overlap."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from .hits import LibraryHit
from .library import SHORTEST, Library

_OVERLAP = 10  # query residues that neighbouring hits may share
_CANDIDATES = 30
_STRETCH = 30  # residues of an uncovered stretch that is searched by itself


def cover_query(
    library: Library,
    sequence: str,
    profile: np.ndarray | None = None,
    *,
    splits: Collection[str] | None = None,
    exclude: Collection[str] = (),
    most_identical: float = 1.0,
    limit: int = 10,
    least_probability: float = 0.5,
) -> list[list[LibraryHit]]:
    """Find the hits of each domain of a query.

    The query is searched as a whole, then each stretch that no chosen hit covers.

    Parameters
    ----------
    library : Library
    sequence, profile, splits, exclude, most_identical
        As for `Library.search`.
    limit : int
        Largest number of hits of a domain.
    least_probability : float
        Hits with a smaller ``stretch_probability`` are left out.

    Returns
    -------
    list of list of LibraryHit
        One list per domain, in the order of the query, the closest hit first. The first hits share
        at most 10 query residues. The other hits of a domain cover 80 % of the first one and at
        most 10 residues of other domains.
    """
    options = {"splits": splits, "exclude": exclude, "most_identical": most_identical}
    chosen: list[LibraryHit] = []
    found: list[LibraryHit] = []
    stretches = [(0, len(sequence))]
    while stretches:
        first, end = stretches.pop()
        part = None if profile is None else profile[first:end]
        hits = library.search(sequence[first:end], part, limit=_CANDIDATES, **options)
        hits = [
            hit.moved(first, len(sequence))
            for hit in hits
            if hit.stretch_probability >= least_probability
        ]
        best = best_cover(hits)
        found += hits
        chosen += best
        if best:
            spans = [hit.span for hit in best]
            gaps = uncovered(spans, first, end)
            stretches += [gap for gap in gaps if gap[1] - gap[0] >= max(_STRETCH, SHORTEST)]
    chosen.sort(key=lambda hit: hit.span)
    return [_group(best, chosen, found, limit) for best in chosen]


def best_cover(hits: list[LibraryHit]) -> list[LibraryHit]:
    """The closest hits of which no two share more than 10 query residues.

    The sum of their `LibraryHit.closeness` is the largest.

    Weighted interval scheduling (dynamic programming over the ends of the hits).
    """
    hits = sorted(hits, key=lambda hit: hit.span[1])
    ends = np.array([hit.span[1] for hit in hits])
    best: list[tuple[float, list[LibraryHit]]] = [(0.0, [])]
    for number, hit in enumerate(hits):
        allowed = int(np.searchsorted(ends[:number], hit.span[0] + _OVERLAP, "right"))
        total, before = best[allowed]
        taken = (total + hit.closeness, [*before, hit])
        best.append(max(best[-1], taken, key=lambda each: each[0]))
    return best[-1][1]


def uncovered(spans: list[tuple[int, int]], first: int, end: int) -> list[tuple[int, int]]:
    """Stretches of ``first`` to ``end`` that lie in none of the spans."""
    gaps, place = [], first
    for begin, stop in sorted(spans):
        if begin > place:
            gaps.append((place, begin))
        place = max(place, stop)
    return gaps + ([(place, end)] if place < end else [])


def _group(
    best: LibraryHit, chosen: list[LibraryHit], found: list[LibraryHit], limit: int
) -> list[LibraryHit]:
    """`best` and the other hits of its domain."""
    others = []
    for hit in found:
        shared = [_shared(hit, other) for other in chosen if other is not best]
        if hit is best or hit.number == best.number or max(shared, default=0) > _OVERLAP:
            continue
        first, end = best.span
        if _shared(hit, best) >= 0.8 * (end - first):
            others.append(hit)
    others.sort(key=lambda hit: -hit.closeness)
    return [best, *others][:limit]


def _shared(a: LibraryHit, b: LibraryHit) -> int:
    return max(0, min(a.span[1], b.span[1]) - max(a.span[0], b.span[0]))
