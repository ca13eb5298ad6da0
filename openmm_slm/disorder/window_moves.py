"""Monte Carlo of chains, tails and linkers: windows of torsions from a pool (NumPy, nm).

The pool holds the torsions of whole conformations that a language model sampled. A move gives a
window of residues the torsions of a pool member; what lies beyond the window moves as it must.
It is accepted by the energy of `bead_energy` (Metropolis). Torsions thus follow the language model,
and interactions between distant residues decide how compact the chain is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ..protein.chain_building import axes, links, residue_axes
from .bead_energy import EVERYTHING, BeadEnergy, Residues
from .moving_parts import MovingParts, Segment

LONGEST = 6  # residues of the longest window
APART = 100.0  # nm between chains that nothing holds together
STARTS = 8  # pool members from which each frame may start
Frames = tuple[np.ndarray, np.ndarray]  # rotation [F, L, 3, 3], origin [F, L, 3]


class WindowMoves:
    """Sampler of one protein.

    Parameters
    ----------
    parts : MovingParts
    pool : ndarray [P, 3, L]
        phi, psi and omega of the pool's members; radians.
    energy : BeadEnergy
    bias : callable, optional
        Further energy [F] (kT) of CA [F, L, 3].
    """

    def __init__(
        self,
        parts: MovingParts,
        pool: np.ndarray,
        energy: BeadEnergy,
        bias: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self.parts, self.pool, self.energy = parts, pool, energy
        self.bias = bias or (lambda ca: np.zeros(len(ca)))
        self._windows = [
            [(first, first + width) for first in parts.windows(width)]
            for width in range(1, min(LONGEST, parts.longest) + 1)
        ]

    def run(
        self, frames: np.ndarray, backbone: np.ndarray, steps: int, seed: int, attempt: int = 0
    ) -> Frames:
        """Sample frames: rotations [F, L, 3, 3] and origins [F, L, 3].

        Each frame depends on the seed, the attempt and its number alone.

        Parameters
        ----------
        frames : ndarray, int [F]
            Frame numbers.
        backbone : ndarray [F, L, 3 or more, 3]
            N, CA, C of the rigid bodies. Body 0 stays where it is.
        steps : int
            Number of moves.
        seed, attempt : int
            Another attempt makes other conformations of the same frames.
        """
        torsions, (rotation, origin) = self._best_start(frames + attempt, backbone)
        sites = self.energy.sites(rotation, origin)
        table = self.energy.pairs(sites, EVERYTHING, EVERYTHING)
        drawn = np.stack([_uniforms(seed, int(frame), steps, attempt) for frame in frames], 1)
        common = np.random.Generator(np.random.Philox(key=[seed, 0], counter=[0, attempt, 3, 0]))
        for uniforms in drawn:
            windows = self._windows[common.integers(len(self._windows))]
            first, end = windows[common.integers(len(windows))]
            member, chance = uniforms.T
            tried = torsions.copy()
            chosen = self.pool[(member * len(self.pool)).astype(int)]
            tried[..., first:end] = chosen[..., first:end]
            if end < len(self.parts.free) and not self.parts.free[end]:
                tried[:, ::2, end] = chosen[:, ::2, end]  # phi and omega of a body's first residue
            moved = self._moved((rotation, origin), tried, first, end)
            rows, columns, inside = self._changed(first, end)
            placed = sites.clone()
            placed[:, rows] = self.energy.sites(moved[0][:, rows], moved[1][:, rows], rows)
            new = self.energy.pairs(placed, rows, columns)
            change = difference(new, table[:, rows][:, :, columns], inside)
            change += self.bias(moved[1]) - self.bias(origin)
            taken = np.log(np.maximum(chance, 1e-300)) < -change
            rotation[taken], origin[taken] = moved[0][taken], moved[1][taken]
            torsions[taken], sites[taken] = tried[taken], placed[taken]
            for frame in np.flatnonzero(taken):
                table[frame][_block(rows, columns)] = new[frame]
                table[frame][_block(columns, rows)] = new[frame].T
        return self._placed(rotation, origin, backbone)

    def _changed(self, first: int, end: int) -> tuple[Residues, Residues, tuple[slice, slice]]:
        """Residues whose pairs change by a move of residues [first, end) and those beyond.

        Those that move, and the others. The window is in both; its places in them come last.
        """
        beyond = self.parts.downstream[end - 1].copy()
        rest = ~beyond
        beyond[first:end] = rest[first:end] = True
        starts = (int(part[:first].sum()) for part in (beyond, rest))
        inside = tuple(slice(start, start + end - first) for start in starts)
        return _consecutive(beyond), _consecutive(rest), inside

    def _best_start(self, frames: np.ndarray, backbone: np.ndarray) -> tuple[np.ndarray, Frames]:
        """Torsions [F, 3, L] and frames of the best of a few pool members for each frame."""
        best = None
        for attempt in range(STARTS):
            torsions = self.pool[(frames + 7 * attempt) % len(self.pool)]
            tried = (torsions, *self._start(backbone, torsions))
            tried = (*tried, self.energy(*tried[1:]) + self.bias(tried[2]))
            if best is None:
                best = tried
            better = tried[3] < best[3]
            for kept, new in zip(best, tried, strict=True):
                kept[better] = new[better]
        return best[0], best[1:3]

    def _moved(self, now: Frames, torsions: np.ndarray, first: int, end: int) -> Frames:
        """Frames after new torsions [F, 3, L] of the residues [first, end)."""
        bonded, (rotation, origin) = self.parts.bonded, (now[0].copy(), now[1].copy())
        start = first if bonded[first] else first + 1  # the start of a chain stays
        stop = end + 1 if end < len(bonded) and bonded[end] else end
        _append(rotation, origin, torsions, start, stop)
        beyond = self.parts.downstream[end - 1]
        if beyond.any():
            turn = _orthonormal(rotation[:, end] @ now[0][:, end].swapaxes(-1, -2))
            part = now[0][:, beyond], now[1][:, beyond]
            part = _carried(part, turn, now[1][:, end], origin[:, end])
            rotation[:, beyond], origin[:, beyond] = part
        return rotation, origin

    def _start(self, backbone: np.ndarray, torsions: np.ndarray) -> Frames:
        """Frames with the bodies of backbones and the torsions of pool members."""
        parts = self.parts
        known = parts.body >= 0
        rotation = np.broadcast_to(np.eye(3), (*backbone.shape[:2], 3, 3)).copy()
        origin = np.zeros((*backbone.shape[:2], 3))
        rotation[:, known] = residue_axes(backbone[:, known].astype(float))
        origin[:, known] = backbone[:, known, 1]
        placed, left = {0}, list(parts.segments)
        for number, one in enumerate(left):
            if one.before < 0 and one.after < 0:  # a whole chain: far from all others
                origin[:, one.first, 0] = APART * (number + 1)
        while left:
            one = next((s for s in left if {s.before, s.after} & placed), left[0])
            left.remove(one)
            self._grow(one, rotation, origin, torsions, one.before in placed or one.after < 0)
            placed |= {one.before, one.after} - {-1}
        return rotation, origin

    def _grow(
        self,
        one: Segment,
        rotation: np.ndarray,
        origin: np.ndarray,
        torsions: np.ndarray,
        forward: bool,
    ) -> None:
        """Build a segment in place. The body that it leads to moves along.

        Not `forward`: the body after it stays, and the segment and the body before it move.
        """
        stop = one.end + (one.after >= 0)
        ends = rotation[:, stop - 1].copy(), origin[:, stop - 1].copy()
        old = rotation.copy(), origin.copy()
        start = one.first if self.parts.bonded[one.first] else one.first + 1
        _append(rotation, origin, torsions, start, stop)
        if one.after < 0:
            return
        built = rotation[:, stop - 1].copy(), origin[:, stop - 1].copy()
        if forward:
            which, (start, goal) = self.parts.body == one.after, (ends, built)
        else:
            which, (start, goal) = np.arange(len(self.parts.body)) == stop - 1, (built, ends)
            which[one.first : one.end] = True
            which |= (self.parts.body == one.before) & (one.before >= 0)
            old = rotation, origin
        turn = goal[0] @ start[0].swapaxes(-1, -2)
        new = _carried(old, turn, start[1], goal[1])
        rotation[:, which], origin[:, which] = new[0][:, which], new[1][:, which]

    def _placed(self, rotation: np.ndarray, origin: np.ndarray, backbone: np.ndarray) -> Frames:
        """Frames moved so that body 0 is where it was."""
        held = np.flatnonzero(self.parts.body == 0)
        if len(held):
            row = held[0]
            goal = residue_axes(backbone[:, row].astype(float)), backbone[:, row, 1]
            turn = goal[0] @ rotation[:, row].swapaxes(-1, -2)
            rotation, origin = _carried((rotation, origin), turn, origin[:, row], goal[1])
        return rotation, origin


def difference(new: torch.Tensor, old: torch.Tensor, inside: tuple[slice, slice]) -> np.ndarray:
    """Change [F] of the energy of pairs [F, rows, columns]; pairs `inside` appear twice."""
    change = new - old
    rows, columns = inside
    twice = change[:, rows, columns].sum((1, 2)) / 2
    return (change.sum((1, 2)) - twice).double().numpy()


def _consecutive(chosen: np.ndarray) -> Residues:
    """Numbers of chosen residues, bool [L]; a slice, which copies nothing, where that is enough."""
    residues = np.flatnonzero(chosen)
    first, end = residues[0], residues[-1] + 1
    return slice(first, end) if len(residues) == end - first else residues


def _block(rows: Residues, columns: Residues) -> tuple:
    """Index of the pairs of rows and columns."""
    if isinstance(rows, slice) or isinstance(columns, slice):
        return rows, columns
    return rows[:, None], columns


def _uniforms(seed: int, frame: int, steps: int, attempt: int) -> np.ndarray:
    """Random numbers [steps, 2] of a frame."""
    stream = np.random.Philox(key=[seed, frame], counter=[0, attempt, 4, 0])
    return np.random.Generator(stream).random((steps, 2))


def _append(
    rotation: np.ndarray, origin: np.ndarray, torsions: np.ndarray, start: int, stop: int
) -> None:
    """Build residues [start, stop) onto the one before them, in place; torsions [F, 3, L]."""
    psi = torsions[:, 1, start - 1 : stop - 1]
    turn, shift = links(psi, torsions[:, 2, start:stop], torsions[:, 0, start:stop])
    for number, row in enumerate(range(start, stop)):
        before = rotation[:, row - 1], origin[:, row - 1]
        link = turn[:, number], shift[:, number]
        rotation[:, row], origin[:, row] = _composed(before, link)


def _orthonormal(rotation: np.ndarray) -> np.ndarray:
    """Rotations [F, 3, 3] without the rounding errors that grow from move to move."""
    return axes(rotation[..., 0], rotation[..., 1])


def _composed(frame: Frames, link: Frames) -> Frames:
    """Frames [F] beyond `frame` by `link`, which is relative to it."""
    step = (frame[0] @ link[1][..., None])[..., 0]
    return frame[0] @ link[0], frame[1] + step


def _carried(frames: Frames, turn: np.ndarray, centre: np.ndarray, goal: np.ndarray) -> Frames:
    """Turn frames [F, L] by rotations [F, 3, 3] about centres [F, 3], which move to goals."""
    back = turn.swapaxes(-1, -2)
    origin = ((frames[1] - centre[:, None]) @ back) + goal[:, None]
    axes = frames[0].swapaxes(-1, -2)  # as rows: one product for all residues of a frame
    turned = (axes.reshape(len(turn), -1, 3) @ back).reshape(axes.shape)
    return turned.swapaxes(-1, -2), origin
