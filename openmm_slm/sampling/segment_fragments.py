"""Library fragments for the resampled segments of a template."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..library.fragments import ANCHORS, Fragments, find_fragments
from ..library.library import Library
from ..library.registry import load_library
from .template import Template

_DISTINCT = 0.05  # nm, RMSD of two fragments from which frames start
_LOOKED_AT = 1000
#: Smallest fit (nats) of a fragment from which frames start. On validation loops, one in four with
#: a larger fit is better than 95 % of the tries, and one in 25 of the others.
LEAST_FIT = -8.0
_RANKED = 256  # fragments of a segment from which frames start, at most


@dataclass(frozen=True, eq=False)
class Segment:
    """Consecutive residues that are sampled, and their fragments.

    Attributes
    ----------
    rows : ndarray, int [K]
    fragments : Fragments, optional
        None at the end of a chain and without a library.
    inside : bool
        Two residues of the same chain are held on either side.
    """

    rows: np.ndarray
    fragments: Fragments | None = None
    inside: bool = False

    @property
    def anchors(self) -> np.ndarray:
        """Rows of the two residues before the segment and the two after it; int [4]."""
        first, end = int(self.rows[0]), int(self.rows[-1]) + 1
        return np.r_[first - ANCHORS : first, end : end + ANCHORS]


def segments_of(
    sampled: np.ndarray, template: Template, row: int, chosen: dict[str, object] | None
) -> list[Segment]:
    """Segments of the residues `sampled` [L] in a frame of a template, with fragments if `chosen`.

    `chosen` is the option `fragments` (`checked_fragments`).
    """
    chain = np.cumsum(template.chain_break)
    edges = np.flatnonzero((np.diff(sampled) != 0) | (np.diff(chain) != 0)) + 1
    found = []
    for rows in np.split(np.arange(len(sampled)), edges):
        if not sampled[rows[0]]:
            continue
        segment = Segment(rows)
        anchors = segment.anchors
        inside = anchors[0] >= 0 and anchors[-1] < len(sampled)
        inside = inside and len(set(chain[anchors])) == 1 and not sampled[anchors].any()
        if chosen is None or not inside:
            found.append(Segment(rows, inside=inside))
            continue
        x = template.backbone[row]
        options = {"splits": chosen["splits"], "exclude": chosen["exclude"]}
        letters = template.sequence.replace(":", "")[rows[0] : rows[-1] + 1]
        before, after = x[anchors[:ANCHORS]], x[anchors[ANCHORS:]]
        library = load_library(chosen["library"])
        fragments = find_fragments(library, letters, before, after, **options)
        found.append(Segment(rows, fragments, inside=True))
    return found


def fragment_names(segments: list[Segment], used: np.ndarray, library: Library) -> str:
    """Chain and first residue of the fragments `used` [S] of segments, ``+`` between them."""
    names = []
    for segment, k in zip(segments, used, strict=False):
        if k >= 0:
            number = int(segment.fragments.chain[k])
            chain, first = library.chains[number], segment.fragments.first[k]
            name = f"{chain.pdb}_{chain.chain}" if chain.pdb else chain.id
            names.append(f"{name}:{library.residue_numbers(number)[first]}")
    return "+".join(names)


def starting_order(segment: Segment) -> np.ndarray:
    """Fragments of a segment in the order in which frames start from them."""
    if not segment.fragments:
        return np.empty(0, int)
    order = distinct(segment.fragments, _RANKED)
    return order[segment.fragments.fit[order] >= LEAST_FIT]


def distinct(fragments: Fragments, number: int) -> np.ndarray:
    """Indices of the first `number` fragments of which no two are nearer than 0.05 nm RMSD."""
    chosen: list[int] = []
    flat = fragments.backbone[:_LOOKED_AT].reshape(min(len(fragments), _LOOKED_AT), -1)
    nearest = np.full(len(flat), np.inf)
    size = flat.shape[1] // 3
    while len(chosen) < number and (nearest > _DISTINCT).any():
        chosen.append(int((nearest > _DISTINCT).argmax()))
        off = np.sqrt(((flat - flat[chosen[-1]]) ** 2).sum(1) / size)
        nearest = np.minimum(nearest, off)
    return np.array(chosen, int)
