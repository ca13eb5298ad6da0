"""Names of atoms and residues: atom14 order, force-field aliases, bonds within residues."""

from __future__ import annotations

from functools import lru_cache

from ..errors import require
from .sequence import ONE_LETTER, THREE_LETTER

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


# Names that force fields and archives use for the 20 standard residues.
_ALIASES = {
    "MSE": "M", "HID": "H", "HIE": "H", "HIP": "H", "HSD": "H", "HSE": "H", "HSP": "H",
    "CYX": "C", "CYM": "C", "ASH": "D", "GLH": "E", "LYN": "K",
    "HISA": "H", "HISB": "H", "HISD": "H", "HISE": "H", "HISH": "H", "CYS2": "C", "ASPH": "D",
    "GLUH": "E", "LYSH": "K", "LYSN": "K", "ASPP": "D", "GLUP": "E", "CYSH": "C",
    "HSH": "H", "HIH": "H", "LYP": "K", "LSN": "K", "ARN": "R",
}  # fmt: skip


# Three-letter names of GROMACS' and CHARMM's names of four letters.
_FOUR_LETTERS = {
    "HISA": "HID", "HISB": "HIE", "HISD": "HID", "HISE": "HIE", "HISH": "HIP", "CYS2": "CYX",
    "ASPH": "ASH", "GLUH": "GLH", "LYSH": "LYS", "LYSN": "LYN", "ASPP": "ASH", "GLUP": "GLH",
}  # fmt: skip

#: D amino acids of the wwPDB's chemical components, and the letter of their L form.
D_AMINO_ACIDS = {
    "DAL": "A", "DAR": "R", "DSG": "N", "DAS": "D", "DCY": "C", "DGN": "Q", "DGL": "E", "DHI": "H",
    "DIL": "I", "DLE": "L", "DLY": "K", "MED": "M", "DPN": "F", "DPR": "P", "DSN": "S", "DTH": "T",
    "DTR": "W", "DTY": "Y", "DVA": "V",
}  # fmt: skip

#: Residues that cap chain ends; the first two stand before the chain.
CAPS = ("ACE", "FOR", "NME", "NMA", "NHE", "NH2")
CAPS_BEFORE = CAPS[:2]

#: Atoms that only the first residue of a chain has, and those of the last; of caps within residues
#: (CHARMM) too.
FIRST_ATOMS = frozenset(("H2", "H3", "HT2", "HT3", "HN2", "CY"))
LAST_ATOMS = frozenset(("OXT", "OT2", "OC2", "O2", "NT"))

# CHARMM and GROMACS write CD for CD1 of Ile. No residue has both names in its atom14 slots.
ATOM_ALIASES = {"SE": "SD", "CD": "CD1", "OT1": "O", "O1": "O", "OC1": "O"}


def residue_letter(name: str) -> str:
    """One-letter code of a residue name; ``X`` for anything but the 20 standard residues."""
    name = name.strip().upper()
    if len(name) == 4 and name not in _ALIASES:
        end = name[0] in "NC" and (name[1:] in ONE_LETTER or name[1:] in _ALIASES)
        name = name[1:] if end else name[:3]  # NALA, CHIE of AMBER; ARGN, HIS1, LYS+ of others
    return ONE_LETTER.get(name) or _ALIASES.get(name, "X")


def four_letter_name(name: str) -> str | None:
    """Three-letter name of a residue name of four letters (HISE, NALA); None for other names."""
    name = name.strip().upper()
    if len(name) != 4 or residue_letter(name) == "X":
        return None
    end = name[0] in "NC" and residue_letter(name[1:]) != "X"
    return _FOUR_LETTERS.get(name) or (name[1:] if end else name[:3])


@lru_cache(maxsize=1)
def standard_bonds() -> dict[str, list[tuple[str, str]]]:
    """Bonds by residue name, from the table that MDTraj ships; -C is C of the residue before."""
    md = require("mdtraj")
    md.Topology().create_standard_bonds()  # loads the table
    return md.Topology._standardBonds


def sidechain_bonds(letter: str) -> list[tuple[str, str]]:
    """Bonds of a residue's side chain, CA-CB included, as pairs of atom names."""
    if letter == "X":
        return [("CA", "CB")]
    names, backbone = set(ATOM14[letter]), {"N", "CA", "C", "O"}
    bonds = standard_bonds()[THREE_LETTER[letter]]
    return [(a, b) for a, b in bonds if {a, b} <= names and not {a, b} <= backbone]
