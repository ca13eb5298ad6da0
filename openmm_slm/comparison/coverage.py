"""Coverage of target conformations and diversity: TM-score, RMSD and residue flexibility.

At most 100 frames of each ensemble are used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..analysis.tmscore import tm_matrix, tm_self
from ..protein.superposition import best_rotations, rmsd_matrix

AT_MOST = 100


@dataclass(frozen=True, eq=False)
class Coverage:
    """Scores of a set of frames.

    Attributes
    ----------
    tm_ens, rmsd_ens : float
        Best TM-score and smallest RMSD (nm) to each target conformation, averaged over targets.
    tm_div : float
        Mean TM-score of pairs of frames.
    flexibility : ndarray [L]
        Distance (nm) of each residue between superposed frames, root mean square over pairs.
    best_rmsd : ndarray [T]
        Smallest RMSD (nm) to each target.
    """

    tm_ens: float
    rmsd_ens: float
    tm_div: float
    flexibility: np.ndarray
    best_rmsd: np.ndarray


@dataclass(frozen=True, eq=False)
class Scored:
    """All pair scores in a pool of S frames, from which the `Coverage` of subsets follows."""

    tm: np.ndarray
    rmsd: np.ndarray
    tm_pairs: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, ca: np.ndarray, targets: np.ndarray) -> Scored:
        """Score CA [S, L, 3] against targets [T, L, 3] (nm)."""
        return cls(tm_matrix(ca, targets), rmsd_matrix(ca, targets), tm_self(ca), spread(ca))

    def coverage(self, rows: np.ndarray, weights: np.ndarray, targets: np.ndarray) -> Coverage:
        """Coverage by the frames `rows`, with pair weights w_i w_j and weights of the targets."""
        targets = targets / targets.sum()
        used = rows[weights > 0]
        pair = np.triu(np.outer(weights, weights), 1)
        pair = pair / pair.sum() if pair.any() else np.full_like(pair, np.nan)
        square = np.einsum("jk,jkr->r", pair, self.squares[np.ix_(rows, rows)])
        best = self.rmsd[used].min(0)
        return Coverage(
            float(self.tm[used].max(0) @ targets),
            float(best @ targets),
            float((pair * self.tm_pairs[np.ix_(rows, rows)]).sum()),
            np.sqrt(np.maximum(square, 0)),
            best,
        )


def spread(ca: np.ndarray) -> np.ndarray:
    """Squared residue distances [F, F, L] (nm^2) after superposing each pair; float32."""
    x = ca.astype(np.float64) - ca.astype(np.float64).mean(1, keepdims=True)
    out = np.zeros((len(x), len(x), x.shape[1]), np.float32)
    for j in range(len(x) - 1):
        rotation = best_rotations(np.swapaxes(x[j + 1 :], 1, 2) @ x[j])
        apart = x[j + 1 :] @ np.swapaxes(rotation, 1, 2) - x[j]
        out[j, j + 1 :] = out[j + 1 :, j] = (apart**2).sum(-1)
    return out


def residue_flexibility(ca: np.ndarray) -> np.ndarray:
    """Flexibility [L] (nm) of CA [F, L, 3]: root mean square residue distance over pairs of frames.

    The frames of each pair are superposed. For two conformations it is the distance of each
    residue.
    """
    i, j = np.triu_indices(len(ca), 1)
    return np.sqrt(spread(ca)[i, j].mean(0, dtype=np.float64))


def evenly(frames: int, at_most: int = AT_MOST) -> np.ndarray:
    """Rows of at most `at_most` evenly spaced frames."""
    return np.unique(np.linspace(0, frames - 1, min(frames, at_most)).round().astype(int))
