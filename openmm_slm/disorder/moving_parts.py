"""Which residues move: free residues, and the rigid bodies that they join (NumPy, nm)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

_NEAR, _CONTACTS = 0.8, 3  # nm, and pairs of CA within it that make two pieces one body


@dataclass(frozen=True)
class Segment:
    """Free residues [first, end), and the bodies before and after them (-1: none)."""

    first: int
    end: int
    before: int
    after: int


@dataclass(frozen=True)
class MovingParts:
    """Free residues and rigid bodies of one structure.

    Attributes
    ----------
    free : ndarray, bool [L]
        Residues whose torsions are sampled.
    body : ndarray, int [L]
        Number of the rigid body; -1 for free residues. Body 0 has the most residues.
    bonded : ndarray, bool [L]
        Residue i is bonded to residue i - 1.
    segments : tuple of Segment
        Runs of free residues: tails, linkers and whole chains.
    downstream : ndarray, bool [L, L]
        Row i, of a free residue: all residues that move with residue i + 1 when the torsions of
        residue i change.
    """

    free: np.ndarray
    body: np.ndarray
    bonded: np.ndarray
    segments: tuple[Segment, ...]
    downstream: np.ndarray

    @classmethod
    def of(cls, disordered: np.ndarray, ca: np.ndarray | None, bonded: np.ndarray) -> MovingParts:
        """Parts of a structure with disordered residues.

        Pieces of the structure that touch are one body. A disordered segment both of whose ends
        are in one body is a loop: it is not free, for its ends have to meet.

        Parameters
        ----------
        disordered : ndarray, bool [L]
        ca : ndarray [L, 3], optional
            Of the other residues; nm. None: these are one body.
        bonded : ndarray, bool [L]
            Residue i is bonded to residue i - 1.
        """
        free = np.array(disordered, bool)
        body = _bodies(free, ca, bonded)
        while len(closed := _loops(free, body, bonded)):
            for one in closed:
                free[one.first : one.end] = False
                body[one.first : one.end] = one.before
                body[body == one.after] = one.before
        kept = np.flatnonzero(np.bincount(body[body >= 0])) if (body >= 0).any() else []
        largest = sorted(kept, key=lambda number: -(body == number).sum())
        numbered = {old: new for new, old in enumerate(largest)}
        body = np.array([numbered.get(number, -1) for number in body])
        segments = tuple(_segments(free, body, bonded))
        return cls(free, body, bonded, segments, _downstream(free, body, bonded))

    def windows(self, width: int) -> np.ndarray:
        """First residues of all windows of `width` free residues inside one segment."""
        return np.concatenate([np.arange(s.first, s.end - width + 1) for s in self.segments])

    def loose_chains(self, chain: np.ndarray) -> np.ndarray:
        """Chains (of `chain` int [L]) that are free as a whole."""
        return np.array([one for one in np.unique(chain) if self.free[chain == one].all()], int)

    @property
    def longest(self) -> int:
        """Residues of the longest segment; 0 without any."""
        return max((s.end - s.first for s in self.segments), default=0)


def _bodies(free: np.ndarray, ca: np.ndarray | None, bonded: np.ndarray) -> np.ndarray:
    """Number of the body of each residue, -1 for free ones."""
    rows = np.flatnonzero(~free)
    if ca is None:
        return np.where(free, -1, 0)
    starts = ~bonded | np.append(True, free[:-1])
    piece = np.cumsum(starts & ~free) - 1
    number = piece[rows].max() + 1 if len(rows) else 0
    pairs = piece[rows[cKDTree(ca[rows]).query_pairs(_NEAR, output_type="ndarray")]]
    touching = np.zeros((number, number), int)
    np.add.at(touching, tuple(pairs.T), 1)
    touching = touching + touching.T
    _, joined = connected_components(touching >= _CONTACTS, directed=False)
    body = np.full(len(free), -1)
    body[rows] = joined[piece[rows]] if number else -1
    return body


def _segments(free: np.ndarray, body: np.ndarray, bonded: np.ndarray) -> list[Segment]:
    follows = np.append(bonded[1:], False)  # residue i + 1 is bonded to i
    found = []
    for first in np.flatnonzero(free & ~(bonded & np.append(False, free[:-1]))):
        end = first + 1
        while end < len(free) and bonded[end] and free[end]:
            end += 1
        before = body[first - 1] if bonded[first] else -1
        after = body[end] if follows[end - 1] else -1
        found.append(Segment(int(first), int(end), int(before), int(after)))
    return found


def _loops(free: np.ndarray, body: np.ndarray, bonded: np.ndarray) -> list[Segment]:
    """Linkers whose two bodies are joined in another way too."""
    linkers = [s for s in _segments(free, body, bonded) if s.before >= 0 and s.after >= 0]
    number = body.max() + 1
    found = []
    for one in linkers:
        others = [s for s in linkers if s is not one]
        ends = [[s.before for s in others], [s.after for s in others]]
        graph = coo_matrix((np.ones(len(others)), ends), shape=(number, number))
        _, joined = connected_components(graph, directed=False)
        if joined[one.before] == joined[one.after]:
            found.append(one)
    return found


def _downstream(free: np.ndarray, body: np.ndarray, bonded: np.ndarray) -> np.ndarray:
    """Residues beyond each free residue (see `MovingParts`)."""
    length = len(free)
    links = np.flatnonzero(bonded)
    hubs = np.flatnonzero(body >= 0)  # a body is a node that all its residues are joined to
    size = length + body.max(initial=-1) + 1
    first = np.concatenate([links - 1, hubs])
    second = np.concatenate([links, length + body[hubs]])
    out = np.zeros((length, length), bool)
    for row in np.flatnonzero(free & np.append(bonded[1:], False)):
        kept = ~((first == row) & (second == row + 1))
        graph = coo_matrix((np.ones(kept.sum()), (first[kept], second[kept])), shape=(size, size))
        _, part = connected_components(graph, directed=False)
        out[row] = part[:length] == part[row + 1]
    return out
