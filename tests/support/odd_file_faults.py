"""What a reader made of an odd file: residues lost, renamed, turned or welded without a word."""

from __future__ import annotations

import re

import mdtraj as md
import numpy as np
from odd_files import OddFile, Residue

from openmm_slm.protein.atoms import CAPS
from openmm_slm.protein.geometry import chirality
from openmm_slm.protein.sequence import THREE_LETTER
from openmm_slm.protein.structure import PEPTIDE_BOND, ProteinStructure

NEAR = 2e-3  # nm; text has three digits of an Å


def named(residue: Residue, text: str) -> bool:
    """Whether `text`, which is without the path of the file, has the number of the residue."""
    number = re.escape(f"{residue.number}{residue.code}")
    return re.search(rf"(?<![\w.-]){number}(?![\w.]*\w)", text) is not None


def refused_for_a_reason(odd: OddFile, text: str) -> bool:
    """Whether an error names a residue that cannot be completed."""
    first, last = odd.residues[0], odd.residues[-1]
    cyclic = [first, last] if odd.recipe.cyclic else []
    incomplete = [
        residue
        for residue in odd.residues
        if residue.letter == "X" or any(residue.position(a) is None for a in ("N", "CA", "C"))
    ]
    if _stars(odd):  # nobody can know the numbers
        return any(residue.name in text for residue in cyclic + incomplete)
    return any(named(residue, text) for residue in cyclic + incomplete)


def faults_of_reading(odd: OddFile, found: ProteinStructure, text: str) -> list[str]:
    """Differences between the file and the structure that no message names."""
    expected = odd.residues
    if found.n_residues != len(expected):
        missing = [residue for residue in expected if not _is_there(residue, found)]
        lost = [residue for residue in missing if not named(residue, text)]
        if lost or found.n_residues + len(missing) != len(expected):
            return [f"{found.n_residues} residues for {len(expected)}; lost: {_names(lost)}"]
        return []
    out = []
    for row, residue in enumerate(expected):
        if found.sequence[row] != residue.letter and not named(residue, text):
            out.append(f"{_names([residue])} is {found.sequence[row]}")
        for slot, name in enumerate(("N", "CA", "C", "O")):
            ours, there = residue.position(name), found.atom14[0, row, slot]
            if ours is None:
                if np.isfinite(there).all():
                    out.append(f"{_names([residue])} has {name}")
            elif not np.linalg.norm(ours - there) < NEAR:
                out.append(f"{_names([residue])}: {name} is elsewhere or lost")
    if out:
        return out
    out += _faults_of_numbers(odd, found)
    out += _faults_of_chains(odd, found)
    if found.n_frames != odd.frames:
        out.append(f"{found.n_frames} frames of {odd.frames}")
    return out + _faults_of_caps(odd, [str(cap) for cap in found.caps], text)


def _names(residues: list[Residue]) -> str:
    return ", ".join(f"{r.name} {r.number}{r.code} of chain {r.chain}" for r in residues)


def _is_there(residue: Residue, found: ProteinStructure) -> bool:
    slots = ("N", "CA", "C", "O")
    atom = next(a for a in slots if residue.position(a) is not None)
    slot = slots.index(atom)
    away = np.linalg.norm(found.atom14[0, :, slot] - residue.position(atom), axis=-1)
    return bool((away < NEAR).any())


def _faults_of_numbers(odd: OddFile, found: ProteinStructure) -> list[str]:
    if _stars(odd):
        return []
    ours = [f"{r.number}{r.code}" for r in odd.residues]
    theirs = [f"{n}{c}" for n, c in zip(found.residue_number, found.insertion_code, strict=True)]
    wrong = [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b]
    return [f"numbers {wrong}"] if wrong else []


def _faults_of_chains(odd: OddFile, found: ProteinStructure) -> list[str]:
    """Bonded residues cut, unbonded ones welded, chains that the file tells apart joined."""
    out = []
    for row, (a, b) in enumerate(zip(odd.residues, odd.residues[1:], strict=False), 1):
        c, n = a.position("C"), b.position("N")
        known = c is not None and n is not None
        bonded = known and np.linalg.norm(n - c) < PEPTIDE_BOND
        if bonded and (found.chain_break[row] or np.diff(found.chain_index)[row - 1]):
            out.append(f"the bond between {_names([a, b])} is cut")
        if not bonded and not found.chain_break[row]:
            out.append(f"{_names([a, b])} are welded")
        together = found.chain_index[row] == found.chain_index[row - 1]
        if a.chain != b.chain and together and _told_apart(odd, a, b):
            out.append(f"the chains of {_names([a, b])} are one")
        if a.chain == b.chain and not together and odd.recipe.numbers != "restart":
            out.append(f"{_names([a, b])} are in two chains")
    return out


def _told_apart(odd: OddFile, a: Residue, b: Residue) -> bool:
    names = odd.recipe.names
    return names not in ("same", "blank") or b.number < a.number


def faults_of_completion(odd: OddFile, made: md.Trajectory, text: str) -> list[str]:
    """Differences between the file and the completed frames that no message names."""
    caps = [r for r in made.topology.residues if r.name in CAPS]
    residues = [r for r in made.topology.residues if r.name not in CAPS]
    if len(residues) != len(odd.residues):
        return [f"{len(residues)} residues for {len(odd.residues)}"]
    out = []
    for residue, there in zip(odd.residues, residues, strict=True):
        name = THREE_LETTER.get(residue.letter, "UNK")
        if there.name != name and not named(residue, text):
            out.append(f"{_names([residue])} is {there.name}")
        number = f"{there.resSeq}{getattr(there, 'insertion_code', '')}"
        if number != f"{residue.number}{residue.code}" and not _stars(odd):
            out.append(f"{_names([residue])} has the number {number}")
        atoms = {atom.name: made.xyz[0, atom.index].astype(float) for atom in there.atoms}
        ca = residue.position("CA")
        kept = ca is not None and np.linalg.norm(ca - atoms["CA"]) < NEAR
        if not kept and not named(residue, text):
            out.append(f"{_names([residue])}: CA moved")
        if "CB" in atoms:
            corner = [residue.position(name) for name in ("N", "CA", "C", "CB")]
            hand = 1.0 if any(x is None for x in corner) else chirality(*corner)
            kept = hand * chirality(*(atoms[name] for name in ("N", "CA", "C", "CB"))) > 0
            if not kept or (hand < 0 and not named(residue, text)):
                out.append(f"{_names([residue])} is turned, or D without a word")
    for a, b in made.topology.bonds:
        length = np.linalg.norm(made.xyz[0, a.index] - made.xyz[0, b.index])
        if length > 0.21:  # S-S has 0.205
            out.append(f"{a}-{b} is a bond of {length:.2f} nm")
    if made.n_frames != odd.frames:
        out.append(f"{made.n_frames} frames of {odd.frames}")
    return out + _faults_of_caps(odd, [f"{cap.name} {cap.resSeq}" for cap in caps], text)


def _faults_of_caps(odd: OddFile, kept: list[str], text: str) -> list[str]:
    """Caps that are neither kept, with their names and numbers, nor named."""
    words = [cap.split()[0] for cap in kept] if _stars(odd) else kept
    return [
        f"{cap.name} {cap.number} is lost without a word"
        for cap in odd.caps
        if (word := cap.name if _stars(odd) else f"{cap.name} {cap.number}") not in words
        and word not in text
    ]


def _stars(odd: OddFile) -> bool:
    """Whether the file has stars instead of residue numbers."""
    return odd.suffix == ".pdb" and odd.recipe.wrapped == "stars"
