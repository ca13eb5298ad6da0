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

from ..protein.chain_building import residue_axes
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
_TIP = 0.15  # nm from the centre of a side chain to its end: longer ones have a site there
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

    attraction: float
    neutral: float


FITTED = Compactness(0.284, 0.134)


class BeadEnergy:
    """Energy of frames of one protein.

    Sites are CA and a side-chain bead of each residue, and the ends of long side chains that are
    part of a rigid body.

    Parameters
    ----------
    sequence : str
        L letters, all chains.
    index : ndarray, int [L]
        Residue index; residues of different chains are far apart in it.
    body : ndarray, int [L]
        Residues of the same rigid body have the same number, and their pairs no energy; -1: none.
    compactness : Compactness
    atom14 : ndarray [L, 14, 3], optional
        Atoms of the rigid bodies (nm, NaN where absent), which give the places of their side
        chains. Default: all residues have beads in the direction of CB.
    """

    def __init__(
        self,
        sequence: str,
        index: np.ndarray,
        body: np.ndarray,
        compactness: Compactness = FITTED,
        atom14: np.ndarray | None = None,
    ) -> None:
        self._length = length = len(sequence)
        beads = np.array([_SIDE_CHAIN[letter] for letter in sequence])[:, None] * _TO_CB
        tips, ends = _of_bodies(atom14, body, beads)
        self._owner = np.concatenate([np.arange(length), np.arange(length), ends])
        self._local = np.concatenate([np.zeros((length, 3)), beads, tips])
        hydropathy = np.array([_HYDROPATHY[letter] for letter in sequence])
        charge = np.array([_CHARGE.get(letter, 0.0) for letter in sequence])
        apart = np.minimum(np.abs(index[:, None] - index), UNRELATED)
        free = ~((body[:, None] == body) & (body[:, None] >= 0))
        mixed = (hydropathy[:, None] + hydropathy) / 2 - compactness.neutral
        attraction = -compactness.attraction * mixed * (apart > 2) * free
        charges = charge[:, None] * charge * _BJERRUM * (apart > 2) * free
        self._pairs = torch.as_tensor(np.stack([attraction, charges]), dtype=torch.float32)
        kind = np.concatenate([np.zeros(length), np.ones(length + len(ends))])
        both_ca = kind[:, None] + kind == 0
        allowed = np.where(both_ca, _CA_APART, _BEADS_APART)
        allowed[np.ix_(kind == 0, np.arange(len(kind)) >= 2 * length)] = _CA_APART
        allowed = np.maximum(allowed, allowed.T)
        steps = apart[np.ix_(self._owner, self._owner)]
        allowed *= (steps > 1 + both_ca) & free[np.ix_(self._owner, self._owner)]
        self._allowed = torch.as_tensor(allowed, dtype=torch.float32)
        self._screening = 0.304 / math.sqrt(IONIC_STRENGTH)  # nm, Debye length at 298 K

    def __call__(self, rotation: np.ndarray, origin: np.ndarray) -> np.ndarray:
        """Energy [F] (kT) of frames: rotations [F, L, 3, 3] and origins [F, L, 3] (nm)."""
        everything = np.arange(self._length)
        each = self.pairs(rotation, origin, everything, everything)
        return each.sum((1, 2)).double().numpy() / 2

    def pairs(
        self, rotation: np.ndarray, origin: np.ndarray, rows: np.ndarray, columns: np.ndarray
    ) -> torch.Tensor:
        """Energies [F, rows, columns] (kT) of pairs of residues."""
        own, other = self._sites(rows), self._sites(columns)
        first, second = (
            torch.as_tensor(self._positions(rotation, origin, sites), dtype=torch.float32)
            for sites in (own, other)
        )
        apart = torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")
        overlap = (self._allowed[own][:, other] - apart).clamp_(min=0).square_().mul_(_OVERLAP)
        total = self._of_residues(self._of_residues(overlap, own, rows, 1), other, columns, 2)
        n, m = len(rows), len(columns)
        beads = apart[:, n : 2 * n, m : 2 * m]
        attraction, charges = self._pairs[:, rows][:, :, columns]
        screened = torch.exp(beads / -self._screening).div_(beads.clamp(min=_CLOSEST))
        near = torch.sigmoid((_REACH - beads) / _WIDTH).mul_(attraction)
        return total.add_(screened.mul_(charges)).add_(near)

    def _of_residues(
        self, sites: torch.Tensor, which: np.ndarray, residues: np.ndarray, axis: int
    ) -> torch.Tensor:
        """Sum values of sites `which` (from `_sites`) over those of each residue, along an axis."""
        n = len(residues)
        total = sites.narrow(axis, 0, n) + sites.narrow(axis, n, n)
        if len(which) > 2 * n:
            place = np.empty(self._length, int)
            place[residues] = np.arange(n)
            ends = torch.as_tensor(place[self._owner[which[2 * n :]]])
            total.index_add_(axis, ends, sites.narrow(axis, 2 * n, len(ends)))
        return total

    def _sites(self, residues: np.ndarray) -> np.ndarray:
        """Sites of residues: their CA, their beads, and the ends of their side chains."""
        ends = np.flatnonzero(np.isin(self._owner[2 * self._length :], residues))
        return np.concatenate([residues, self._length + residues, 2 * self._length + ends])

    def _positions(self, rotation: np.ndarray, origin: np.ndarray, sites: np.ndarray) -> np.ndarray:
        owner = self._owner[sites]
        turned = np.einsum("flij,lj->fli", rotation[:, owner], self._local[sites])
        return origin[:, owner] + turned


def _of_bodies(
    atom14: np.ndarray | None, body: np.ndarray, beads: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Set the beads of rigid bodies to the centres of their side chains, in place.

    Returns the ends of side chains that reach far from their bead, in the frames of the residues
    [E, 3], and these residues [E].
    """
    tips, ends = [], []
    rows = [] if atom14 is None else np.flatnonzero(body >= 0)
    for row in rows:
        side = atom14[row, 4:][np.isfinite(atom14[row, 4:]).all(-1)]
        if not len(side):
            continue
        local = (side - atom14[row, 1]) @ residue_axes(atom14[row])
        beads[row] = local.mean(0)
        away = np.linalg.norm(local - beads[row], axis=-1)
        tip = np.linalg.norm(local, axis=-1).argmax()
        if away[tip] > _TIP:
            tips.append(local[tip])
            ends.append(row)
    return np.reshape(tips, (-1, 3)), np.array(ends, int)
