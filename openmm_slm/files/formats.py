"""File formats of frames and topologies; the extension decides, a final ``.gz`` is ignored."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import StructureError, require

PDB_FILES, MMCIF_FILES = (".pdb", ".ent"), (".cif", ".mmcif", ".pdbx")
#: Structure files contain their topology and are read at once.
STRUCTURE_FILES = PDB_FILES + MMCIF_FILES
#: Trajectories that contain a topology.
HDF5_FILES = (".h5", ".hdf5", ".lh5")
WITH_TOPOLOGY = (*HDF5_FILES, ".gro", ".arc")
#: AMBER restarts: one frame, as text or NetCDF.
RESTARTS = (".rst7", ".inpcrd", ".restrt", ".rst", ".ncrst")
#: Topologies without coordinates.
TOPOLOGIES = (".prmtop", ".parm7", ".prm7", ".psf", ".top", ".tpr", ".itp")


def extension(path: str | os.PathLike) -> str:
    """Extension of a file name in lower case, without ``.gz``."""
    return os.path.splitext(Path(path).name.lower().removesuffix(".gz"))[1]


def is_trajectory(path: str | os.PathLike) -> bool:
    """Whether a file is a trajectory (True) or a structure file (False).

    Raises
    ------
    StructureError
        It is neither.
    """
    kind = extension(path)
    if kind in STRUCTURE_FILES:
        return False
    if kind in TOPOLOGIES:
        raise StructureError(
            f"{path}: a topology without coordinates; give the file of the frames, and this one as "
            "its topology (top, --top)"
        )
    if kind in RESTARTS or kind in require("mdtraj").FormatRegistry.fileobjects:
        return True
    raise StructureError(
        f"{path}: unknown extension {kind!r}; structures end with {', '.join(STRUCTURE_FILES)} "
        "(also .gz), trajectories with an extension that MDTraj reads (.xtc, .dcd, .trr, .nc, "
        ".rst7, .gro, .h5, ...)"
    )


def needs_topology(source: object) -> bool:
    """Whether frames are in a file that contains no topology."""
    path = isinstance(source, (str, os.PathLike)) and os.path.isfile(source)
    return path and is_trajectory(source) and extension(source) not in WITH_TOPOLOGY


def mdtraj_extension(path: Path) -> str:
    """Extension by which MDTraj chooses the right reader for a file."""
    kind = extension(path)
    if kind in RESTARTS or kind in (".nc", ".netcdf", ".ncdf", ".top"):
        with open(path, "rb") as handle:
            head = handle.read(4096)
        if head.startswith(b"%VERSION"):  # an AMBER topology; GROMACS has the same extension
            return ".prmtop"
        if b"AMBERRESTART" in head:
            return ".ncrst"
        if kind in RESTARTS:
            return ".nc" if head.startswith(b"CDF") else ".rst7"
    packed = ".gz" if path.name.lower().endswith(".gz") else ""
    return (".pdb" if kind == ".ent" else kind) + packed
