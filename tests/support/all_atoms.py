"""Structures with side chains for tests: from residue templates and from an MD frame."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
from builders import ideal_backbone

from openmm_slm.protein.atoms import ATOM14
from openmm_slm.protein.loading import read_structure
from openmm_slm.protein.sequence import AMINO_ACIDS, THREE_LETTER
from openmm_slm.protein.structure import ProteinStructure
from openmm_slm.protein.superposition import superpose

START = np.arange(len(AMINO_ACIDS)) == 0


def template_residue(letter: str) -> dict[str, np.ndarray]:
    """Atoms of one of PDBFixer's residue templates; nm."""
    text = (files("pdbfixer") / "templates" / f"{THREE_LETTER[letter]}.pdb").read_text()
    return {
        line[12:16].strip(): np.array([line[30:38], line[38:46], line[46:54]], float) / 10
        for line in text.splitlines()
        if line.startswith("ATOM")
    }


def template_chain(sequence: str = AMINO_ACIDS, omega: np.ndarray | None = None) -> np.ndarray:
    """An extended chain with the side chains of the templates, float32 [L, 14, 3] (nm)."""
    length = len(sequence)
    phi, psi = np.full(length, np.radians(-80.0)), np.full(length, np.radians(130.0))
    backbone = ideal_backbone(phi, psi, np.full(length, np.pi) if omega is None else omega)
    atom14 = np.full((length, 14, 3), np.nan, np.float32)
    for i, letter in enumerate(sequence):
        atoms = template_residue(letter)
        x = np.stack([atoms[name] for name in ATOM14[letter]])
        moved, _, _ = superpose(
            x, np.pad(backbone[i, :3], ((0, len(x) - 3), (0, 0))), np.arange(len(x)) < 3
        )
        atom14[i, : len(x)] = moved
        atom14[i, :4] = backbone[i]
    return atom14


def villin_path() -> str:
    """A PDB file of a frame of MD in water (35 residues, hydrogens, OXT) that OpenMM brings."""
    return str(files("openmm") / "app" / "data" / "test.pdb")


def villin() -> ProteinStructure:
    return read_structure(villin_path())
