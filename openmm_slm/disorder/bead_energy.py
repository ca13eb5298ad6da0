"""Interactions of a chain of beads: one at CA and one at the side chain of each residue.

In units of kT. Beads exclude volume; side chains attract each other by their hydropathy and
interact by their charges through a screened Coulomb potential. Torsions come from elsewhere (the
language model), so that these interactions only decide how compact a chain is.

The hydropathy scale was measured on elastin-like peptides (Urry et al., Biopolymers 1992), in the
normalisation of Regy et al. (Protein Science 2021).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from ..protein.sequence import UNRELATED

_HYDROPATHY = {
    "A": 0.603, "R": 0.559, "N": 0.588, "D": 0.294, "C": 0.647, "Q": 0.559, "E": 0.0,
    "G": 0.574, "H": 0.765, "I": 0.706, "L": 0.721, "K": 0.382, "M": 0.676, "F": 0.824,
    "P": 0.759, "S": 0.588, "T": 0.588, "W": 1.0, "Y": 0.897, "V": 0.665, "X": 0.6,
}  # fmt: skip
#: nm from CA to the centre of the side-chain bead, in the direction of CB.
_SIDE_CHAIN = {
    "G": 0.0, "A": 0.16, "S": 0.19, "C": 0.21, "T": 0.21, "V": 0.21, "P": 0.2, "D": 0.25,
    "N": 0.25, "I": 0.24, "L": 0.26, "E": 0.3, "Q": 0.3, "M": 0.3, "H": 0.3, "F": 0.32,
    "K": 0.34, "Y": 0.35, "W": 0.35, "R": 0.37, "X": 0.25,
}  # fmt: skip
_CHARGE = {"D": -1.0, "E": -1.0, "K": 1.0, "R": 1.0}
_TO_CB = np.array([-0.0529, -0.0777, -0.1206]) / np.linalg.norm([-0.0529, -0.0777, -0.1206])

_CA_APART, _BEADS_APART = 0.40, 0.36  # nm
_OVERLAP = 1000.0  # kT/nm^2 of an overlapping pair: 0.05 nm cost 2.5 kT
_REACH, _WIDTH = 0.75, 0.08  # nm: distance at which the attraction is half, and its decay
_BJERRUM, _CLOSEST = 0.71, 0.3  # nm: water at 298 K; charges do not come closer
IONIC_STRENGTH = 0.15  # mol/l


@dataclass(frozen=True)
class Compactness:
    """Fitted numbers of the interactions.

    Attributes
    ----------
    attraction : float
        Energy (kT) of a contact of two side chains per unit of hydropathy.
    neutral : float
        Hydropathy at which there is no attraction; below it, side chains repel each other.
    """

    attraction: float = 0.25
    neutral: float = 0.0


class BeadEnergy:
    """Energy of frames of one protein.

    Parameters
    ----------
    sequence : str
        L letters, all chains.
    index : ndarray, int [L]
        Residue index; residues of different chains are far apart in it.
    body : ndarray, int [L]
        Residues of the same rigid body have the same number, and their pairs no energy; -1: none.
    compactness : Compactness
    """

    def __init__(
        self,
        sequence: str,
        index: np.ndarray,
        body: np.ndarray,
        compactness: Compactness = Compactness(),
    ) -> None:
        self.reach = np.array([_SIDE_CHAIN[letter] for letter in sequence])
        hydropathy = np.array([_HYDROPATHY[letter] for letter in sequence])
        charge = np.array([_CHARGE.get(letter, 0.0) for letter in sequence])
        apart = np.minimum(np.abs(index[:, None] - index), UNRELATED)
        free = ~((body[:, None] == body) & (body[:, None] >= 0))
        mixed = (hydropathy[:, None] + hydropathy) / 2 - compactness.neutral
        charges = charge[:, None] * charge * _BJERRUM

        pairs = np.stack([
            apart > 2,
            apart > 1,
            -compactness.attraction * mixed * (apart > 2),
            charges * (apart > 2),
        ])  # fmt: skip
        self._pairs = torch.as_tensor(pairs * free, dtype=torch.float32)
        self._screening = 0.304 / math.sqrt(IONIC_STRENGTH)  # nm, Debye length at 298 K

    def __call__(self, rotation: np.ndarray, origin: np.ndarray) -> np.ndarray:
        """Energy [F] (kT) of frames: rotations [F, L, 3, 3] and origins [F, L, 3] (nm)."""
        everything = np.arange(origin.shape[1])
        return self.between(rotation, origin, everything, everything, len(everything))

    def between(
        self,
        rotation: np.ndarray,
        origin: np.ndarray,
        rows: np.ndarray,
        columns: np.ndarray,
        both: int,
    ) -> np.ndarray:
        """Energy [F] (kT) of pairs of residues `rows` and `columns`.

        The last `both` residues of `rows` are the last ones of `columns`; their pairs count once.
        """
        beads = origin + (rotation @ _TO_CB) * self.reach[:, None]
        sites = torch.as_tensor(np.stack([origin, beads], 2), dtype=torch.float32)
        first, second = sites[:, rows].flatten(1, 2), sites[:, columns].flatten(1, 2)
        exact = "donot_use_mm_for_euclid_dist"
        apart = torch.cdist(first, second, compute_mode=exact)
        apart = apart.view(len(sites), len(rows), 2, len(columns), 2)
        distant, not_next, attraction, charges = self._weights(rows, columns, both)

        def overlap(a: int, b: int, allowed: float) -> torch.Tensor:
            return (allowed - apart[:, :, a, :, b]).clamp_(min=0).square_()

        total = _OVERLAP * (overlap(0, 0, _CA_APART) * distant)
        for a, b in ((0, 1), (1, 0), (1, 1)):
            total += _OVERLAP * (overlap(a, b, _BEADS_APART) * not_next)
        between = apart[:, :, 1, :, 1]
        screened = torch.exp(between / -self._screening).div_(between.clamp(min=_CLOSEST))
        total += screened.mul_(charges)
        total += torch.sigmoid((_REACH - between) / _WIDTH).mul_(attraction)
        return total.sum((1, 2)).double().numpy()

    def _weights(self, rows: np.ndarray, columns: np.ndarray, both: int) -> torch.Tensor:
        """Weights [4, rows, columns] of the pairs."""
        weights = self._pairs[:, rows][:, :, columns]
        weights[:, len(rows) - both :, len(columns) - both :] *= 0.5
        return weights
