"""MDTraj topologies of proteins, with bonds."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ..errors import require
from .atoms import (
    ATOM14,
    D_AMINO_ACIDS,
    four_letter_name,
    residue_letter,
    sidechain_bonds,
    standard_bonds,
)
from .caps import cap_atom, cap_kind
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


def mended(trajectory: mdtraj.Trajectory) -> mdtraj.Trajectory:
    """The trajectory with the bonds that MDTraj's readers miss because of unknown names.

    Residues named as protonation variants (ASH, HIP) or D amino acids (DAL) get the bonds of their
    parent, caps those under OpenMM's names of their atoms, and hydrogens with unknown names that of
    their nearest atom in the first frame. A topology without any bond stays as it is.
    """
    topology = trajectory.topology
    if topology is None or not topology.n_bonds or not trajectory.n_frames:
        return trajectory
    parents = [_parent(residue) for residue in topology.residues]
    if not (any(parents) or _lone_hydrogens(topology)):
        return trajectory
    topology = _renamed(topology, [cap_kind(residue.name) for residue in topology.residues])
    bonded = {frozenset((a.index, b.index)) for a, b in topology.bonds}
    for chain in topology.chains:
        for before, residue in pairwise([None, *chain.residues]):
            atoms = {atom.name: atom for atom in residue.atoms}
            if before is not None:
                atoms |= {f"-{atom.name}": atom for atom in before.atoms}
            for names in standard_bonds().get(parents[residue.index], ()):
                a, b = map(atoms.get, names)
                if a and b and frozenset((a.index, b.index)) not in bonded:
                    topology.add_bond(a, b)
    bond_lone_hydrogens(topology, trajectory.xyz[0])
    return with_topology(trajectory, topology)


def with_short_names(trajectory: mdtraj.Trajectory) -> mdtraj.Trajectory:
    """The trajectory with residue names of four letters, which PDB cannot hold, cut to three.

    ASPH becomes ASH, and NALA becomes ALA.
    """
    names = [residue.name for residue in trajectory.topology.residues]
    short = [four_letter_name(name) or name for name in names]
    if short == names:
        return trajectory
    return with_topology(trajectory, _renamed(trajectory.topology, short))


def with_topology(trajectory: mdtraj.Trajectory, topology: mdtraj.Topology) -> mdtraj.Trajectory:
    """The same frames, not copied, with another topology."""
    made = require("mdtraj").Trajectory(trajectory.xyz, topology, time=trajectory.time)
    if trajectory.unitcell_lengths is not None:
        made.unitcell_lengths = trajectory.unitcell_lengths
        made.unitcell_angles = trajectory.unitcell_angles
    return made


def _renamed(topology: mdtraj.Topology, names: list[str]) -> mdtraj.Topology:
    """Copy with other residue names, OpenMM's names of atoms in caps, and insertion codes."""
    out = require("mdtraj").Topology()
    for chain in topology.chains:
        new = out.add_chain(chain.chain_id)
        for old in chain.residues:
            residue = out.add_residue(names[old.index], new, old.resSeq, old.segment_id)
            residue.insertion_code = getattr(old, "insertion_code", "")
            for atom in old.atoms:
                name = cap_atom(residue.name, atom.name)
                out.add_atom(name, atom.element, residue, atom.serial, atom.formal_charge)
    for bond in topology.bonds:  # not `Topology.copy`, whose bonds have the atoms of the original
        out.add_bond(*(out.atom(atom.index) for atom in bond), bond.type, bond.order)
    return out


def _parent(residue: mdtraj.core.topology.Residue) -> str | None:
    """Residue in MDTraj's table whose bonds a residue has under other names; None for any other."""
    name = residue.name.strip().upper()
    kind = cap_kind(name)
    if kind != name or any(cap_atom(kind, atom.name) != atom.name for atom in residue.atoms):
        return kind
    if name in standard_bonds():
        return None
    return THREE_LETTER.get(D_AMINO_ACIDS.get(name) or residue_letter(name))


def _lone_hydrogens(topology: mdtraj.Topology) -> list[mdtraj.core.topology.Atom]:
    bonded = {atom.index for bond in topology.bonds for atom in (bond[0], bond[1])}
    return [
        atom
        for atom in topology.atoms
        if atom.index not in bonded and atom.element is not None and atom.element.symbol == "H"
    ]


def bond_lone_hydrogens(topology: mdtraj.Topology, positions: np.ndarray) -> None:
    """Bond each hydrogen without a bond to the nearest heavy atom of its residue, in place.

    Readers find bonds by names, and their tables lack some: H2 and H3 of an N-terminal proline.

    Parameters
    ----------
    topology : mdtraj.Topology
    positions : ndarray [A, 3]
        nm; partners are at most 0.13 nm apart.
    """
    for atom in _lone_hydrogens(topology):
        heavy = [a for a in atom.residue.atoms if a.element is None or a.element.symbol != "H"]
        away = [np.linalg.norm(positions[a.index] - positions[atom.index]) for a in heavy]
        if heavy and min(away) < X_H_LARGEST:
            topology.add_bond(heavy[int(np.argmin(away))], atom)
