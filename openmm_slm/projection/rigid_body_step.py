"""Part residues whose atoms lie on each other: one step of the projection (NumPy).

Coordinates x are float32 [3, 3, L, F]: N, CA, C; axis; row of a residue; frame. Frames come last,
so that NumPy goes through memory in one piece. A *site* is an atom, or what stands for some, that
is rigid with a residue: CA + p b + q k + r (b x k) + s e, of b = CA - N, k = C - CA and, for O
alone, e = N of the next residue - C. Its *place* is p, q, r, s; NaN where a residue has none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

_N, _CA, _C = range(3)
_BODY = np.float32(0.15)  # nm, radius of gyration of a residue: the smaller, the more it turns
_BEYOND = 2.0  # over-relaxation of the mean push
_SIGN = np.array([[-1], [1]], np.float32)  # the first site of a pair goes back


@dataclass(frozen=True, eq=False)
class Contacts:
    """P pairs of sites of residues that overlap, and the B residues they belong to.

    Attributes
    ----------
    bodies : ndarray, int [3, B]
        Frames, rows of residues, and rows of the residues after them; each body once.
    body : ndarray, int [2, P]
        Bodies of the first and the second site of a pair.
    place : ndarray, float32 [4, 2, P]
        Of the sites.
    distance : ndarray, float32 [P]
        To which they are to be parted (nm).
    weight : ndarray, float32 [2, P]
        How readily the residues move.
    order, start : ndarray, int [2 P], [B]
        `body`, raveled, in an order in which those of a body follow each other; where each begins.
    """

    bodies: np.ndarray
    body: np.ndarray
    place: np.ndarray
    distance: np.ndarray
    weight: np.ndarray
    order: np.ndarray
    start: np.ndarray

    def among(self, kept: np.ndarray) -> Contacts:
        """The same where only some frames are left, bool [F], all with a pair among them."""
        bodies = self.bodies.copy()
        bodies[0] = np.cumsum(kept)[bodies[0]] - 1
        return replace(self, bodies=bodies)

    def part(self, x: np.ndarray, strength: float = 1.0) -> None:
        """Push the residues of frames [3, 3, L, F] apart in place, once, as rigid bodies."""
        if not len(self.distance):
            return
        frame, row, after = self.bodies
        flat = x.reshape(9, -1)
        row, after = row * x.shape[3] + frame, after * x.shape[3] + frame
        atoms = flat.take(row, 1).reshape(3, 3, -1)
        axes = _axes(*atoms, flat[:3].take(after, 1))
        centre = atoms.sum(0) / np.float32(3)
        to_ca = atoms[_CA] - centre
        arm = np.einsum("msp,mxsp->xsp", self.place, axes.take(self.body, 2))
        arm += to_ca.take(self.body, 1)
        point = centre.take(self.body, 1) + arm
        away = point[:, 1] - point[:, 0]
        length = np.sqrt(np.einsum("xp,xp->p", away, away))
        missing = np.maximum(self.distance - length, 0)
        if not missing.any():
            return
        away[:, length < 1e-6] = [[1e-6], [0], [0]]  # on top of each other: any way will do
        away /= np.maximum(length, np.float32(1e-6))
        # Position-based dynamics of rigid bodies: a push that has an arm also turns.
        twist = _cross(arm, away[:, None])
        twist /= _BODY
        ready = (self.weight * (1 + np.einsum("xsp,xsp->sp", twist, twist))).sum(0)
        # A body takes the mean of its pushes, in which the wider overlaps count more: the sum
        # would throw out residues that overlap in many sites.
        share = self.weight * (missing * missing / np.maximum(ready, np.float32(1e-9)))
        share *= _SIGN
        pushes = np.empty((7, *share.shape), np.float32)
        np.multiply(away[:, None], share, out=pushes[:3])
        np.multiply(twist, share, out=pushes[3:6])
        pushes[6] = missing
        total = np.add.reduceat(pushes.reshape(7, -1).take(self.order, 1), self.start, 1)
        move = total[:6] * (np.float32(strength * _BEYOND) / np.maximum(total[6], 1e-12))
        arm = (atoms - centre).swapaxes(0, 1) / _BODY
        atoms += _cross(move[3:, None], arm).swapaxes(0, 1) + move[:3]
        flat[:, row] = atoms.reshape(9, -1)


def place_sites(x: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Sites [3, S, L, F] of x [3, 3, L, F], rows in the order of the chain.

    `place` is [4, S, L, F], or [4, S, L, 1] where it is the same in all frames.
    """
    after = np.concatenate([x[_N, :, 1:], x[_N, :, -1:]], 1)
    sites = np.einsum("mslf,mxlf->xslf", place, _axes(*x, after))
    sites += x[_CA][:, None]
    return sites


def _axes(n: np.ndarray, ca: np.ndarray, c: np.ndarray, after: np.ndarray) -> np.ndarray:
    """What places are multiples of: [4, 3, ...] of atoms [3, ...]."""
    axes = np.empty((4, *ca.shape), np.float32)
    np.subtract(ca, n, out=axes[0])
    np.subtract(c, ca, out=axes[1])
    axes[2] = _cross(axes[0], axes[1])
    np.subtract(after, c, out=axes[3])
    return axes


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross product of [3, ...]; np.cross spends its time on axes."""
    out = np.empty((3, *np.broadcast(a[0], b[0]).shape), np.float32)
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        np.multiply(a[u], b[v], out=out[axis])
        out[axis] -= a[v] * b[u]
    return out
