"""Two domains of one chain, and a hinge between them: states of one protein."""

from __future__ import annotations

import numpy as np
from all_atoms import villin
from builders import ideal_backbone

from openmm_slm.protein.geometry import place_oxygen
from openmm_slm.protein.structure import ProteinStructure, from_backbone
from openmm_slm.protein.superposition import superpose

LINKER = "GSPG"


def two_domains(turn: float) -> ProteinStructure:
    """Villin, a linker, villin again, turned (degrees, 0 to 60) about one bond of the linker.

    Both domains are rigid, and they do not touch.
    """
    domain = villin()
    linker = np.radians([[-60.0, -120.0, -70.0, -90.0], [120.0, 150.0 + turn, -40.0, 150.0]])
    ends = np.radians([[-60.0], [-45.0]])
    torsions = np.concatenate([ends, linker, ends], 1)
    first = domain.backbone[0]
    middle = _moved(ideal_backbone(*torsions, np.full(6, np.pi)), slice(0, 1), first[-1:])
    second = _moved(first, slice(0, 1), middle[-1:])
    backbone = np.concatenate([first, middle[1:-1], second])
    sequence = domain.sequence + LINKER + domain.sequence
    backbone[:, 3] = place_oxygen(backbone, np.arange(len(sequence)) == 0)
    return from_backbone(backbone[None], sequence)


def two_helices(psi: float) -> ProteinStructure:
    """Two helices of ten residues with one residue between them, whose psi (degrees) varies."""
    angles = np.radians([np.full(21, -60.0), np.full(21, -45.0)])
    angles[:, 10] = np.radians([-90.0, psi])
    backbone = ideal_backbone(*angles, np.full(21, np.pi))
    return from_backbone(backbone[None], "EAAAKEALKAGELKAAAEKAL")


def _moved(x: np.ndarray, rows: slice, target: np.ndarray) -> np.ndarray:
    """Residues [L, 4, 3] with the N, CA and C of `rows` on those of `target`."""
    mask = np.zeros(x.shape[:2], bool)
    mask[rows, :3] = True
    wanted = np.full(x.shape, np.nan)
    wanted[rows] = target
    return superpose(x.reshape(-1, 3), wanted.reshape(-1, 3), mask.ravel())[0].reshape(x.shape)
