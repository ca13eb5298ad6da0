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
Residues = slice | np.ndarray  # consecutive residues, or their numbers
EVERYTHING = slice(None)
_BLOCK = 50_000  # pairs at a time: they stay in the cache of a processor core


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
        tips = _of_bodies(atom14, body, beads)
        sites = [np.zeros((length, 3)), beads] + ([tips] if np.isfinite(tips).any() else [])
        self._local = np.nan_to_num(np.stack(sites, 1))  # [L, sites, 3]
        hydropathy = np.array([_HYDROPATHY[letter] for letter in sequence])
        charge = np.array([_CHARGE.get(letter, 0.0) for letter in sequence])
        apart = np.minimum(np.abs(index[:, None] - index), UNRELATED)
        free = ~((body[:, None] == body) & (body[:, None] >= 0))
        mixed = (hydropathy[:, None] + hydropathy) / 2 - compactness.neutral
        attraction = -compactness.attraction * mixed * (apart > 2) * free
        charges = charge[:, None] * charge * _BJERRUM * (apart > 2) * free
        self._pairs = torch.as_tensor(np.stack([attraction, charges]), dtype=torch.float32)
        allowed = _closest(np.isfinite(np.stack(sites, 1)[..., 0]), apart, free)
        self._allowed = torch.as_tensor(allowed, dtype=torch.float32)  # [L, L, sites, sites]
        away = np.linalg.norm(self._local - self._local[:, 1:2], axis=-1).max(1)
        near = allowed.max((2, 3))
        near += (near > 0) * (away[:, None] + away)
        self._near = torch.as_tensor(near, dtype=torch.float32)  # of beads whose sites may overlap
        self._screening = 0.304 / math.sqrt(IONIC_STRENGTH)  # Debye length at 298 K

    def __call__(self, rotation: np.ndarray, origin: np.ndarray) -> np.ndarray:
        """Energy [F] (kT) of frames: rotations [F, L, 3, 3] and origins [F, L, 3] (nm)."""
        everything = slice(0, self._length)
        each = self.pairs(self.sites(rotation, origin), everything, everything)
        return each.sum((1, 2)).double().numpy() / 2

    def sites(
        self, rotation: np.ndarray, origin: np.ndarray, residues: Residues = EVERYTHING
    ) -> torch.Tensor:
        """Positions [F, residues, 3, sites] (nm) of the sites of residues.

        Rotations [F, residues, 3, 3] and origins [F, residues, 3] (nm) are those of these residues.
        """
        local = self._local[residues]
        out = np.empty((*origin.shape, local.shape[1]), np.float32)
        out[..., 0] = origin
        for site in range(1, local.shape[1]):
            out[..., site] = (rotation * local[:, None, site]).sum(-1) + origin
        return torch.as_tensor(out)

    def pairs(self, sites: torch.Tensor, rows: Residues, columns: Residues) -> torch.Tensor:
        """Energies [F, rows, columns] (kT) of pairs of residues; sites [F, L, 3, sites] (nm)."""
        first, second = sites[:, rows], sites[:, columns]
        near, allowed = (one[rows][:, columns] for one in (self._near, self._allowed))
        attraction, charges = self._pairs[:, rows][:, :, columns]
        total = torch.empty(len(sites), *near.shape)
        block, close = max(1, _BLOCK // near.numel()), []
        for start in range(0, len(sites), block):
            part = slice(start, start + block)
            beads = _distances(first[part, ..., 1], second[part, ..., 1])
            where = torch.nonzero(beads < near)
            where[:, 0] += start
            close.append(where)
            torch.div(_REACH - beads, _WIDTH, out=total[part]).sigmoid_().mul_(attraction)
            screened = torch.exp(beads / -self._screening).div_(beads.clamp_(min=_CLOSEST))
            total[part].addcmul_(screened, charges)
        frame, i, j = torch.cat(close).T
        away = first[frame, i, :, :, None] - second[frame, j, :, None]  # [pairs, 3, sites, sites]
        overlap = (allowed[i, j] - away.square_().sum(1).sqrt_()).clamp_(min=0)
        total[frame, i, j] += overlap.square_().sum((1, 2)).mul_(_OVERLAP)
        return total


def _distances(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Distances [F, N, M] between positions [F, N, 3] and [F, M, 3]."""
    first, second = (one.permute(2, 0, 1).contiguous() for one in (first, second))
    total = (first[0, :, :, None] - second[0, :, None]).square_()
    for axis in (1, 2):
        away = first[axis, :, :, None] - second[axis, :, None]
        total.addcmul_(away, away)
    return total.sqrt_()


def _closest(present: np.ndarray, apart: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Distances [L, L, sites, sites] (nm) under which sites overlap; 0: they never do.

    Parameters
    ----------
    present : ndarray, bool [L, sites]
    apart : ndarray, int [L, L]
        Difference of residue indices.
    free : ndarray, bool [L, L]
        The two residues are not in one rigid body.
    """
    ca = np.arange(present.shape[1]) == 0
    tip = np.arange(present.shape[1]) == 2
    both_ca = ca[:, None] & ca
    wide = both_ca | (ca[:, None] & tip) | (tip[:, None] & ca)
    allowed = np.where(wide, _CA_APART, _BEADS_APART)
    counted = (apart[..., None, None] > 1 + both_ca) & free[..., None, None]
    return allowed * (counted & present[:, None, :, None] & present[None, :, None, :])


def _of_bodies(atom14: np.ndarray | None, body: np.ndarray, beads: np.ndarray) -> np.ndarray:
    """Set the beads of rigid bodies to the centres of their side chains, in place.

    Returns the ends [L, 3] of side chains that reach far from their bead, in the frames of the
    residues; NaN for the others.
    """
    tips = np.full(beads.shape, np.nan)
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
            tips[row] = local[tip]
    return tips
