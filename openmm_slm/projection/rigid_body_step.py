"""Push overlapping residues apart as rigid bodies: one step of the projection (NumPy).

Coordinates x are float32 [3, 3, L, F]: atom (N, CA, C), axis, row of the residue, frame. Frames
come last so that NumPy works on contiguous memory. A *site* is an atom or a bead that is rigid with
its residue. Its position is CA + p b + q k + r (b x k) + s e with b = CA - N, k = C - CA and, for O
only, e = N of the next residue - C. The *local* coordinates of a site are p, q, r, s; NaN if the
residue lacks the site.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

_N, _CA, _C = range(3)
_BODY = np.float32(0.15)  # nm, radius of gyration of a residue; smaller values favour rotation
_BEYOND = 2.0  # over-relaxation of the mean push
_SIGN = np.array([[-1], [1]], np.float32)  # the sites of a pair move in opposite directions


@dataclass(frozen=True, eq=False)
class Contacts:
    """P pairs of sites of overlapping residues, and the B rigid bodies (residues) they belong to.

    Attributes
    ----------
    bodies : ndarray, int [3, B]
        Frame, row of the residue, and row of the next residue, of each body.
    body : ndarray, int [2, P]
        Bodies of the two sites of each pair.
    local : ndarray, float32 [4, 2, P]
        Local coordinates of the sites.
    distance : ndarray, float32 [P]
        Target distances (nm).
    sign : ndarray, float32 [P]
        1 where sites are closer than the target and pushed apart, -1 where they are farther apart
        and pulled together.
    weight : ndarray, float32 [2, P]
        Mobility of the residues.
    order, start : ndarray, int [2 P], [B]
        Order that groups the raveled `body` by body, and the start of each group.
    """

    bodies: np.ndarray
    body: np.ndarray
    local: np.ndarray
    distance: np.ndarray
    sign: np.ndarray
    weight: np.ndarray
    order: np.ndarray
    start: np.ndarray

    @classmethod
    def of(
        cls,
        frame: np.ndarray,
        residue: np.ndarray,
        local: np.ndarray,
        distance: np.ndarray,
        row: np.ndarray,
        weight: np.ndarray,
        sign: float | np.ndarray = 1.0,
    ) -> Contacts:
        """Contacts of P pairs of sites.

        Parameters
        ----------
        frame : ndarray, int [P]
        residue : ndarray, int [2, P]
        local, distance, sign
            See the attributes; one `sign` may be for all.
        row : ndarray, int [L]
            Row of each residue in the coordinates.
        weight : ndarray, float32 [L]
            Mobility of each residue.
        """
        length = len(row)
        key, body = np.unique(frame * length + residue, return_inverse=True)
        body = body.reshape(residue.shape)
        where, which = np.divmod(key, length)
        bodies = np.stack([where, row[which], row[np.minimum(which + 1, length - 1)]])
        order = np.argsort(body, axis=None, kind="stable")
        start = np.searchsorted(body.ravel()[order], np.arange(len(key)))
        sign = np.broadcast_to(np.float32(sign), distance.shape)
        return cls(bodies, body, local, distance, sign, weight[residue], order, start)

    def select(self, kept: np.ndarray) -> Contacts:
        """Contacts of the frames `kept`, bool [F]; the others must not have any."""
        bodies = self.bodies.copy()
        bodies[0] = np.cumsum(kept)[bodies[0]] - 1
        return replace(self, bodies=bodies)

    def separate(self, x: np.ndarray, strength: float = 1.0) -> None:
        """Push or pull the residues of frames [3, 3, L, F] once, as rigid bodies and in place."""
        if not len(self.distance):
            return
        frame, row, after = self.bodies
        flat = x.reshape(9, -1)
        row, after = row * x.shape[3] + frame, after * x.shape[3] + frame
        atoms = flat.take(row, 1).reshape(3, 3, -1)
        axes = _axes(*atoms, flat[:3].take(after, 1))
        centre = atoms.sum(0) / np.float32(3)
        to_ca = atoms[_CA] - centre
        arm = np.einsum("msp,mxsp->xsp", self.local, axes.take(self.body, 2))
        arm += to_ca.take(self.body, 1)
        point = centre.take(self.body, 1) + arm
        away = point[:, 1] - point[:, 0]
        length = np.sqrt(np.einsum("xp,xp->p", away, away))
        missing = np.maximum(self.sign * (self.distance - length), 0)
        if not missing.any():
            return
        away[:, length < 1e-6] = [[1e-6], [0], [0]]  # coinciding sites: any direction
        away /= np.maximum(length, np.float32(1e-6))
        # Position-based dynamics of rigid bodies: an off-centre push also rotates the body.
        twist = _cross(arm, away[:, None])
        twist /= _BODY
        ready = (self.weight * (1 + np.einsum("xsp,xsp->sp", twist, twist))).sum(0)
        # A body moves by the mean of its pushes, weighted by overlap. The sum would overshoot for
        # residues with many overlapping sites.
        share = self.weight * (missing * missing / np.maximum(ready, np.float32(1e-9)))
        share *= _SIGN * self.sign
        pushes = np.empty((7, *share.shape), np.float32)
        np.multiply(away[:, None], share, out=pushes[:3])
        np.multiply(twist, share, out=pushes[3:6])
        pushes[6] = missing
        total = np.add.reduceat(pushes.reshape(7, -1).take(self.order, 1), self.start, 1)
        move = total[:6] * (np.float32(strength * _BEYOND) / np.maximum(total[6], 1e-12))
        arm = (atoms - centre).swapaxes(0, 1) / _BODY
        atoms += _cross(move[3:, None], arm).swapaxes(0, 1) + move[:3]
        flat[:, row] = atoms.reshape(9, -1)


def place_sites(x: np.ndarray, local: np.ndarray) -> np.ndarray:
    """Positions [3, S, L, F] of the sites of x [3, 3, L, F], with rows in chain order.

    `local` is [4, S, L, F], or [4, S, L, 1] if it is the same in all frames.
    """
    after = np.concatenate([x[_N, :, 1:], x[_N, :, -1:]], 1)
    positions = np.einsum("mslf,mxlf->xslf", local, _axes(*x, after))
    positions += x[_CA][:, None]
    return positions


def _axes(n: np.ndarray, ca: np.ndarray, c: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Axes [4, 3, ...] of the local coordinates, from atoms [3, ...]."""
    axes = np.empty((4, *ca.shape), np.float32)
    np.subtract(ca, n, out=axes[0])
    np.subtract(c, ca, out=axes[1])
    axes[2] = _cross(axes[0], axes[1])
    np.subtract(after, c, out=axes[3])
    return axes


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross product of [3, ...]; faster than np.cross."""
    out = np.empty((3, *np.broadcast(a[0], b[0]).shape), np.float32)
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        np.multiply(a[u], b[v], out=out[axis])
        out[axis] -= a[v] * b[u]
    return out
