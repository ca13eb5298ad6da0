"""Find the residues that overlap, again and again while frames relax (NumPy).

Most pairs of residues are too far apart to overlap soon. A pair is looked at closely once its
residues may have come together since it last was, given how far each has moved.
"""

from __future__ import annotations

import numpy as np

from .backbone_sites import Overlaps
from .rigid_body_step import Contacts

_SKIN = 0.2  # nm: pairs farther apart than this are not even remembered
_MARGIN = 1.15  # pairs at so many times their contact distance may come under it in ten sweeps
_BLOCK = 4_000_000  # numbers in one array
_CACHED = 100_000  # the same where it is gone through many times


class NearPairs:
    """Pairs of residues of some frames that are near each other.

    Parameters
    ----------
    overlaps : Overlaps
    frames : ndarray, int [F]
        Numbers of the frames among those that `overlaps` knows.
    row : ndarray, int [L]
        Where in the coordinates each residue is.
    marked : ndarray, bool [F], optional
        Frames that had a clash; the others have no contacts. Those that have one are added.
    """

    def __init__(
        self,
        overlaps: Overlaps,
        frames: np.ndarray,
        row: np.ndarray,
        marked: np.ndarray | None = None,
    ) -> None:
        self.overlaps, self.frames, self.row = overlaps, frames, row
        self.marked = np.zeros(len(frames), bool) if marked is None else marked
        movable = overlaps.weight > 0
        self._wanted = np.triu(movable[:, None] | movable, 1)
        self._sites: np.ndarray | None = None  # where they were last
        self._path = np.full(len(frames), np.inf)  # that two residues went since pairs were listed
        self._pairs = np.zeros((3, 0), int)  # frame, i, j
        self._gap = np.zeros(0, np.float32)  # none of these pairs overlaps before it has gone this

    def among(self, kept: np.ndarray) -> None:
        """Go on with some of the frames, bool [F]."""
        self.frames, self.marked, self._path = (
            y[kept] for y in (self.frames, self.marked, self._path)
        )
        self._sites = self._sites.compress(kept, 3)
        there = kept[self._pairs[0]]
        self._pairs, self._gap = self._pairs[:, there], self._gap[there]
        self._pairs[0] = np.cumsum(kept)[self._pairs[0]] - 1

    def contacts(self, x: np.ndarray) -> Contacts:
        """Contacts of the residues of [3, 3, L, F] that overlap in frames that had a clash."""
        sites = self.overlaps.sites(x.take(self.row, 2), self.frames)
        self._follow(sites)
        near = np.flatnonzero(self._gap <= 0)
        flat = sites.reshape(*sites.shape[:2], -1)
        found = [(*np.zeros((5, 0), int), np.zeros(0, np.float32))]
        step = _CACHED // sites.shape[1] ** 2
        for start in range(0, len(near), step):
            found.append(self._touching(flat, near[start : start + step]))
        frame, i, a, j, b, distance = (np.concatenate(part) for part in zip(*found, strict=True))
        with_clash = self.marked[frame]
        frame, i, a, j, b, distance = (y[with_clash] for y in (frame, i, a, j, b, distance))
        return self._collected(frame, np.stack([i, j]), np.stack([a, b]), distance)

    def _follow(self, sites: np.ndarray) -> None:
        """Shorten gaps by what residues have moved; list the pairs of frames that moved far."""
        if self._sites is not None:
            step = sites - self._sites
            step = np.einsum("xslf,xslf->slf", step, step)
            step = np.sqrt(np.fmax.reduce(step, 0, initial=0))  # [L, F]
            self._path += 2 * step.max(0)
            frame, i, j = self._pairs
            self._gap -= step[i, frame] + step[j, frame]
        self._sites = sites
        stale = self._path >= _SKIN
        if not stale.any():
            return
        kept = ~stale[self._pairs[0]]
        pairs, gaps = [self._pairs[:, kept]], [self._gap[kept]]
        length = sites.shape[2]
        which, step = np.flatnonzero(stale), max(1, _BLOCK // length**2)
        for first in range(0, len(which), step):
            part = which[first : first + step]
            centre, radius = _balls(sites.take(part, 3))
            square = np.einsum("flx,flx->fl", centre, centre)
            gap = square[:, :, None] + square[:, None] - 2 * centre @ centre.swapaxes(1, 2)
            gap = np.sqrt(np.maximum(gap, 0)) - radius[:, :, None] - radius[:, None]
            gap -= self.overlaps.widest + np.float32(1e-3)
            frame, i, j = np.nonzero((gap < _SKIN) & self._wanted)
            pairs.append(np.stack([part[frame], i, j]))
            gaps.append(gap[frame, i, j])
        self._pairs, self._gap = np.concatenate(pairs, 1), np.concatenate(gaps)
        self._path[stale] = 0

    def _touching(self, sites: np.ndarray, near: np.ndarray) -> tuple[np.ndarray, ...]:
        """Frame, i, a, j, b, distance of the sites to push, of the listed pairs `near`."""
        frame, i, j = self._pairs[:, near]
        frames, widest = len(self.frames), self.overlaps.widest
        square = _squares(sites, i * frames + frame, j * frames + frame)
        excess = np.fmin.reduce(square - self.overlaps.overlap(i, j), (0, 1))
        self._gap[near] = np.sqrt(np.maximum(excess, 0) + widest**2) - widest
        hit = np.flatnonzero(excess < 0)
        frame, i, j, square = frame[hit], i[hit], j[hit], square.take(hit, 2)
        contact, clash = self.overlaps.apart(i, j)
        with np.errstate(invalid="ignore"):
            self.marked[frame[(square < clash**2).any((0, 1))]] = True
            a, b, pair = np.nonzero(square < (contact * np.float32(_MARGIN)) ** 2)
        return frame[pair], i[pair], a, j[pair], b, contact[a, b, pair]

    def _collected(
        self, frame: np.ndarray, residue: np.ndarray, site: np.ndarray, distance: np.ndarray
    ) -> Contacts:
        """Contacts of pairs of residues and of their sites, both [2, P]."""
        length = len(self.row)
        key, body = np.unique(frame * length + residue, return_inverse=True)
        body = body.reshape(residue.shape)
        where, which = np.divmod(key, length)
        bodies = np.stack([where, self.row[which], self.row[np.minimum(which + 1, length - 1)]])
        place = self.overlaps.place
        number = self.frames[frame] if place.shape[3] > 1 else 0 * frame
        order = np.argsort(body, axis=None, kind="stable")
        start = np.searchsorted(body.ravel()[order], np.arange(len(key)))
        weight = self.overlaps.weight[residue]
        return Contacts(
            bodies, body, place[:, site, residue, number], distance, weight, order, start
        )


def _balls(sites: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre [F, L, 3] and radius [F, L] of balls that hold the sites [3, S, L, F] of residues."""
    centre = (np.fmax.reduce(sites, 1) + np.fmin.reduce(sites, 1)) / 2
    away = sites - centre[:, None]
    radius = np.sqrt(np.fmax.reduce(np.einsum("xslf,xslf->slf", away, away), 0))
    centre = centre - centre.mean(1, keepdims=True)
    return np.ascontiguousarray(centre.transpose(2, 1, 0)), radius.T


def _squares(sites: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Squared distances [S, S, P] of the sites [3, S, N] of pairs of bodies."""
    square = 0
    for along in sites:
        delta = along.take(first, 1)[:, None] - along.take(second, 1)
        delta *= delta
        square = np.add(square, delta, out=delta)
    return square
