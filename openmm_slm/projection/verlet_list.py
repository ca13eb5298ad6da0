"""Verlet list of overlapping residues, updated while frames relax (NumPy).

The list holds pairs of residues within a skin of overlapping. A pair is re-examined once the
displacements of its residues since the last examination could have closed the gap between them.
"""

from __future__ import annotations

import numpy as np

from .backbone_sites import BackboneSites
from .rigid_body_step import Contacts

_SKIN = 0.2  # nm; pairs with a larger gap are not listed
_MARGIN = 1.15  # sites within this multiple of their contact distance may reach it in ten sweeps
_BLOCK = 4_000_000  # largest size of an array
_CACHED = 100_000  # largest size of an array that is read several times


class VerletList:
    """Pairs of nearby residues in some frames.

    Parameters
    ----------
    sites : BackboneSites
    frames : ndarray, int [F]
        Numbers of the frames in `sites`.
    row : ndarray, int [L]
        Row of each residue in the coordinates.
    marked : ndarray, bool [F], optional
        Frames that had a clash; only these have contacts. Frames are marked when a clash is found.
    """

    def __init__(
        self,
        sites: BackboneSites,
        frames: np.ndarray,
        row: np.ndarray,
        marked: np.ndarray | None = None,
    ) -> None:
        self.sites, self.frames, self.row = sites, frames, row
        self.marked = np.zeros(len(frames), bool) if marked is None else marked
        movable = sites.weight > 0
        self._candidates = np.triu(movable[:, None] | movable, 1)
        self._positions: np.ndarray | None = None  # of the sites at the last call
        self._path = np.full(len(frames), np.inf)  # summed moves of two residues since last listed
        self._pairs = np.zeros((3, 0), int)  # frame, i, j
        self._gap = np.zeros(0, np.float32)  # moves after which each pair may overlap

    def select(self, kept: np.ndarray) -> None:
        """Restrict the list to the frames `kept`, bool [F]."""
        self.frames, self.marked, self._path = (
            y[kept] for y in (self.frames, self.marked, self._path)
        )
        self._positions = self._positions.compress(kept, 3)
        selected = kept[self._pairs[0]]
        self._pairs, self._gap = self._pairs[:, selected], self._gap[selected]
        self._pairs[0] = np.cumsum(kept)[self._pairs[0]] - 1

    def contacts(self, x: np.ndarray) -> Contacts:
        """Contacts of residues that overlap in [3, 3, L, F], for frames that had a clash."""
        positions = self.sites.positions(x.take(self.row, 2), self.frames)
        self._update(positions)
        near = np.flatnonzero(self._gap <= 0)
        flat = positions.reshape(*positions.shape[:2], -1)
        found = [(*np.zeros((5, 0), int), np.zeros(0, np.float32))]
        step = _CACHED // positions.shape[1] ** 2
        for start in range(0, len(near), step):
            found.append(self._overlapping(flat, near[start : start + step]))
        frame, i, a, j, b, distance = (np.concatenate(part) for part in zip(*found, strict=True))
        with_clash = self.marked[frame]
        frame, i, a, j, b, distance = (y[with_clash] for y in (frame, i, a, j, b, distance))
        residue, local = np.stack([i, j]), self.sites.local
        number = self.frames[frame] if local.shape[3] > 1 else 0 * frame
        local = local[:, np.stack([a, b]), residue, number]
        return Contacts.of(frame, residue, local, distance, self.row, self.sites.weight)

    def _update(self, positions: np.ndarray) -> None:
        """Reduce the gaps by the displacements; rebuild the list of frames beyond the skin."""
        if self._positions is not None:
            step = positions - self._positions
            step = np.einsum("xslf,xslf->slf", step, step)
            step = np.sqrt(np.fmax.reduce(step, 0, initial=0))  # [L, F]
            self._path += 2 * step.max(0)
            frame, i, j = self._pairs
            self._gap -= step[i, frame] + step[j, frame]
        self._positions = positions
        stale = self._path >= _SKIN
        if not stale.any():
            return
        kept = ~stale[self._pairs[0]]
        pairs, gaps = [self._pairs[:, kept]], [self._gap[kept]]
        length = positions.shape[2]
        which, step = np.flatnonzero(stale), max(1, _BLOCK // length**2)
        for first in range(0, len(which), step):
            part = which[first : first + step]
            centre, radius = _bounding_spheres(positions.take(part, 3))
            square = np.einsum("flx,flx->fl", centre, centre)
            gap = square[:, :, None] + square[:, None] - 2 * centre @ centre.swapaxes(1, 2)
            gap = np.sqrt(np.maximum(gap, 0)) - radius[:, :, None] - radius[:, None]
            gap -= self.sites.widest + np.float32(1e-3)
            frame, i, j = np.nonzero((gap < _SKIN) & self._candidates)
            pairs.append(np.stack([part[frame], i, j]))
            gaps.append(gap[frame, i, j])
        self._pairs, self._gap = np.concatenate(pairs, 1), np.concatenate(gaps)
        self._path[stale] = 0

    def _overlapping(self, positions: np.ndarray, near: np.ndarray) -> tuple[np.ndarray, ...]:
        """Frame, i, a, j, b and target distance of the sites to push, for listed pairs `near`."""
        frame, i, j = self._pairs[:, near]
        frames, widest = len(self.frames), self.sites.widest
        square = _square_distances(positions, i * frames + frame, j * frames + frame)
        excess = np.fmin.reduce(square - self.sites.overlap(i, j), (0, 1))
        self._gap[near] = np.sqrt(np.maximum(excess, 0) + widest**2) - widest
        hit = np.flatnonzero(excess < 0)
        frame, i, j, square = frame[hit], i[hit], j[hit], square.take(hit, 2)
        contact, clash = self.sites.distances(i, j)
        with np.errstate(invalid="ignore"):
            self.marked[frame[(square < clash**2).any((0, 1))]] = True
            a, b, pair = np.nonzero(square < (contact * np.float32(_MARGIN)) ** 2)
        return frame[pair], i[pair], a, j[pair], b, contact[a, b, pair]


def _bounding_spheres(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre [F, L, 3] and radius [F, L] of spheres around the sites [3, S, L, F] of residues."""
    centre = (np.fmax.reduce(positions, 1) + np.fmin.reduce(positions, 1)) / 2
    away = positions - centre[:, None]
    radius = np.sqrt(np.fmax.reduce(np.einsum("xslf,xslf->slf", away, away), 0))
    centre = centre - centre.mean(1, keepdims=True)
    return np.ascontiguousarray(centre.transpose(2, 1, 0)), radius.T


def _square_distances(positions: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Squared distances [S, S, P] between the sites [3, S, N] of pairs of bodies."""
    square = 0
    for along in positions:
        delta = along.take(first, 1)[:, None] - along.take(second, 1)
        delta *= delta
        square = np.add(square, delta, out=delta)
    return square
