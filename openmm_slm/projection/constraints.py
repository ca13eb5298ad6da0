"""Distance constraints of residues and planar peptide bonds (NumPy).

Four distances fix a planar peptide: C-N, CA-N and C-CA for its angles, and CA-CA for omega. Three
more fix each residue. In the coordinates [3, 3, L, F] (`rigid_body_step`) even residues come first,
then odd ones. Peptides of one parity share no residue and are contiguous in memory, so they are
processed together.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..protein.geometry import CA_C, N_CA, N_CA_C_ANGLE

_C_N = 0.1329  # nm; this and the angles are from Engh and Huber (2001); cis angles are wider
_ANGLES = {False: np.radians([116.6, 121.7]), True: np.radians([120.0, 127.0])}  # at C, at N


def _peptide(cis: bool) -> tuple[float, float, float]:
    """CA-N, C-CA and CA-CA distances of a planar peptide; C is at the origin, N on the x axis."""
    at_c, at_n = _ANGLES[cis]
    before = CA_C * np.array([np.cos(at_c), np.sin(at_c)])
    side = 1 if cis else -1
    after = np.array([_C_N, 0]) - N_CA * np.array([np.cos(at_n), -side * np.sin(at_n)])
    nitrogen = np.array([_C_N, 0])
    return tuple(float(np.linalg.norm(v)) for v in (before - nitrogen, after, after - before))


_TRANS, _CIS = np.float32(_peptide(False)), np.float32(_peptide(True))
_N_C = np.sqrt(N_CA**2 + CA_C**2 - 2 * N_CA * CA_C * np.cos(N_CA_C_ANGLE))
_N, _CA, _C = range(3)
# Two views of points [3, K, F], their ideal distances, and the shares of the correction that the
# first and the second points take.
Constraint = tuple[np.ndarray, np.ndarray, object, object, object]


class Peptides:
    """Distance constraints for frames of one protein.

    Parameters
    ----------
    chain_break : ndarray, bool [L]
        True where residue i is not bonded to residue i - 1.
    weight : ndarray [L]
        Mobility of each residue; 0 fixes it.
    cis : ndarray, bool [F, L]
        Whether the peptide bond before a residue is cis.
    """

    def __init__(self, chain_break: np.ndarray, weight: np.ndarray, cis: np.ndarray) -> None:
        length = len(weight)
        self.order = np.r_[0:length:2, 1:length:2]
        #: int [L], row of each residue in the coordinates.
        self.row = np.argsort(self.order)
        self._cis = cis.T if cis.any() else None
        movable = weight > 0
        self._movable = self._shares(movable[self.order], movable[self.order])
        bonded = ~np.asarray(chain_break, bool)
        self._joints = []
        for parity in (0, 1):
            second = np.arange(parity + 1, length, 2)
            shares = self._shares(
                weight[second - 1] * bonded[second], weight[second] * bonded[second]
            )
            self._joints.append((second, shares))

    @staticmethod
    def _shares(first: np.ndarray, second: np.ndarray) -> tuple:
        """Shares of the correction: numbers if equal for all pairs, else [K, 1]; 0 if fixed."""
        each = np.unique([first, second])
        if len(each) == 1 and each[0] > 0:
            return np.float32(0.5), np.float32(0.5)
        both = first + second
        return tuple(
            (w / np.where(both > 0, both, 1)).astype(np.float32)[:, None] for w in (first, second)
        )

    def coordinates(self, x: np.ndarray) -> np.ndarray:
        """Coordinates [3, 3, L, F] of frames [F, L, 3, 3]."""
        return np.ascontiguousarray(x[:, self.order].transpose(2, 3, 1, 0))

    def frames(self, x: np.ndarray) -> np.ndarray:
        """Frames [F, L, 3, 3] of coordinates."""
        return x[:, :, self.row].transpose(3, 2, 0, 1)

    def joints(self, x: np.ndarray, frames: np.ndarray) -> list[Constraint]:
        """Four constraints per peptide, as views of x; `frames` are the numbers of its frames."""
        half, constraints = (x.shape[2] + 1) // 2, []
        even, odd = x[:, :, :half], x[:, :, half:]
        for (second, shares), before, after in zip(
            self._joints, (even, odd), (odd, even[:, :, 1:]), strict=True
        ):
            if not len(second):
                continue
            span = _TRANS
            if self._cis is not None:
                cis = self._cis[np.ix_(second, frames)]
                span = [np.where(cis, *both) for both in zip(_CIS, _TRANS, strict=True)]
            before = before[:, :, : len(second)]
            constraints += [
                (before[_C], after[_N], np.float32(_C_N), *shares),
                (before[_CA], after[_N], span[0], *shares),
                (before[_C], after[_CA], span[1], *shares),
                (before[_CA], after[_CA], span[2], *shares),
            ]
        return constraints

    def shapes(self, x: np.ndarray) -> list[Constraint]:
        """Three constraints per residue, as views of x."""
        spans = (_N, _C, _N_C), (_N, _CA, N_CA), (_CA, _C, CA_C)
        return [(x[a], x[b], np.float32(span), *self._movable) for a, b, span in spans]


def satisfy(constraints: Iterable[Constraint]) -> None:
    """Move pairs of points to their ideal distances in place, one constraint after the other."""
    for a, b, distance, share_a, share_b in constraints:
        delta, excess = _excess(a, b, distance)
        move = delta * (excess * share_a)
        a += move
        b -= move if share_a is share_b else delta * (excess * share_b)


def largest_error(constraints: Iterable[Constraint]) -> np.ndarray:
    """Largest error [F] of a distance (nm) that may change; approximate for large errors."""
    errors = []
    for a, b, distance, share_a, share_b in constraints:
        _, excess = _excess(a, b, distance)
        excess *= distance * (share_a + share_b)
        errors.append(np.abs(excess, out=excess).max(0, initial=0))
    return np.max(errors, 0, initial=0)


def _excess(a: np.ndarray, b: np.ndarray, distance) -> tuple[np.ndarray, np.ndarray]:
    """b - a [3, K, F], and the share [K, F] of it that is in excess of `distance`."""
    delta = b - a
    square = delta * delta
    length = square[0]
    length += square[1]
    length += square[2]
    length += np.float32(1e-18)  # points may coincide
    np.sqrt(length, out=length)
    np.divide(distance, length, out=length)
    return delta, np.subtract(1, length, out=length)
