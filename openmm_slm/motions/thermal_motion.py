"""Random displacements of a structure, of the size of its thermal motion (NumPy, nm)."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh

from ..protein.elastic_network import PackedNetwork
from .springs import Springs, unconnected

_TYPICAL = 0.15  # nm, mean RMSF that the springs predict for a typical chain
_RIGID = 1e-6  # variance of rigid motions, as a share of the mean variance
#: Softest modes along which the first displacements go.
MODES = 5
_LARGEST = 0.5  # nm, root mean square displacement of structures with loose parts


class ThermalMotion:
    """Thermal motion of the residues of a structure, and displacements of this size.

    A displacement has a normal distribution with the covariance of the learned springs. Where parts
    touch nowhere, these springs do not hold them together, and the covariance is that of springs by
    distance alone (`PackedNetwork`).

    With `soft`, a displacement is the response to random forces: C f, scaled to the root mean
    square of thermal motion. Soft modes have more weight in it (1 / k instead of 1 / sqrt(k) for a
    mode of stiffness k). The first ten displacements go both ways along the five softest modes, one
    at a time, so that a few frames show all of them. C is the mean of the covariances of learned
    springs and of springs by distance, of the same mean square: its softest modes predict which
    residues differ between conformers better than those of the learned springs do. Springs that
    were tuned to simulations of the protein have more weight (`Springs.learned_share`).

    Parameters
    ----------
    backbone : ndarray [L, 4, 3]
        N, CA, C, O; nm, finite.
    sequence : str
        L letters.
    index : ndarray, int [L]
        Residue index: steps of 1 between bonded residues.
    springs : Springs
    soft : bool
    """

    def __init__(
        self,
        backbone: np.ndarray,
        sequence: str,
        index: np.ndarray,
        springs: Springs,
        soft: bool = False,
    ) -> None:
        ca = np.asarray(backbone[:, 1], np.float64)
        size = 3 * len(ca)
        if unconnected(ca).any():
            packed = PackedNetwork(ca, index)
            square = (_TYPICAL * packed.softness) ** 2
            covariance = packed.covariance * (square * len(ca) / np.trace(packed.covariance))
        else:
            covariance = springs.covariance(backbone, sequence, index).reshape(size, size)
            if soft:
                packed = PackedNetwork(ca, index)
                covariance = _mean(covariance, packed.covariance, springs.learned_share)
        covariance = covariance * springs.near**2
        mean_square = np.trace(covariance) / len(ca)
        covariance *= min(1, _LARGEST**2 / mean_square)
        self._square = np.diag(covariance).reshape(-1, 3).sum(1)
        self._along = np.empty((0, size))
        if soft:
            self._of_noise = covariance * np.sqrt(np.trace(covariance) / (covariance**2).sum())
            self._along = np.sqrt(np.trace(covariance)) * _softest(covariance)
        else:  # rigid motions have no variance: the covariance is singular
            little = _RIGID * np.trace(covariance) / size
            self._of_noise = np.linalg.cholesky(covariance + little * np.eye(size))

    def displacement(
        self, rng: np.random.Generator, amplitude: float, number: int | None = None
    ) -> np.ndarray:
        """One displacement [L, 3] (nm), `amplitude` times as large as thermal motion.

        With `soft`, those with a `number` of 0 to 9 go along single modes; others are random.
        """
        if number is not None and number < len(self._along):
            return amplitude * self._along[number].reshape(-1, 3)
        noise = rng.standard_normal(len(self._of_noise))
        return amplitude * (self._of_noise @ noise).reshape(-1, 3)

    def mean_square(self) -> np.ndarray:
        """Mean square displacement [L] of thermal motion, nm^2."""
        return self._square


def _softest(covariance: np.ndarray) -> np.ndarray:
    """Unit vectors [10, 3 L] along the softest modes: m1, -m1, m2, -m2, ..."""
    size = len(covariance)
    vectors = eigh(covariance, subset_by_index=[size - MODES, size - 1])[1].T[::-1]
    # The sign of an eigenvector is arbitrary; the cubes of coordinates tell its two ends apart.
    vectors = vectors * np.where((vectors**3).sum(1, keepdims=True) < 0, -1, 1)
    return np.stack([vectors, -vectors], 1).reshape(2 * MODES, size)


def _mean(learned: np.ndarray, packed: np.ndarray, share: float) -> np.ndarray:
    """Mean of two covariances [3 L, 3 L] of the size of the first, which has the weight `share`."""
    same = np.trace(learned) / np.trace(packed)
    return share * learned + (1 - share) * same * packed
