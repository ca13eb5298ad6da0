"""Protein chains of MDTraj topologies, also where the file format has no chains."""

from __future__ import annotations

import logging
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import require
from .atoms import CAPS, CAPS_BEFORE, FIRST_ATOMS, LAST_ATOMS, residue_letter
from .box import box_of, nearest_image
from .mdtraj_topology import with_topology
from .structure import PEPTIDE_BOND, chain_names

if TYPE_CHECKING:
    import mdtraj
    from mdtraj.core.topology import Chain, Residue

logger = logging.getLogger(__name__)

OPEN_GAP = 0.3  # nm; a longer C-N over a jump of the residue numbers is no bond
FAR_APART = 0.5  # nm; a longer C-N is never a bond
CA_NEIGHBOURS = 0.45  # nm; used where C or N are absent
_BACKBONE = {"N", "CA", "C"}
_NAMED = 10  # residues that a message names


class _Joint(NamedTuple):
    """Two protein residues that follow each other in one chain."""

    before: Residue
    after: Residue
    bonded: bool  # in the topology
    length: float  # nm; the smallest C-N (or CA-CA) of all frames; NaN if unknown
    close: bool


def protein_chains(topology: mdtraj.Topology) -> list[tuple[str, list[Residue]]]:
    """Id and protein residues of each chain with protein."""
    found = [(_name(chain), _protein(chain)) for chain in topology.chains]
    # A single residue is a ligand, not a chain, unless the topology has no other protein.
    return [part for part in found if len(part[1]) > 1] or [part for part in found if part[1]]


def warn_of_lone_residues(topology: mdtraj.Topology, source: object) -> None:
    """Log the amino acids that `protein_chains` leaves out, because each is alone in its chain."""
    chains = [(_name(chain), _protein(chain)) for chain in topology.chains]
    lone = [(name, part[0]) for name, part in chains if len(part) == 1]
    if lone and len(lone) < sum(bool(part) for _, part in chains):
        logger.warning("%s: bonded to no chain and left out: %s", source, _labels(lone))


def warn_of_incomplete(topology: mdtraj.Topology, source: object) -> None:
    """Log the amino acids without N, CA or C; residues that have a CA alone are CA traces."""
    lacking = []
    for residue in topology.residues:
        names = {atom.name for atom in residue.atoms}
        if residue_letter(residue.name) != "X" and names != {"CA"} and not names >= _BACKBONE:
            lacking.append((_name(residue.chain), residue))
    if lacking:
        logger.warning("%s: N, CA or C is missing in %s", source, _labels(lacking))


def _labels(residues: list[tuple[str, Residue]]) -> str:
    """Names of residues of chains, the first few."""
    labels = [f"{r.name} {r.resSeq}" + f" of chain {name}" * bool(name) for name, r in residues]
    return ", ".join(labels[:_NAMED]) + (", ..." if len(labels) > _NAMED else "")


def is_protein_residue(residue: Residue) -> bool:
    """Whether a residue is an amino acid, standard or not."""
    names = {atom.name for atom in residue.atoms}
    if residue_letter(residue.name) != "X":
        return "CA" in names
    return names >= _BACKBONE


def divided(trajectory: mdtraj.Trajectory) -> mdtraj.Trajectory:
    """The trajectory with one chain per protein; the same object if nothing has to change.

    AMBER topologies have no chains, GROMACS files neither, and PSF files have segments. MDTraj
    reads their proteins as one chain and may bond them end to end. Here a chain ends between two
    residues that are too far apart for a peptide bond in all frames, and between which one of the
    following is true:

    - the first has OXT, or the second the hydrogens of a chain start, or a cap lies between them;
      in chains with a name only if the residue numbers do not jump, because a jump is a gap;
    - the segment changes, or the residue numbers restart;
    - the chain has no name, and the topology bonds its other residues but not these.

    Peptide bonds of the topology that are no bonds in space are removed.
    """
    if getattr(trajectory, "topology", None) is None or not trajectory.n_frames:
        return trajectory
    starts: set[int] = set()
    unbonded: set[frozenset[int]] = set()
    joints = _joints(trajectory)
    with_bonds = {joint.after.chain.index for joint in joints if joint.bonded}
    for joint in joints:
        before, after, bonded, length, close = joint
        if close:
            continue
        jump = after.resSeq - before.resSeq > 1
        named = bool(_name(after.chain))
        between = [after.chain.topology.residue(i) for i in range(before.index + 1, after.index)]
        patched = not named and not jump and not bonded and after.chain.index in with_bonds
        cut = (
            (_ends_between(before, after, between) and not (named and jump))
            or before.segment_id != after.segment_id
            or after.resSeq < before.resSeq
            or patched
        )
        if cut:
            leading = [r for r in between if r.name in CAPS_BEFORE]
            starts.add(leading[-1].index if leading else after.index)
        open_joint = length >= (OPEN_GAP if jump or not named else FAR_APART)
        if bonded and (cut or open_joint):
            unbonded.add(frozenset((_atom(before, "C"), _atom(after, "N"))))
    if not starts and not unbonded:
        return trajectory
    return with_topology(trajectory, _rebuilt(trajectory.topology, starts, unbonded))


