"""Random displacements with a given covariance (NumPy)."""

from __future__ import annotations

import numpy as np


class ThermalMotion:
    """Thermal motion of CA about a structure, as `openmm_slm.flexibility` predicts it.

    Parameters
    ----------
    covariance : ndarray [L, 3, L, 3]
        nm^2, at 300 K.
    """

    def __init__(self, covariance: np.ndarray) -> None:
        size = 3 * len(covariance)
        value, vector = np.linalg.eigh(covariance.reshape(size, size))
        self._modes = vector * np.sqrt(np.maximum(value, 0))
        self._square = np.einsum("iaia->i", covariance)

    def displacement(self, rng: np.random.Generator, amplitude: float) -> np.ndarray:
        """One random displacement [L, 3] (nm); `amplitude` is a multiple of that at 300 K."""
        normal = rng.standard_normal(self._modes.shape[1])
        return amplitude * (self._modes @ normal).reshape(-1, 3)

    def mean_square(self) -> np.ndarray:
        """Mean square displacement [L] at 300 K, nm^2."""
        return self._square
