"""One all-atom topology for an ensemble: bonds, termini, protonation, disulfides."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StructureError, require
from ..protein.atoms import ATOM14
from ..protein.disulfides import Pairs, parse_disulfides
from ..protein.sequence import THREE_LETTER
from ..protein.structure import ProteinStructure
from .hydrogens import PlacedAtoms
from .protonation import add_hydrogens, variant_name, wanted_variants, wrong_histidines

if TYPE_CHECKING:
    import mdtraj
    import openmm.app

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class AllAtomTopology:
    """What all frames of an ensemble share: A atoms in OpenMM's order.

    Attributes
    ----------
    topology : mdtraj.Topology
        All bonds, and the chain ids and residue numbers of the structure. Residue names are the
        standard ones (HIS, CYS, ASP; force fields tell variants by their atoms). A break inside a
        chain starts another chain of the same id.
    positions : ndarray, float32 [A, 3]
        The reference frame (nm).
    residue : ndarray, int32 [A]
        Row of atom14.
    slot : ndarray, int32 [A]
        Slot of atom14, -1 for hydrogens and OXT.
    disulfides : tuple of (int, int)
        Bonded rows.
    variants : tuple of str
        One name a residue: HID, HIE, HIP, ASH, GLH, LYN, CYX, or the standard one.
    """

    topology: mdtraj.Topology
    positions: np.ndarray
    residue: np.ndarray
    slot: np.ndarray
    disulfides: Pairs
    variants: tuple[str, ...]


def check_ph(ph: float) -> None:
    """Raise ValueError unless `ph` is a number from 0 to 14."""
    if isinstance(ph, bool) or not isinstance(ph, Real) or not 0 <= ph <= 14:
        raise ValueError(f"ph is {ph!r}; give a number from 0 to 14")


def define_topology(
    structure: ProteinStructure,
    frame: int = 0,
    *,
    hydrogens: bool = True,
    ph: float = 7.0,
    disulfides: str | Iterable[tuple[int, int]] | None = (),
) -> AllAtomTopology:
    """Decide atoms, bonds and protonation once, from one frame of an ensemble.

    Chains end charged (NH3+, or NH2+ of proline; COO- with OXT). OpenMM's Modeller decides on
    hydrogens by `ph`, and on the tautomer of a neutral histidine by the hydrogen bonds it would
    make in this frame. A cysteine is CYX in a disulfide and carries its hydrogen otherwise; Asp,
    Glu and Lys at the end of a chain are charged at any pH, as Amber's force fields want them.
    Hydrogens then take the places of `openmm_slm.allatom.hydrogens`. The same input gives the same
    bits.

    Parameters
    ----------
    structure : ProteinStructure
        With all heavy atoms in `frame`.
    frame : int
        Reference frame.
    hydrogens : bool
        False: heavy atoms and OXT only.
    ph : float
        0 to 14.
    disulfides : "auto", "none", None or iterable of (int, int)
        See `openmm_slm.protein.disulfides.parse_disulfides`.

    Raises
    ------
    StructureError
        An atom is absent, a residue is none of the 20, or a disulfide is not between cysteines.
    ValueError
        `ph` or `frame` is out of range.
    """
    check_ph(ph)
    if not isinstance(frame, Integral) or not 0 <= frame < structure.n_frames:
        last = structure.n_frames - 1
        raise ValueError(f"frame is {frame!r}; the structure has frames 0 to {last}")
    pairs = parse_disulfides(disulfides, structure.atom14, structure.sequence)
    _check_complete(structure, frame)
    _report_breaks(structure)
    heavy = heavy_topology(structure, structure.atom_mask[frame], pairs, ends=True)
    found = _placed(heavy, structure, frame, pairs)
    if not hydrogens:
        return found
    places, variants = found.positions, wanted_variants(structure, pairs)
    for _ in range(2):
        full, rough = add_hydrogens(heavy, places, variants, float(ph))
        found = _placed(full, structure, frame, pairs, rough)
        wrong = wrong_histidines(found.topology, found.positions)
        if not wrong:
            break
        variants = [wrong.get(row, variant) for row, variant in enumerate(variants)]
    return found


def heavy_topology(
    structure: ProteinStructure, present: np.ndarray, disulfides: Pairs = (), *, ends: bool = False
) -> openmm.app.Topology:
    """OpenMM topology of the heavy atoms `present`, bool [L, 14], in atom14 order.

    Breaks end a chain. `ends` adds an OXT to the last residue of each.
    """
    app = require("openmm.app")
    topology = app.Topology()
    element = app.Element.getBySymbol
    last = np.append(structure.chain_break[1:], True)
    sulfurs = {}
    for row, letter in enumerate(structure.sequence):
        if structure.chain_break[row]:
            chain = topology.addChain(structure.chain_ids[structure.chain_index[row]])
        residue = topology.addResidue(
            THREE_LETTER[letter], chain, str(structure.residue_number[row]),
            str(structure.insertion_code[row]),
        )  # fmt: skip
        names = [name for name, here in zip(ATOM14[letter], present[row], strict=False) if here]
        for name in [*names, "OXT"] if ends and last[row] else names:
            atom = topology.addAtom(name, element(name[0]), residue)
            if name == "SG":
                sulfurs[row] = atom
    topology.createStandardBonds()
    for i, j in disulfides:
        topology.addBond(sulfurs[i], sulfurs[j])
    return topology


def _check_complete(structure: ProteinStructure, frame: int) -> None:
    mask = structure.atom_mask[frame]
    for row, letter in enumerate(structure.sequence):
        where = f"{residue_name(structure, row)} (row {row})"
        if letter not in THREE_LETTER:
            raise StructureError(
                f"{where} is none of the 20 amino acids; leave it out, or model it as one of them"
            )
        for name, here in zip(ATOM14[letter], mask[row], strict=False):
            if not here:
                raise StructureError(
                    f"frame {frame}: {where} has no {name}; complete the side chains first, or "
                    "choose a frame that has all heavy atoms"
                )


def residue_name(structure: ProteinStructure, row: int) -> str:
    """How messages name a residue: ``ALA 12 of chain A``."""
    letter = structure.sequence[row]
    number = f"{structure.residue_number[row]}{structure.insertion_code[row]}"
    chain = structure.chain_ids[structure.chain_index[row]]
    return f"{THREE_LETTER.get(letter, 'residue ' + letter)} {number} of chain {chain}"


def _report_breaks(structure: ProteinStructure) -> None:
    starts = np.flatnonzero(structure.chain_break)
    inside = [
        row for row in starts[1:] if structure.chain_index[row] == structure.chain_index[row - 1]
    ]
    if inside:
        logger.warning(
            "no bond between %s: both sides are given chain ends there",
            "; ".join(
                f"{residue_name(structure, r - 1)} and {residue_name(structure, r)}" for r in inside
            ),
        )
    lone = starts[np.diff(starts, append=structure.n_residues) == 1]
    if len(lone):
        logger.warning(
            "%s: bonded to no other residue; force fields have no amino acid that is both ends of "
            "a chain, so leave it out of a simulation",
            ", ".join(residue_name(structure, row) for row in lone),
        )


def _places(topology: mdtraj.Topology, sequence: str) -> tuple[np.ndarray, np.ndarray]:
    """Row and slot of each atom, int32 [A]; slot -1 for what atom14 does not have."""
    slots = {letter: {n: i for i, n in enumerate(names)} for letter, names in ATOM14.items()}
    places = [
        (atom.residue.index, slots[sequence[atom.residue.index]].get(atom.name, -1))
        for atom in topology.atoms
    ]
    residue, slot = np.array(places, np.int32).T
    return np.ascontiguousarray(residue), np.ascontiguousarray(slot)


def _placed(
    topology: openmm.app.Topology, structure: ProteinStructure, frame: int, pairs: Pairs,
    positions: np.ndarray | None = None,
) -> AllAtomTopology:  # fmt: skip
    """Our description of an OpenMM topology, with its atoms where the frame wants them.

    `positions` [A, 3] (nm) tell how hydroxyls are turned.
    """
    ours = require("mdtraj").Topology.from_openmm(topology)
    # MDTraj has no insertion codes: they ride on this object, as in `to_trajectory`.
    for residue, code in zip(ours.residues, structure.insertion_code.tolist(), strict=True):
        residue.insertion_code = code
    bonded = {row for pair in pairs for row in pair}
    variants = tuple(
        variant_name(residue.name, {atom.name for atom in residue.atoms}, residue.index in bonded)
        for residue in ours.residues
    )
    if positions is None:
        positions = np.zeros((ours.n_atoms, 3), np.float32)
    found = AllAtomTopology(ours, positions, *_places(ours, structure.sequence), pairs, variants)
    atom14 = structure.atom14[frame : frame + 1]
    return replace(found, positions=placed_atoms(found).place(atom14)[0])


def placed_atoms(found: AllAtomTopology) -> PlacedAtoms:
    """What places the atoms that atom14 does not have."""
    return PlacedAtoms.from_reference(found.topology, found.residue, found.slot, found.positions)