def copied(topology: mdtraj.Topology) -> mdtraj.Topology:
    """A copy that keeps the insertion codes."""
    made = topology.copy()
    for old, new in zip(topology.residues, made.residues, strict=True):
        new.insertion_code = getattr(old, "insertion_code", "")
    return made


def without_bonds(topology: mdtraj.Topology, unbonded: set[frozenset[int]]) -> mdtraj.Topology:
    """A copy without the bonds between these pairs of atoms."""
    return _rebuilt(topology, set(), unbonded)


def _name(chain: Chain) -> str:
    return (getattr(chain, "chain_id", None) or "").strip()


def _protein(chain: Chain) -> list[Residue]:
    return [r for r in chain.residues if is_protein_residue(r)]


def _atom(residue: Residue, name: str) -> int:
    """Index of an atom; -1 if absent."""
    return next((atom.index for atom in residue.atoms if atom.name == name), -1)


def _joints(trajectory: mdtraj.Trajectory) -> list[_Joint]:
    pairs = [p for chain in trajectory.topology.chains for p in pairwise(_protein(chain))]
    if not pairs:
        return []
    peptide = np.array([(_atom(a, "C"), _atom(b, "N")) for a, b in pairs])
    alpha = np.array([(_atom(a, "CA"), _atom(b, "CA")) for a, b in pairs])
    whole = (peptide >= 0).all(1)
    ends = np.where(whole[:, None], peptide, alpha)
    vectors = trajectory.xyz[:, ends[:, 1]] - trajectory.xyz[:, ends[:, 0]]
    length = np.linalg.norm(nearest_image(vectors, box_of(trajectory)), axis=-1)
    length = np.where(np.isfinite(length), length, np.inf).min(0)
    length = np.where((ends >= 0).all(1) & np.isfinite(length), length, np.nan)
    with np.errstate(invalid="ignore"):
        close = length < np.where(whole, PEPTIDE_BOND, CA_NEIGHBOURS)
    bonds = {frozenset((a.index, b.index)) for a, b in trajectory.topology.bonds}
    return [
        _Joint(a, b, frozenset(p) in bonds, float(d), bool(c))
        for (a, b), p, d, c in zip(pairs, peptide.tolist(), length, close, strict=True)
    ]


def _ends_between(before: Residue, after: Residue, between: list[Residue]) -> bool:
    """Whether names of atoms or residues say that a chain ends between two residues."""
    last = {atom.name for atom in before.atoms} & LAST_ATOMS
    first = {atom.name for atom in after.atoms} & FIRST_ATOMS
    named = _terminal_name(before.name, "C") or _terminal_name(after.name, "N")
    return bool(last or first or named or any(r.name in CAPS for r in between))


def _terminal_name(name: str, end: str) -> bool:
    """Whether a residue has AMBER's name of a terminal residue: NALA, CHIE."""
    name = name.strip().upper()
    return len(name) == 4 and name[0] == end and residue_letter(name[1:]) != "X"


def _rebuilt(
    topology: mdtraj.Topology, starts: set[int], unbonded: set[frozenset[int]]
) -> mdtraj.Topology:
    """Copy with a new chain at each residue of `starts`, without the bonds `unbonded`."""
    made = require("mdtraj").Topology()
    names, atoms = [], {}
    for chain in topology.chains:
        target = None
        for residue in chain.residues:
            if target is None or residue.index in starts:
                target = made.add_chain(getattr(chain, "chain_id", None))
                names.append(_name(chain))
            new = made.add_residue(residue.name, target, residue.resSeq, residue.segment_id)
            new.insertion_code = getattr(residue, "insertion_code", "")
            for atom in residue.atoms:
                atoms[atom] = made.add_atom(atom.name, atom.element, new, serial=atom.serial)
                if hasattr(atom, "formal_charge"):
                    atoms[atom].formal_charge = atom.formal_charge
    if starts:
        for chain, name in zip(made.chains, chain_names(names), strict=True):
            chain.chain_id = name
    for bond in topology.bonds:
        if frozenset((bond[0].index, bond[1].index)) not in unbonded:
            made.add_bond(atoms[bond[0]], atoms[bond[1]], type=bond.type, order=bond.order)
    return made
