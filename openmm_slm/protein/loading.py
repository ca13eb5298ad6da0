"""Load a structure from a file or a trajectory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .named_structures import local_file
from .structure import ProteinStructure
from .structure_files import read
from .trajectory import from_trajectory

if TYPE_CHECKING:
    import mdtraj


def load_structure(
    structure: ProteinStructure | mdtraj.Trajectory | str | os.PathLike,
) -> ProteinStructure:
    """Structure from a Trajectory, a file or a name (`read_structure`); a structure stays as is."""
    if isinstance(structure, ProteinStructure):
        return structure
    if isinstance(structure, (str, os.PathLike)):
        return read_structure(structure)
    return from_trajectory(structure)


def read_structure(
    path: str | os.PathLike, *, chains: str | Iterable[str] | None = None
) -> ProteinStructure:
    """Read the protein of a PDB or mmCIF file (also .gz); models become frames.

    `path` may be a name: ``pdb:5PTI``, ``pdb:1ABC:A,B`` or ``afdb:P00974``
    (`openmm_slm.protein.named_structures`).
    `chains` names the chains to keep, in that order. `openmm_slm.protein.structure_files` documents
    the treatment of alternative locations and modified residues, and the errors.
    """
    return read(local_file(path), chains)
