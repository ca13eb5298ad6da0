"""Proteins as arrays: what networks and reports read of a Trajectory or a file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StructureError, require
from .sequence import CHAIN_GAP, ONE_LETTER, THREE_LETTER

if TYPE_CHECKING:
    import mdtraj

_ATOMS = {
    "A": "CB", "R": "CB CG CD NE CZ NH1 NH2", "N": "CB CG OD1 ND2", "D": "CB CG OD1 OD2",
    "C": "CB SG", "Q": "CB CG CD OE1 NE2", "E": "CB CG CD OE1 OE2", "G": "",
    "H": "CB CG ND1 CD2 CE1 NE2", "I": "CB CG1 CG2 CD1", "L": "CB CG CD1 CD2",
    "K": "CB CG CD CE NZ", "M": "CB CG SD CE", "F": "CB CG CD1 CD2 CE1 CE2 CZ", "P": "CB CG CD",
    "S": "CB OG", "T": "CB OG1 CG2", "W": "CB CG CD1 CD2 NE1 CE2 CE3 CZ2 CZ3 CH2",
    "Y": "CB CG CD1 CD2 CE1 CE2 CZ OH", "V": "CB CG1 CG2", "X": "CB",
}  # fmt: skip
#: Heavy atoms of each residue in atom14 order, by one-letter code.
ATOM14: dict[str, tuple[str, ...]] = {
    letter: ("N", "CA", "C", "O", *names.split()) for letter, names in _ATOMS.items()
}
UNBONDED_GAP = 33  # residue index step over a break of unknown length
PEPTIDE_BOND = 0.2  # nm; a C-N distance from here on is a chain break

# Names of force fields and archives for residues that are one of the 20.
_ALIASES = {
    "MSE": "M", "HID": "H", "HIE": "H", "HIP": "H", "HSD": "H", "HSE": "H", "HSP": "H",
    "CYX": "C", "CYM": "C", "ASH": "D", "GLH": "E", "LYN": "K",
    "HISA": "H", "HISB": "H", "HISD": "H", "HISE": "H", "HISH": "H", "CYS2": "C", "ASPH": "D",
    "GLUH": "E", "LYSH": "K",
}  # fmt: skip
# CD is the CD1 of Ile in CHARMM and GROMACS; in other residues no CD1 slot competes for it.
_ATOM_ALIASES = {"SE": "SD", "CD": "CD1", "OT1": "O", "O1": "O", "OC1": "O"}
_CHAIN_NAMES = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def residue_letter(name: str) -> str:
    """One-letter code of a residue name; ``X`` if it is none of the 20."""
    name = name.strip().upper()
    if len(name) == 4 and name[0] in "NC" and name not in _ALIASES:
        name = name[1:]  # AMBER's names of terminal residues: NALA, CHIE
    return ONE_LETTER.get(name) or _ALIASES.get(name, "X")


def chain_names(names: list[str]) -> tuple[str, ...]:
    """Names of chains in which blank and repeated ones are replaced by free letters."""
    out: list[str] = []
    taken = set(names)
    free = (n for n in (*_CHAIN_NAMES, *(a + b for a in _CHAIN_NAMES for b in _CHAIN_NAMES)))
    for name in names:
        if not name.strip() or name in out:
            name = next(n for n in free if n not in taken)
        out.append(name)
    return tuple(out)


@dataclass(frozen=True, eq=False)
class ProteinStructure:
    """F conformations of one protein of L residues.

    Attributes
    ----------
    sequence : str
        L letters of the 20, or X; chains concatenated.
    atom14 : ndarray, float32 [F, L, 14, 3]
        nm; NaN where absent. The names are in `ATOM14`.
    chain_index : ndarray, int32 [L]
    chain_ids : tuple of str
    residue_number : ndarray, int32 [L]
    insertion_code : ndarray, '<U1' [L]
    chain_break : ndarray, bool [L]
        True where residue i is not bonded to residue i - 1: at chain starts, and where C-N is
        0.2 nm or more, or absent, in the first frame.
    """

    sequence: str
    atom14: np.ndarray
    chain_index: np.ndarray
    chain_ids: tuple[str, ...]
    residue_number: np.ndarray
    insertion_code: np.ndarray
    chain_break: np.ndarray

    @property
    def n_frames(self) -> int:
        """F."""
        return self.atom14.shape[0]

    @property
    def n_residues(self) -> int:
        """L, of all chains."""
        return self.atom14.shape[1]

    @property
    def atom_mask(self) -> np.ndarray:
        """bool [F, L, 14]."""
        return np.isfinite(self.atom14).all(-1)

    @property
    def backbone(self) -> np.ndarray:
        """float32 [F, L, 4, 3]: N, CA, C, O; nm, NaN where absent."""
        return self.atom14[:, :, :4]

    @property
    def backbone_mask(self) -> np.ndarray:
        """bool [F, L]: N, CA and C are present."""
        return np.isfinite(self.atom14[:, :, :3]).all((-1, -2))

    @property
    def chain_sequences(self) -> str:
        """Sequence with ``:`` between chains."""
        starts = np.flatnonzero(np.diff(self.chain_index, prepend=-1))
        ends = [*starts[1:], self.n_residues]
        return ":".join(self.sequence[a:b] for a, b in zip(starts, ends, strict=True))

    @property
    def residue_index(self) -> np.ndarray:
        """int32 [L]; see the function `residue_index`."""
        return residue_index(self.chain_index, self.residue_number, self.chain_break)

    def to_trajectory(self, atoms: str = "heavy") -> mdtraj.Trajectory:
        """Trajectory of the atoms that every frame has (`atoms`: "heavy" or "backbone")."""
        if atoms not in ("heavy", "backbone"):
            raise StructureError(f"atoms is {atoms!r}, expected 'heavy' or 'backbone'")
        md = require("mdtraj")
        kept = np.asarray(self.atom_mask.all(0))
        if atoms == "backbone":
            kept = kept & (np.arange(14) < 4)
        if not kept.any():
            raise StructureError("no atom is present in every frame; select frames that share some")
        topology = _topology(
            self.sequence, tuple(self.chain_index.tolist()), self.chain_ids,
            tuple(self.residue_number.tolist()), tuple(self.chain_break.tolist()),
            tuple(map(tuple, kept.tolist())),
        ).copy()  # fmt: skip
        # MDTraj has no insertion codes and its copies forget ours: they ride on this object only.
        codes = self.insertion_code[kept.any(1)]
        for residue, code in zip(topology.residues, codes.tolist(), strict=True):
            residue.insertion_code = code
        return md.Trajectory(self.atom14[:, kept], topology)


def residue_index(
    chain_index: np.ndarray, residue_number: np.ndarray, chain_break: np.ndarray
) -> np.ndarray:
    """Positions for networks, int32 [L], from 0.

    Bonded neighbours differ by 1. Over a break inside a chain the step is that of the residue
    numbers if it is more than 1, else 33; to another chain it is 65 (networks clamp relative
    positions at 32, so 33 and more mean "unrelated").
    """
    jump = np.diff(residue_number)
    step = np.where(np.asarray(chain_break)[1:], np.where(jump > 1, jump, UNBONDED_GAP), 1)
    step = np.where(np.diff(chain_index) != 0, CHAIN_GAP, step)
    return np.concatenate([[0], np.cumsum(step)]).astype(np.int32)


def find_chain_breaks(backbone: np.ndarray, chain_index: np.ndarray) -> np.ndarray:
    """bool [L]: residue i is not bonded to residue i - 1, from one backbone [L, 4, 3]."""
    with np.errstate(invalid="ignore"):
        length = np.linalg.norm(backbone[1:, 0] - backbone[:-1, 2], axis=-1)
        bonded = (length < PEPTIDE_BOND) & (np.diff(chain_index) == 0)
    return np.concatenate([[True], ~bonded])


def load_structure(
    structure: ProteinStructure | mdtraj.Trajectory | str | os.PathLike,
) -> ProteinStructure:
    """A structure from whatever holds one: itself, a Trajectory, or a PDB or mmCIF file."""
    if isinstance(structure, ProteinStructure):
        return structure
    if isinstance(structure, (str, os.PathLike)):
        return read_structure(structure)
    return from_trajectory(structure)


def read_structure(
    path: str | os.PathLike, *, chains: str | Iterable[str] | None = None
) -> ProteinStructure:
    """Read the protein of a PDB or mmCIF file (also .gz); models become frames.

    `chains` names the chains to keep, in that order. `openmm_slm.protein.structure_files` says how
    altlocs, modified residues and the like are treated, and what is raised.
    """
    from .structure_files import read

    return read(path, chains)


def from_trajectory(trajectory: mdtraj.Trajectory) -> ProteinStructure:
    """Protein of a Trajectory; waters, ions, ligands, nucleic acids and hydrogens are set aside.

    Raises
    ------
    StructureError
        No protein, fewer than two residues, coordinates that are not finite, or an atom that
        occurs twice in a residue.
    """
    if not hasattr(trajectory, "topology") or not hasattr(trajectory, "xyz"):
        raise StructureError(
            f"{type(trajectory).__name__} is not a structure; pass an mdtraj.Trajectory or a path"
        )
    found = protein_chains(trajectory.topology)
    chain_ids = chain_names([name.strip() for name, _ in found])
    rows = [residue for _, residues in found for residue in residues]
    if len(rows) < 2 or not trajectory.n_frames:
        raise StructureError(
            f"{len(rows)} protein residues in a Trajectory of {trajectory.n_residues} and "
            f"{trajectory.n_frames} frames; at least 2 and 1 are needed"
        )
    sequence = "".join(residue_letter(r.name) for r in rows)
    atoms = np.full((len(rows), 14), -1)
    for number, residue in enumerate(rows):
        _check_names(residue)
        index = {_ATOM_ALIASES.get(atom.name, atom.name): atom.index for atom in residue.atoms}
        index.update((atom.name, atom.index) for atom in residue.atoms)
        atoms[number, : len(ATOM14[sequence[number]])] = [
            index.get(name, -1) for name in ATOM14[sequence[number]]
        ]
    atom14 = np.full((trajectory.n_frames, len(rows), 14, 3), np.nan, np.float32)
    present = atoms >= 0
    atom14[:, present] = trajectory.xyz[:, atoms[present]]
    if not np.isfinite(atom14[:, present]).all():
        frame = int(np.argwhere(~np.isfinite(atom14[:, present]).all((1, 2)))[0, 0])
        raise StructureError(f"frame {frame} has coordinates that are not finite; remove it")
    chain_index = np.repeat(np.arange(len(found)), [len(part) for _, part in found])
    chain_index = chain_index.astype(np.int32)
    return ProteinStructure(
        sequence,
        atom14,
        chain_index,
        chain_ids,
        np.array([r.resSeq for r in rows], np.int32),
        np.array([_insertion_code(r) for r in rows], "<U1"),
        find_chain_breaks(atom14[0], chain_index),
    )


def protein_chains(
    topology: mdtraj.Topology,
) -> list[tuple[str, list[mdtraj.core.topology.Residue]]]:
    """Id and protein residues of each chain that has any."""
    found = [
        (getattr(chain, "chain_id", None) or "", [r for r in chain.residues if _is_protein(r)])
        for chain in topology.chains
    ]
    # One residue is no chain but a ligand, unless it is all there is.
    return [part for part in found if len(part[1]) > 1] or [part for part in found if part[1]]


def _check_names(residue: mdtraj.core.topology.Residue) -> None:
    names = [
        atom.name for atom in residue.atoms if atom.name in ATOM14[residue_letter(residue.name)]
    ]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise StructureError(
            f"{residue} (residue {residue.index}) has {twice} {names.count(twice)} times; keep one "
            "(alternative locations: the one with the higher occupancy)"
        )


def _is_protein(residue: mdtraj.core.topology.Residue) -> bool:
    names = {atom.name for atom in residue.atoms}
    if residue_letter(residue.name) != "X":
        return "CA" in names
    return {"N", "CA", "C"} <= names


def _insertion_code(residue: mdtraj.core.topology.Residue) -> str:
    return (getattr(residue, "insertion_code", "") or "").strip()[:1]


def from_backbone(
    backbone: np.ndarray,
    sequence: str,
    chain_ids: tuple[str, ...] | None = None,
    residue_number: np.ndarray | None = None,
) -> ProteinStructure:
    """Structure of gap-free backbones.

    Parameters
    ----------
    backbone : ndarray, float32 [F, L, 4, 3]
        N, CA, C, O; nm.
    sequence : str
        L letters, ``:`` between chains.
    chain_ids : tuple of str, optional
        Default A, B, ...
    residue_number : ndarray, int [L], optional
        Default from 1 in each chain.
    """
    chains = sequence.split(":")
    lengths = [len(chain) for chain in chains]
    foreign = sorted(set("".join(chains)) - set(ATOM14))
    if foreign:
        raise StructureError(f"the sequence has {foreign[0]!r}; use the 20 letters or X")
    if chain_ids is not None and len(chain_ids) != len(chains):
        raise StructureError(f"{len(chain_ids)} chain ids for {len(chains)} chains; give one each")
    backbone = np.asarray(backbone)
    if backbone.shape[1:] != (sum(lengths), 4, 3):
        raise StructureError(
            f"backbone of shape {backbone.shape} for a sequence of {sum(lengths)} residues; "
            f"expected [F, {sum(lengths)}, 4, 3]"
        )
    numbers = np.concatenate([np.arange(1, n + 1) for n in lengths])
    if residue_number is not None:
        numbers = np.asarray(residue_number)
    atom14 = np.full((*backbone.shape[:2], 14, 3), np.nan, np.float32)
    atom14[:, :, :4] = backbone
    return ProteinStructure(
        "".join(chains),
        atom14,
        np.repeat(np.arange(len(chains)), lengths).astype(np.int32),
        tuple(chain_ids or chain_names([""] * len(chains))),
        numbers.astype(np.int32),
        np.full(len(numbers), "", "<U1"),
        np.concatenate([np.arange(n) == 0 for n in lengths]),
    )


def backbone_trajectory(
    backbone: np.ndarray,
    sequence: str,
    chain_ids: tuple[str, ...] | None = None,
    residue_number: np.ndarray | None = None,
) -> mdtraj.Trajectory:
    """Trajectory of backbones; arguments as of `from_backbone`."""
    md = require("mdtraj")
    made = from_backbone(backbone, sequence, chain_ids, residue_number)
    topology = _topology(
        made.sequence, tuple(made.chain_index.tolist()), made.chain_ids,
        tuple(made.residue_number.tolist()), tuple(made.chain_break.tolist()),
        ((True,) * 4 + (False,) * 10,) * made.n_residues,
    )  # fmt: skip
    # -1 for the atoms would fail for no frames, which is what a strict filter may leave.
    xyz = np.ascontiguousarray(made.backbone).reshape(made.n_frames, 4 * made.n_residues, 3)
    return md.Trajectory(xyz, topology.copy())


@lru_cache(maxsize=8)
def _topology(
    sequence: str,
    chain_index: tuple[int, ...],
    chain_ids: tuple[str, ...],
    numbers: tuple[int, ...],
    broken: tuple[bool, ...],
    kept: tuple[tuple[bool, ...], ...],
) -> mdtraj.Topology:
    """Topology of the atoms `kept`, with backbone and peptide bonds and MDTraj's own elsewhere."""
    md = require("mdtraj")
    topology = md.Topology()
    chain, number = None, None
    last: dict[str, mdtraj.Atom] = {}
    for i, letter in enumerate(sequence):
        here: dict[str, mdtraj.Atom] = {}
        if not any(kept[i]):  # MDTraj and PDB know no residue without atoms
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


@lru_cache(maxsize=1)
def _standard_bonds() -> dict[str, list[tuple[str, str]]]:
    """Bonds inside residues by residue name, from the table MDTraj ships."""
    md = require("mdtraj")
    md.Topology().create_standard_bonds()  # loads the table
    return md.Topology._standardBonds


def sidechain_bonds(letter: str) -> list[tuple[str, str]]:
    if letter == "X":
        return [("CA", "CB")]
    names, backbone = set(ATOM14[letter]), {"N", "CA", "C", "O"}
    bonds = _standard_bonds()[THREE_LETTER[letter]]
    return [(a, b) for a, b in bonds if {a, b} <= names and not {a, b} <= backbone]
