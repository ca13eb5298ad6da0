"""Peptides as other programs write them: caps, names of protonation variants, D residues."""

from __future__ import annotations

from pathlib import Path

import mdtraj as md
import numpy as np
from all_atoms import template_chain
from frames_to_relax import completed

from openmm_slm.protein.atoms import ATOM14
from openmm_slm.protein.sequence import THREE_LETTER

#: Heavy atoms of caps by the atoms of an alanine in their place, in the names of AMBER.
CAP_PARTS = {
    "ACE": {"CH3": "CA", "C": "C", "O": "O"},
    "FOR": {"C": "C", "O": "O"},
    "NME": {"N": "N", "CH3": "CA"},
    "NMA": {"N": "N", "CA": "CA"},
    "NH2": {"N": "N"},
    "NHE": {"N": "N"},
}


def pdb_line(number: int, atom: str, residue: str, index: int, xyz: np.ndarray) -> str:
    """An ATOM record; residue names of four letters reach into column 21."""
    x, y, z = 10 * np.asarray(xyz, float)
    name = f"{atom:<4}" if len(atom) == 4 else f" {atom:<3}"
    return (
        f"ATOM  {number:5d} {name} {residue:<4}A{index:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00"
        f"           {atom.lstrip('0123456789')[0]}"
    )


def write_capped(path: Path, sequence: str, before: str = "", behind: str = "") -> Path:
    """Heavy atoms of an extended peptide, numbered from 2, with caps in place of neighbours."""
    chain = template_chain(f"A{sequence}A")
    names, rows = [before, *(THREE_LETTER[a] for a in sequence), behind], []
    for row, name in enumerate(names):
        letter = f"A{sequence}A"[row]
        place = dict(zip(ATOM14[letter], chain[row], strict=False))
        parts = CAP_PARTS.get(name, {atom: atom for atom in place} if name else {})
        rows += [(atom, name, row + 1, place[here]) for atom, here in parts.items()]
    lines = [pdb_line(k, *fields) for k, fields in enumerate(rows, 1)]
    path.write_text("\n".join([*lines, "TER", "END", ""]))
    return path


def all_atoms(sequence: str) -> md.Trajectory:
    """An extended peptide with all atoms at pH 7."""
    return completed(template_chain(sequence)[None], sequence)


def write_renamed(path: Path, traj: md.Trajectory, names: dict[int, str]) -> Path:
    """PDB file of a frame with other residue names, by row."""
    lines = [
        pdb_line(
            atom.index + 1, atom.name, names.get(atom.residue.index, atom.residue.name),
            atom.residue.resSeq, traj.xyz[0, atom.index],
        )
        for atom in traj.topology.atoms
    ]  # fmt: skip
    path.write_text("\n".join([*lines, "TER", "END", ""]))
    return path


def hand(xyz: np.ndarray, topology: md.Topology, row: int) -> str:
    """L or D, from the volume that N, C and CB span about CA."""
    at = {atom.name: xyz[atom.index].astype(float) for atom in topology.residue(row).atoms}
    n, c, cb = (at[name] - at["CA"] for name in ("N", "C", "CB"))
    return "L" if np.dot(np.cross(n, c), cb) > 0 else "D"


def names_of(topology, row: int) -> set[str]:
    """Atom names of a residue of an MDTraj or OpenMM topology."""
    residues = topology.residues() if callable(topology.residues) else topology.residues
    residue = list(residues)[row]
    return {atom.name for atom in (residue.atoms() if callable(residue.atoms) else residue.atoms)}
