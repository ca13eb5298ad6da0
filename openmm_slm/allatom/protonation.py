"""Protonation of residues: by the structure or by pH, tautomers of histidine by hydrogen bonds."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from ..protein.disulfides import Pairs
from ..protein.geometry import unit_vector
from ..protein.structure import ProteinStructure
from ..protein.unmodelled import residue_label
from ..protein.variants import usual_variants
from .capping import free_ends

if TYPE_CHECKING:
    import mdtraj

logger = logging.getLogger(__name__)

PROTONATIONS = ("input", "ph")
_TAUTOMERS = {"HID", "HIE"}
# At chain ends, Amber force fields have these residues in their charged form only.
_CHARGED = {"D": "ASP", "E": "GLU", "K": "LYS"}
H_H_CONTACT = 0.2  # nm; two N-H hydrogens closer than this point at each other
_ACCEPTED = 0.26  # nm; a nitrogen this close to an N-H hydrogen accepts a hydrogen bond
_BOND = 0.35, np.radians(50)  # donor-acceptor distance (nm) and D-H-A bend of hydrogen bonds
_N_H = 0.101  # nm


def required_variants(structure: ProteinStructure, disulfides: Pairs) -> list[str | None]:
    """Variant of each residue that the structure or the force fields require; None: pH decides.

    Residues have the variant that the structure states, except at chain ends without a cap.
    """
    bonded = {row for pair in disulfides for row in pair}
    ends = np.logical_or(*free_ends(structure))
    stated = structure.variants or [""] * structure.n_residues
    out = []
    for row, letter in enumerate(structure.sequence):
        if letter == "C":  # CYX has the atoms of CYM
            thiolate = stated[row] == "CYM" and not ends[row]
            out.append("CYX" if row in bonded or thiolate else "CYS")
        else:
            charged = _CHARGED.get(letter) if ends[row] else None
            out.append(charged or stated[row] or None)
    return out


def kept_variants(structure: ProteinStructure, protonation: str, ph: float) -> tuple[str, ...]:
    """Variants of the input that are kept, by residue; empty where `ph` decides.

    The tautomer of a histidine is kept where `ph` leaves it neutral.
    """
    if protonation == "ph":
        return ()
    neutral = usual_variants("H", ph)
    return tuple("" if name in _TAUTOMERS - {*neutral} else name for name in structure.variants)


def report_protonation(
    structure: ProteinStructure, variants: tuple[str, ...], protonation: str, ph: float
) -> None:
    """Log the residues whose protonation is not that of the input, or not that of the pH.

    Parameters
    ----------
    structure : ProteinStructure
    variants : tuple of str
        Variants of the residues in the result.
    protonation : "input" or "ph"
    ph : float
    """
    ends = np.logical_or(*free_ends(structure))
    changed, kept = [], []
    for row, (stated, now) in enumerate(zip(structure.variants, variants, strict=False)):
        label, letter = residue_label(structure, row), structure.sequence[row]
        if stated and stated != now:
            reason = "chain end" if ends[row] and letter in "CDEK" else f"pH {ph:g}"
            changed.append(f"{label} is {now}, not {stated} ({reason})")
        elif stated and stated not in usual_variants(letter, ph):
            kept.append(f"{label} is {now}")
    if changed:
        hint = "; protonation='input' keeps it where possible" if protonation == "ph" else ""
        logger.warning("protonation of the input is replaced: %s%s", ", ".join(changed), hint)
    if kept and protonation == "input":
        logger.warning(
            "protonation of the input is kept: %s; protonation='ph' decides by pH %g",
            ", ".join(kept), ph,
        )  # fmt: skip


def chosen_variants(
    structure: ProteinStructure, disulfides: Pairs, ph: float
) -> tuple[list[str | None], list[int]]:
    """Variant of each residue, None if it has one form only; rows of histidines to decide.

    These are neutral at `ph`; they are HID until `tautomers` decides.
    """
    variants, undecided = required_variants(structure, disulfides), []
    for row, letter in enumerate(structure.sequence):
        usual = usual_variants(letter, ph)
        if variants[row] is None and usual:
            variants[row] = usual[0]
            if len(usual) > 1:
                undecided.append(row)
    return variants, undecided


def tautomers(
    topology: mdtraj.Topology, positions: np.ndarray, rows: list[int], undecided: list[int]
) -> dict[int, str]:
    """HID or HIE for neutral histidines, by their hydrogen bonds.

    As OpenMM's Modeller does, HIE if only the hydrogen at NE2 points at O or N of another residue.
    That rule takes every nitrogen for an acceptor. So the hydrogen then moves to the other nitrogen
    if it points at another N-H, unless that nitrogen accepts a hydrogen bond too.

    Parameters
    ----------
    topology : mdtraj.Topology
        With hydrogens.
    positions : ndarray [A, 3]
        nm.
    rows : list of int
        Row of each residue of the topology.
    undecided : list of int
        Rows of the histidines.

    Returns
    -------
    dict
        Tautomer by row.
    """
    atoms, wanted = list(topology.atoms), set(undecided)
    owner = np.array([atom.residue.index for atom in atoms])
    polar = np.array([atom.element.symbol in ("N", "O") for atom in atoms])
    protons: dict[int, list[int]] = {}  # hydrogens of each nitrogen
    for one, other in topology.bonds:
        nitrogen, hydrogen = (one, other) if one.element.symbol == "N" else (other, one)
        if nitrogen.element.symbol == "N" and hydrogen.element.symbol == "H":
            protons.setdefault(nitrogen.index, []).append(hydrogen.index)
    placed: dict[int, dict[str, tuple[np.ndarray, np.ndarray]]] = {}  # nitrogens, and hydrogens
    out = {}
    for residue in topology.residues:
        if rows[residue.index] in wanted:
            at = {atom.name: positions[atom.index].astype(float) for atom in residue.atoms}
            placed[residue.index] = {
                "HID": (at["ND1"], _opposite(at["ND1"], at["CG"], at["CE1"])),
                "HIE": (at["NE2"], _opposite(at["NE2"], at["CD2"], at["CE1"])),
            }
            others = positions[polar & (owner != residue.index)]
            bonded = {
                name: _points_at(*pair, others) for name, pair in placed[residue.index].items()
            }
            out[residue.index] = "HIE" if bonded["HIE"] and not bonded["HID"] else "HID"
    donated = [
        (row, positions[h]) for n, found in protons.items() for h in found
        if (row := int(owner[n])) not in placed or atoms[n].name == "N"
    ]  # fmt: skip
    donated += [(row, placed[row][name][1]) for row, name in out.items()]
    owner, donated = np.array([r for r, _ in donated]), np.array([x for _, x in donated])

    def nearest(point: np.ndarray, row: int) -> float:
        """Distance (nm) to the closest N-H hydrogen of another residue."""
        return np.linalg.norm(donated - point, axis=-1)[owner != row].min(initial=np.inf)

    flipped = {"HID": "HIE", "HIE": "HID"}
    for row, name in out.items():
        other = flipped[name]
        contact = nearest(placed[row][name][1], row) < H_H_CONTACT
        if contact and nearest(placed[row][other][0], row) > _ACCEPTED:
            out[row] = other
    return {rows[row]: name for row, name in out.items()}


def _opposite(nitrogen: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Hydrogen of a nitrogen in a ring, opposite to its two neighbours."""
    return nitrogen + _N_H * unit_vector(2 * nitrogen - one - other)


def _points_at(donor: np.ndarray, hydrogen: np.ndarray, acceptors: np.ndarray) -> bool:
    """True if a hydrogen makes a hydrogen bond to one of the points [K, 3]."""
    far, bend = _BOND
    near = acceptors[np.linalg.norm(acceptors - donor, axis=-1) <= far]
    cosine = unit_vector(near - hydrogen) @ unit_vector(hydrogen - donor)
    return bool((cosine > np.cos(bend)).any())


def variant_name(residue: str, atoms: set[str], disulfide: bool) -> str:
    """Name of the protonation variant of a residue with these atoms."""
    if residue == "CYS" and disulfide:
        return "CYX"
    if residue == "CYS" and "HB2" in atoms and "HG" not in atoms:
        return "CYM"
    if residue == "HIS":
        tautomers = {(1, 0): "HID", (0, 1): "HIE", (1, 1): "HIP"}
        return tautomers.get(("HD1" in atoms, "HE2" in atoms), residue)
    if residue == "LYS" and "HZ1" in atoms and "HZ3" not in atoms:
        return "LYN"
    acid = {"ASP": ("HD2", "ASH"), "GLU": ("HE2", "GLH")}.get(residue)
    return acid[1] if acid and acid[0] in atoms else residue
