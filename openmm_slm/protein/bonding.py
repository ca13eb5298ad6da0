"""Covalent bonds of a protein, from its sequence; distances are never used.

Atoms are numbered 15 * residue + slot. Slots 0 to 13 are those of `ATOM14`, slot 14 is OXT.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..errors import StructureError
from .atoms import ATOM14, sidechain_bonds

SLOTS = 15


OXT = 14


_BACKBONE = (("N", "CA"), ("CA", "C"), ("C", "O"))


_RINGS = {
    "F": ("CG CD1 CE1 CZ CE2 CD2",),
    "Y": ("CG CD1 CE1 CZ CE2 CD2",),
    "W": ("CG CD1 NE1 CE2 CD2", "CD2 CE2 CZ2 CH2 CZ3 CE3"),
    "H": ("CG ND1 CE1 NE2 CD2",),
    "P": ("N CA CB CG CD",),
}


@dataclass(frozen=True, eq=False)
class Bonding:
    """Covalent bonds of a protein of L residues.

    Attributes
    ----------
    bonds : ndarray, int64 [B, 2]
        Atom numbers; the atoms may be absent from a frame.
    excluded : ndarray, int64 [K]
        Pairs of atoms one or two bonds apart, encoded as 15 * L * first + second with first <
        second; ascending.
    rings : ndarray, int64 [R, 6]
        Atoms in ring order; five-membered rings repeat the last atom.
    """

    bonds: np.ndarray
    excluded: np.ndarray
    rings: np.ndarray


def bonding(
    sequence: str, chain_break: np.ndarray, disulfides: Iterable[tuple[int, int]] = ()
) -> Bonding:
    """Bonds within residues, peptide bonds, bonds to OXT, and disulfide bonds.

    Parameters
    ----------
    sequence : str
        L letters, chains concatenated.
    chain_break : ndarray, bool [L]
        True where residue i is not bonded to residue i - 1.
    disulfides : iterable of (int, int)
        Bonded cysteines, as residue rows from 0.

    Raises
    ------
    StructureError
        The sequence has an unknown letter.
    """
    bonds, rings, sulfur = [], [], ATOM14["C"].index("SG")
    for i, letter in enumerate(sequence):
        if letter not in ATOM14:
            raise StructureError(f"the sequence has {letter!r} at {i + 1}; use the 20 letters or X")
        number = {name: SLOTS * i + slot for slot, name in enumerate(ATOM14[letter])}
        bonds += [(number[a], number[b]) for a, b in (*_BACKBONE, *sidechain_bonds(letter))]
        bonds.append((number["C"], SLOTS * i + OXT))
        if i and not chain_break[i]:
            bonds.append((SLOTS * (i - 1) + 2, number["N"]))
        for names in _RINGS.get(letter, ()):
            ring = [number[name] for name in names.split()]
            rings.append(ring + ring[-1:] * (6 - len(ring)))
    bonds += [(SLOTS * i + sulfur, SLOTS * j + sulfur) for i, j in disulfides]
    bonds = np.sort(np.array(bonds, np.int64), 1)
    return Bonding(
        bonds, _two_bonds_apart(bonds, SLOTS * len(sequence)), np.array(rings, int).reshape(-1, 6)
    )


def _two_bonds_apart(bonds: np.ndarray, atoms: int) -> np.ndarray:
    """`Bonding.excluded` of bonds [B, 2]."""
    partners: dict[int, list[int]] = {}
    for a, b in bonds.tolist():
        partners.setdefault(a, []).append(b)
        partners.setdefault(b, []).append(a)
    pairs = [pair for around in partners.values() for pair in combinations(sorted(around), 2)]
    pairs = np.concatenate([bonds, np.array(pairs, np.int64).reshape(-1, 2)])
    return np.unique(pairs[:, 0] * atoms + pairs[:, 1])
