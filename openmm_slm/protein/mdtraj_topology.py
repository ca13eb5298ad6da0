"""MDTraj topologies of proteins, with bonds."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ..errors import require
from .atoms import ATOM14, sidechain_bonds
from .sequence import THREE_LETTER

if TYPE_CHECKING:
    import mdtraj

X_H_LARGEST = 0.13  # nm; S-H has 0.134 and is in the tables


@lru_cache(maxsize=8)
def protein_topology(
    sequence: str,
    chain_index: tuple[int, ...],
    chain_ids: tuple[str, ...],
    numbers: tuple[int, ...],
    broken: tuple[bool, ...],
    kept: tuple[tuple[bool, ...], ...],
) -> mdtraj.Topology:
    """Topology of the atoms `kept`; side-chain bonds are those of MDTraj's residue table."""
    md = require("mdtraj")
    topology = md.Topology()
    chain, number = None, None
    last: dict[str, mdtraj.Atom] = {}
    for i, letter in enumerate(sequence):
        here: dict[str, mdtraj.Atom] = {}
        if not any(kept[i]):  # MDTraj and PDB files cannot hold a residue without atoms
            last = here
            continue
        if chain_index[i] != number:
            number = chain_index[i]
            chain = topology.add_chain(chain_ids[number])
        residue = topology.add_residue(THREE_LETTER.get(letter, "UNK"), chain, numbers[i])
        for name, wanted in zip(ATOM14[letter], kept[i], strict=False):
            if wanted:
                element = md.element.Element.getBySymbol(name[0])
                here[name] = topology.add_atom(name, element, residue)
        for a, b in (("N", "CA"), ("CA", "C"), ("C", "O"), *sidechain_bonds(letter)):
            if a in here and b in here:
                topology.add_bond(here[a], here[b])
        if not broken[i] and "C" in last and "N" in here:
            topology.add_bond(last["C"], here["N"])
        last = here
    return topology


def bond_lone_hydrogens(topology: mdtraj.Topology, positions: np.ndarray) -> None:
    """Bond each hydrogen without a bond to the nearest heavy atom of its residue, in place.

    Readers find bonds by names, and their tables lack some: H2 and H3 of an N-terminal proline.

    Parameters
    ----------
    topology : mdtraj.Topology
    positions : ndarray [A, 3]
        nm; partners are at most 0.13 nm apart.
    """
    bonded = {atom.index for bond in topology.bonds for atom in (bond[0], bond[1])}
    for atom in topology.atoms:
        if atom.index in bonded or atom.element is None or atom.element.symbol != "H":
            continue
        heavy = [a for a in atom.residue.atoms if a.element is None or a.element.symbol != "H"]
        away = [np.linalg.norm(positions[a.index] - positions[atom.index]) for a in heavy]
        if heavy and min(away) < X_H_LARGEST:
            topology.add_bond(heavy[int(np.argmin(away))], atom)
