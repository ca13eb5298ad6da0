"""All-atom topology of an ensemble: bonds, termini, protonation, disulfides."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StructureError, require
from ..protein.atoms import ATOM14
from ..protein.caps import CAP_ATOMS, Cap
from ..protein.disulfides import Pairs, parse_disulfides
from ..protein.sequence import THREE_LETTER
from ..protein.structure import ProteinStructure
from ..protein.unmodelled import residue_label
from .capping import bonded_caps, free_ends, rows_in_order, with_cap_rows
from .hydrogen_names import hydrogen_names
from .hydrogens import PlacedAtoms
from .protonation import PROTONATIONS, chosen_variants, tautomers, variant_name

if TYPE_CHECKING:
    import mdtraj
    import openmm.app

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class AllAtomTopology:
    """Topology shared by all frames of an ensemble, with A atoms in OpenMM's order.

    Attributes
    ----------
    topology : mdtraj.Topology
        All bonds, and the chain ids and residue numbers of the structure. Residue names are the
        standard ones (HIS, CYS, ASP); force fields recognise variants by their atoms. A break
        inside a chain starts a new chain with the same id.
    positions : ndarray, float32 [A, 3]
        Reference frame (nm).
    residue : ndarray, int32 [A]
        Row in atom14 of each atom; rows of caps follow those of residues (`capping`).
    slot : ndarray, int32 [A]
        Slot in atom14 of each atom; -1 for hydrogens and OXT.
    disulfides : tuple of (int, int)
        Rows of bonded cysteines.
    variants : tuple of str
        Variant of each residue: HID, HIE, HIP, ASH, GLH, LYN, CYX, CYM, or the standard name.
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


def check_protonation(protonation: str) -> None:
    """Raise ValueError unless `protonation` is "input" or "ph"."""
    if protonation not in PROTONATIONS:
        raise ValueError(f"protonation is {protonation!r}, expected one of input, ph")


def define_topology(
    structure: ProteinStructure,
    frame: int = 0,
    *,
    hydrogens: bool = True,
    ph: float = 7.0,
    disulfides: str | Iterable[tuple[int, int]] | None = (),
) -> AllAtomTopology:
    """Define atoms, bonds and protonation from one frame of an ensemble.

    Chain ends without a cap are charged (NH3+, or NH2+ of proline; COO- with OXT). Residues have
    the protonation that the structure states (`variants`), others that of `ph`, and the tautomer
    of a neutral histidine follows from its hydrogen bonds in this frame. A cysteine is CYX in a
    disulfide, and has its hydrogen otherwise. Asp, Glu and Lys at chain ends are charged at any
    pH, as Amber force fields require. Hydrogen positions are those of
    `openmm_slm.allatom.hydrogens`. The same input gives bitwise identical results.

    Parameters
    ----------
    structure : ProteinStructure
        Structure with all heavy atoms in `frame`.
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
        An atom is absent, a residue is not one of the 20 amino acids, or a disulfide is not
        between cysteines.
    ValueError
        `ph` or `frame` is out of range.
    """
    check_ph(ph)
    if not isinstance(frame, Integral) or not 0 <= frame < structure.n_frames:
        last = structure.n_frames - 1
        raise ValueError(f"frame is {frame!r}; give a frame from 0 to {last}")
    pairs = parse_disulfides(disulfides, structure.atom14, structure.sequence)
    _check_complete(structure, frame)
    _report_breaks(structure)
    if not hydrogens:
        return _all_atom_topology(structure, frame, pairs, None)
    variants, undecided = chosen_variants(structure, pairs, ph)
    found = _all_atom_topology(structure, frame, pairs, variants)
    if undecided:
        chosen = tautomers(found.topology, found.positions, rows_in_order(structure), undecided)
        turned = [chosen.get(row, name) for row, name in enumerate(variants)]
        if turned != variants:
            found = _all_atom_topology(structure, frame, pairs, turned)
    return found


