"""Distances at which the packer's side chains overlap with atoms, and atoms beside the protein."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..protein.keep_selection import is_metal
from ..protein.obstacles import Obstacles
from ..validity.criteria import PACKING_RADII

_POLAR = 0.275  # nm; some hydrogen bonds are shorter, but in valid frames none is below 0.25
_METAL_CARBON = 0.28  # nm; carbon does not bind metals
_LARGE = 0.18  # nm; radius of other elements: P, halogens


@dataclass(frozen=True, eq=False)
class PackingObstacles:
    """K atoms beside the protein in F frames.

    Attributes
    ----------
    xyz : Tensor [F, K, 3]
        nm.
    contact : Tensor [4, K]
        Distance (nm) below which they overlap with an element of `PACKING_RADII`; 0: never.
    """

    xyz: torch.Tensor
    contact: torch.Tensor

    @classmethod
    def of(
        cls, obstacles: Obstacles | None, centre: np.ndarray, device: torch.device
    ) -> PackingObstacles | None:
        """Obstacles relative to the centre [F, 1, 1, 3] of each frame; None if there are none."""
        if obstacles is None or not obstacles.elements:
            return None
        xyz = torch.as_tensor(obstacles.xyz - centre[:, 0], device=device)
        return cls(xyz, contacts(obstacles.elements).to(device))


def contacts(others: tuple[str, ...]) -> torch.Tensor:
    """Contact distance (nm) of each element of `PACKING_RADII` with others, [4, K].

    N, O and S bind metals, with which they never overlap.
    """
    radii = torch.tensor(list(PACKING_RADII.values()))
    theirs = torch.tensor([PACKING_RADII.get(symbol, _LARGE) for symbol in others])
    table = radii.unsqueeze(1) + theirs.unsqueeze(0) - 0.04
    polar = torch.tensor([name in "NO" for name in PACKING_RADII])
    table[polar.unsqueeze(1) & torch.tensor([name in ("N", "O") for name in others])] = _POLAR
    metal = torch.tensor([is_metal(symbol) for symbol in others])
    table[:, metal] = 0.0
    table[list(PACKING_RADII).index("C"), metal] = _METAL_CARBON
    return table
