"""A path between two conformers: distances change in proportion, and the network follows them.

Elastic network interpolation (Kim, Jernigan and Chirikjian, Biophys. J. 83, 1620, 2002): at the
progress t, the rest length of each spring is (1 - t) times its length in the first conformer plus t
times that in the second. The positions minimise the energy of the springs. Starting from the first
conformer, t grows in small steps, and the network is linearised again at each.
"""

from __future__ import annotations

import numpy as np

from .elastic_network import packed_stiffness, spring_hessian
from .geometry import distance_matrix
from .superposition import superposed

STEPS = 24  # of progress; between them the path is straight
_ITERATIONS = 3  # Gauss-Newton iterations for each step
_FLOOR = 1e-3  # stiffness that holds each CA where it is during an iteration


class ElasticPath:
    """CA positions between two conformers of the same residues.

    A spring is as stiff as in the conformer where the pair is farther apart (`packed_stiffness`),
    so that contacts of one conformer alone do not hold the other together.

    Parameters
    ----------
    first, last : ndarray [L, 3]
        CA, nm. `last` is superposed on `first`.
    index : ndarray, int [L], optional
        See `packed_stiffness`.
    """

    def __init__(
        self, first: np.ndarray, last: np.ndarray, index: np.ndarray | None = None
    ) -> None:
        first = np.asarray(first, np.float64)
        last = superposed(last, first)
        stiffness = np.minimum(packed_stiffness(first, index), packed_stiffness(last, index))
        np.fill_diagonal(stiffness, 0.0)
        lengths = [distance_matrix(x) for x in (first, last)]
        x, points = first, [first]
        for t in np.arange(1, STEPS + 1) / STEPS:
            x = _relaxed(x, stiffness, (1 - t) * lengths[0] + t * lengths[1])
            points.append(superposed(x, (1 - t) * first + t * last))
            x = points[-1]
        # The second conformer has no tension, so the path ends there but for the last iterations.
        share = np.linspace(0, 1, STEPS + 1)[:, None, None]
        self._points = np.stack(points) + share * (last - points[-1])

    def at(self, progress: float) -> np.ndarray:
        """CA [L, 3] at a progress from 0 (first conformer) to 1 (last)."""
        place = np.clip(progress, 0, 1) * STEPS
        k = min(int(place), STEPS - 1)
        return self._points[k] + (place - k) * (self._points[k + 1] - self._points[k])


def _relaxed(x: np.ndarray, stiffness: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Positions [L, 3] near `x` where springs of rest `lengths` [L, L] have least energy."""
    for _ in range(_ITERATIONS):
        apart = x[:, None] - x[None]
        distance = np.linalg.norm(apart, axis=-1) + np.eye(len(x))
        pull = (stiffness * (distance - lengths) / distance)[..., None] * apart
        hessian = spring_hessian(x, stiffness) + _FLOOR * np.eye(3 * len(x))
        x = x - np.linalg.solve(hessian, pull.sum(1).ravel()).reshape(-1, 3)
    return x