def openmm_topology(
    structure: ProteinStructure, present: np.ndarray, disulfides: Pairs = (), *,
    ends: bool = False, variants: list[str] | None = None,
) -> openmm.app.Topology:  # fmt: skip
    """OpenMM topology of the heavy atoms `present`, bool [L, 14], in atom14 order.

    A chain break starts a new chain. `ends` adds the caps of the structure, and OXT to the last
    residue of each chain without a cap. `variants` adds the hydrogens of these variants, each
    behind its parent.
    """
    app = require("openmm.app")
    topology = app.Topology()
    element = app.Element.getBySymbol
    caps = bonded_caps(structure) if ends else []
    before = {cap.row: cap for cap in caps if cap.before}
    behind = {cap.row: cap for cap in caps if not cap.before}
    first, last = free_ends(structure)
    sulfurs = {}

    def add_atoms(residue, names: Iterable[str], variant: str | None, begins: bool) -> None:
        hydrogens = {}
        if variants is not None:
            hydrogens = hydrogen_names(residue.name, variant, begins)
        for name in names:
            parent = topology.addAtom(name, element(name[0]), residue)
            for hydrogen in hydrogens.get(name, ()):
                topology.addAtom(hydrogen, element("H"), residue)
            if name == "SG":
                sulfurs[row] = parent

    def add_cap(cap: Cap | None) -> None:
        if cap is not None:
            residue = topology.addResidue(cap.kind, chain, str(cap.number), cap.code)
            add_atoms(residue, CAP_ATOMS[cap.kind], None, False)

    for row, letter in enumerate(structure.sequence):
        if structure.chain_break[row]:
            chain = topology.addChain(structure.chain_ids[structure.chain_index[row]])
            add_cap(before.get(row))
        residue = topology.addResidue(
            THREE_LETTER[letter], chain, str(structure.residue_number[row]),
            str(structure.insertion_code[row]),
        )  # fmt: skip
        names = [name for name, here in zip(ATOM14[letter], present[row], strict=False) if here]
        names = [*names, "OXT"] if ends and last[row] else names
        add_atoms(residue, names, variants and variants[row], first[row])
        add_cap(behind.get(row))
    topology.createStandardBonds()
    for i, j in disulfides:
        topology.addBond(sulfurs[i], sulfurs[j])
    return topology


def _check_complete(structure: ProteinStructure, frame: int) -> None:
    mask = structure.atom_mask[frame]
    for row, letter in enumerate(structure.sequence):
        where = f"{residue_label(structure, row)} (row {row})"
        if letter not in THREE_LETTER:
            raise StructureError(
                f"{where} is not one of the 20 amino acids; remove it, or replace it by one of them"
            )
        for name, here in zip(ATOM14[letter], mask[row], strict=False):
            if not here:
                raise StructureError(
                    f"frame {frame}: {where} has no {name}; complete the side chains first, or "
                    "choose a frame with all heavy atoms"
                )


def _report_breaks(structure: ProteinStructure) -> None:
    starts = np.flatnonzero(structure.chain_break)
    inside = [
        row for row in starts[1:] if structure.chain_index[row] == structure.chain_index[row - 1]
    ]
    if inside:
        logger.warning(
            "no bond between %s: both residues become chain ends",
            "; ".join(
                f"{residue_label(structure, r - 1)} and {residue_label(structure, r)}"
                for r in inside
            ),
        )
    lone = starts[np.diff(starts, append=structure.n_residues) == 1]
    if len(lone):
        logger.warning(
            "%s: bonded to no other residue; force fields have no template for a chain of one "
            "residue, so remove it before a simulation",
            ", ".join(residue_label(structure, row) for row in lone),
        )


def _places(
    topology: mdtraj.Topology, structure: ProteinStructure
) -> tuple[np.ndarray, np.ndarray]:
    """Row and slot in atom14 of each atom, int32 [A]; slot -1 for atoms not in atom14."""
    names = [ATOM14[letter] for letter in structure.sequence]
    names += [CAP_ATOMS[cap.kind] for cap in bonded_caps(structure)]
    slots = [{name: i for i, name in enumerate(known)} for known in names]
    places = [
        (row, slots[row].get(atom.name, -1))
        for residue, row in zip(topology.residues, rows_in_order(structure), strict=True)
        for atom in residue.atoms
    ]
    residue, slot = np.array(places, np.int32).T
    return np.ascontiguousarray(residue), np.ascontiguousarray(slot)


def _all_atom_topology(
    structure: ProteinStructure, frame: int, pairs: Pairs, wanted: list[str] | None
) -> AllAtomTopology:
    """Topology with the hydrogens of the variants `wanted`, if given, and its atoms in `frame`."""
    topology = openmm_topology(
        structure, structure.atom_mask[frame], pairs, ends=True, variants=wanted
    )
    converted = require("mdtraj").Topology.from_openmm(topology)
    caps, length = bonded_caps(structure), structure.n_residues
    codes = [*structure.insertion_code.tolist(), *(cap.code for cap in caps)]
    bonded = {row for pair in pairs for row in pair}
    variants = []
    for residue, row in zip(converted.residues, rows_in_order(structure), strict=True):
        # MDTraj has no insertion codes: store them on its residues, as `to_trajectory` does.
        residue.insertion_code = codes[row]
        if row < length:
            names = {atom.name for atom in residue.atoms}
            variants.append(variant_name(residue.name, names, row in bonded))
    positions = np.zeros((converted.n_atoms, 3), np.float32)
    found = AllAtomTopology(
        converted, positions, *_places(converted, structure), pairs, tuple(variants)
    )
    one = structure.frames(slice(frame, frame + 1))
    atom14 = with_cap_rows(one.atom14, bonded_caps(one))
    return replace(found, positions=placed_atoms(found).place(atom14)[0])


def placed_atoms(found: AllAtomTopology) -> PlacedAtoms:
    """Recipe that places the atoms of a topology from atom14."""
    return PlacedAtoms.of(found.topology, found.residue, found.slot)
