"""A wish for the radius of gyration, as an energy (NumPy, nm)."""

from __future__ import annotations

import numpy as np

from ..errors import StructureError

_TOLERANCE = 0.03  # standard deviation of the sizes that the wish alone would give, of the wish
_STEP = 0.3  # nm of the length of a stretched chain for each residue
_GLOBULE = 0.22, 0.38  # nm: the size of folded proteins of N residues is 0.22 N^0.38
_SMALLEST = 0.9  # of that of a folded protein


class WishedSize:
    """Energy (kT) of the difference from a wished radius of gyration of the CA atoms (nm)."""

    def __init__(self, rg: float) -> None:
        self.rg = rg

    def __call__(self, origin: np.ndarray) -> np.ndarray:
        """Energy [F] of CA [F, L, 3]."""
        off = (radius_of_gyration(origin) - self.rg) / (_TOLERANCE * self.rg)
        return off**2 / 2


def radius_of_gyration(ca: np.ndarray) -> np.ndarray:
    """Radius of gyration [...] of CA [..., L, 3], all of the same mass."""
    away = ca - ca.mean(-2, keepdims=True)
    return np.sqrt((away**2).sum(-1).mean(-1))


def possible_sizes(length: int) -> tuple[float, float]:
    """Smallest and largest radius of gyration (nm) of a chain of `length` residues.

    A little below that of a folded protein, and that of a stretched chain.
    """
    scale, exponent = _GLOBULE
    largest = _STEP * np.sqrt((length**2 - 1) / 12)
    return min(_SMALLEST * scale * length**exponent, largest), largest


def check_rg(rg: float, length: int) -> None:
    """Raise StructureError for a radius of gyration that no chain of `length` residues has."""
    low, high = possible_sizes(length)
    if not low <= rg <= high:
        raise StructureError(
            f"rg is {rg:g} nm, but a chain of {length} residues has {low:.2f} (as compact as a "
            f"folded protein) to {high:.2f} nm (stretched); give a value between them"
        )
