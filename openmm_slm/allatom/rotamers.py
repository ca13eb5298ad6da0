"""Side-chain torsions: definitions, measurement, and differences between side chains.

Coordinates are atom14, [..., L, 14, 3] in nm with NaN for absent atoms; angles are in radians.
"""

from __future__ import annotations

import numpy as np

from ..protein.atoms import ATOM14
from ..protein.geometry import dihedral
from ..protein.sequence import AMINO_ACIDS

_CHAINS = {
    "R": "N CA CB CG CD NE CZ", "N": "N CA CB CG OD1", "D": "N CA CB CG OD1", "C": "N CA CB SG",
    "Q": "N CA CB CG CD OE1", "E": "N CA CB CG CD OE1", "H": "N CA CB CG ND1",
    "I": "N CA CB CG1 CD1", "L": "N CA CB CG CD1", "K": "N CA CB CG CD CE NZ",
    "M": "N CA CB CG SD CE", "F": "N CA CB CG CD1", "P": "N CA CB CG CD", "S": "N CA CB OG",
    "T": "N CA CB OG1", "W": "N CA CB CG CD1", "Y": "N CA CB CG CD1", "V": "N CA CB CG1",
    "A": "", "G": "",
}  # fmt: skip
_SWAPS = {
    "D": (("OD1", "OD2"),), "E": (("OE1", "OE2"),), "R": (("NH1", "NH2"),),
    "F": (("CD1", "CD2"), ("CE1", "CE2")), "Y": (("CD1", "CD2"), ("CE1", "CE2")),
}  # fmt: skip

#: Atoms of chi1, chi2, ... of each amino acid by one-letter code (IUPAC-IUB, 1970).
CHI_ATOMS: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    letter: tuple(zip(*(names.split()[i:] for i in range(4)), strict=False))
    for letter, names in _CHAINS.items()
}

#: atom14 slots of the atoms of chi1..chi4, int [21, 4, 4]; -1 if the residue lacks the torsion.
#: Rows follow `AMINO_ACIDS`; row 20 is any other residue.
chi_slots = np.full((21, 4, 4), -1)
#: Period of each torsion, float [21, 4]: pi for chi2 of Asp, Phe, Tyr and chi3 of Glu, whose
#: terminal atoms are equivalent, else 2 pi (also for torsions that the residue lacks).
chi_period = np.full((21, 4), 2 * np.pi)
#: Slot of the equivalent atom of each atom, int [21, 14]; its own slot if it has none.
swap_slots = np.tile(np.arange(14), (21, 1))
#: True if the residue has a heavy atom in this slot, bool [21, 14]; False throughout for row 20.
has_atom = np.zeros((21, 14), bool)

for _row, _letter in enumerate(AMINO_ACIDS):
    _slot = {name: slot for slot, name in enumerate(ATOM14[_letter])}
    has_atom[_row, : len(_slot)] = True
    for _number, _names in enumerate(CHI_ATOMS[_letter]):
        chi_slots[_row, _number] = [_slot[name] for name in _names]
    for _one, _other in _SWAPS.get(_letter, ()):
        swap_slots[_row, [_slot[_one], _slot[_other]]] = _slot[_other], _slot[_one]
for _letter, _number in (("D", 1), ("F", 1), ("Y", 1), ("E", 2)):
    chi_period[AMINO_ACIDS.index(_letter), _number] = np.pi


def chi_torsions(atom14: np.ndarray, amino_acids: np.ndarray) -> np.ndarray:
    """chi1..chi4 of each residue; NaN if the residue lacks the torsion or an atom is absent.

    Parameters
    ----------
    atom14 : ndarray [..., L, 14, 3]
    amino_acids : ndarray, int [L] or [..., L]
        Index in `AMINO_ACIDS`, 20 for any other residue.

    Returns
    -------
    ndarray [..., L, 4]
        In (-pi, pi], with the IUPAC sign.
    """
    atom14 = np.asarray(atom14)
    slots = _rows(chi_slots, amino_acids, atom14)
    flat = slots.reshape(*slots.shape[:-2], 16, 1)
    atoms = np.take_along_axis(atom14, np.maximum(flat, 0), axis=-2)
    atoms = atoms.reshape(*slots.shape, 3)
    chi = dihedral(*(atoms[..., i, :] for i in range(4)))
    return np.where(slots[..., 0] < 0, np.nan, chi)


def chi_difference(a: np.ndarray, b: np.ndarray, amino_acids: np.ndarray) -> np.ndarray:
    """Absolute difference of torsions [..., L, 4], at most half of their period; NaN propagates."""
    difference = np.asarray(a) - np.asarray(b)
    period = chi_period[np.asarray(amino_acids)]
    return np.abs(difference - period * np.round(difference / period))


def sidechain_rmsd(
    predicted: np.ndarray, true: np.ndarray, amino_acids: np.ndarray, include_cb: bool = False
) -> np.ndarray:
    """RMSD of the side-chain heavy atoms of each residue, without superposition.

    Both structures must have the same backbone. The value is the minimum over exchanging equivalent
    atoms: OD1 and OD2 of Asp, OE1 and OE2 of Glu, NH1 and NH2 of Arg, and the two sides of the
    rings of Phe and Tyr.

    Parameters
    ----------
    predicted, true : ndarray [..., L, 14, 3]
    amino_acids : ndarray, int [L] or [..., L]
    include_cb : bool
        Include CB. It follows from the backbone, so values are smaller, and Ala has a value. The
        benchmark of PIPPack (Randolph & Kuhlman, 2024) includes CB.

    Returns
    -------
    ndarray [..., L]
        nm; NaN if a side-chain atom is absent in either structure, and for residues without atoms
        to compare (Gly; Ala unless `include_cb`; residues other than the 20).
    """
    predicted, true = np.asarray(predicted), np.asarray(true)
    compared = _rows(has_atom, amino_acids, predicted) & (np.arange(14) >= 5 - include_cb)
    swap = _rows(swap_slots, amino_acids, predicted)
    swapped = np.take_along_axis(predicted, swap[..., None], axis=-2)
    count = compared.sum(-1)
    square = np.minimum(
        *(np.where(compared, ((x - true) ** 2).sum(-1), 0.0).sum(-1) for x in (predicted, swapped))
    )
    return np.sqrt(np.where(count > 0, square, np.nan) / np.maximum(count, 1))


def _rows(table: np.ndarray, amino_acids: np.ndarray, atom14: np.ndarray) -> np.ndarray:
    """Table row [..., L, *] of the amino acid of each residue of `atom14`."""
    return table[np.broadcast_to(np.asarray(amino_acids), atom14.shape[:-2])]
