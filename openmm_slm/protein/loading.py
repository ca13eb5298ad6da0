"""Structures from whatever holds one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .structure import ProteinStructure
from .structure_files import read
from .trajectory import from_trajectory

if TYPE_CHECKING:
    import mdtraj


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
    return read(path, chains)
