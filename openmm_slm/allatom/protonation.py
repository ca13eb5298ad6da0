"""Protonation by OpenMM's Modeller, made reproducible, with a correction for histidines."""

from __future__ import annotations

import logging
import random
import threading
from typing import TYPE_CHECKING

import numpy as np

from ..errors import require
from ..protein.disulfides import Pairs
from ..protein.structure import ProteinStructure
from ..protein.unmodelled import residue_label
from ..protein.variants import usual_variants
from .capping import free_ends

if TYPE_CHECKING:
    import mdtraj
    import openmm.app

logger = logging.getLogger(__name__)
_one_at_a_time = threading.Lock()

PROTONATIONS = ("input", "ph")
_TAUTOMERS = {"HID", "HIE"}
# At chain ends, Amber force fields have these residues in their charged form only.
_CHARGED = {"D": "ASP", "E": "GLU", "K": "LYS"}
H_H_CONTACT = 0.2  # nm; two N-H hydrogens closer than this point at each other


def required_variants(structure: ProteinStructure, disulfides: Pairs) -> list[str | None]:
    """Variant of each residue to pass to Modeller; None where Modeller decides by pH.

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


def add_hydrogens(
    topology: openmm.app.Topology, positions: np.ndarray, variants: list[str | None], ph: float
) -> tuple[openmm.app.Topology, np.ndarray]:
    """Topology with hydrogens, and positions float32 [A, 3] (nm); bitwise reproducible."""
    mm, app, unit = (require(f"openmm{part}") for part in ("", ".app", ".unit"))
    places = [mm.Vec3(*xyz) for xyz in positions.astype(float).tolist()]
    modeller = app.Modeller(topology, places * unit.nanometer)
    # Modeller draws initial hydrogen positions from Python's global generator. Other threads, such
    # as those of Dask, draw from it too, so Modeller gets a generator of its own.
    module = require("openmm.app.modeller")
    with _one_at_a_time:
        module.random = random.Random(0)
        try:
            platform = mm.Platform.getPlatformByName("Reference")
            modeller.addHydrogens(pH=ph, variants=variants, platform=platform)
        finally:
            module.random = random
    found = np.array(modeller.positions.value_in_unit(unit.nanometer), np.float32)
    return modeller.topology, found


def wrong_histidines(topology: mdtraj.Topology, positions: np.ndarray) -> dict[int, str]:
    """Find neutral histidines whose hydrogen points at another N-H, and their correct tautomer.

    Modeller treats every nitrogen as an acceptor. It therefore chooses HID for a histidine whose
    ND1 accepts a hydrogen bond of an amide, a common motif. Histidines whose other nitrogen also
    accepts a hydrogen bond are left as they are.

    Returns
    -------
    dict
        Tautomer (HID or HIE) by residue index.
    """
    hydrogens: dict[tuple[int, str], int] = {}  # hydrogen on (residue, nitrogen)
    donated, owner = [], []
    for one, other in topology.bonds:
        nitrogen, hydrogen = (one, other) if one.element.symbol == "N" else (other, one)
        if nitrogen.element.symbol == "N" and hydrogen.element.symbol == "H":
            hydrogens[nitrogen.residue.index, nitrogen.name] = hydrogen.index
            donated.append(hydrogen.index)
            owner.append(nitrogen.residue.index)
    donated, owner = positions[np.array(donated, int)], np.array(owner)

    def nearest(point: np.ndarray, row: int) -> float:
        """Distance (nm) to the closest N-H hydrogen of another residue."""
        return np.linalg.norm(donated - point, axis=-1)[owner != row].min(initial=np.inf)

    out = {}
    for residue in topology.residues:
        row = residue.index
        protonated = [name for name in ("ND1", "NE2") if (row, name) in hydrogens]
        if residue.name == "HIS" and len(protonated) == 1:
            free = "NE2" if protonated == ["ND1"] else "ND1"
            other = next(atom.index for atom in residue.atoms if atom.name == free)
            contact = nearest(positions[hydrogens[row, protonated[0]]], row) < H_H_CONTACT
            if contact and nearest(positions[other], row) > 0.26:
                out[row] = "HIE" if free == "NE2" else "HID"
    return out


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
