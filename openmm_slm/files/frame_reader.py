"""The one reader of frames: structure files, trajectories, folders of ensembles, and objects.

Files are known by their extension, a final ``.gz`` aside. Structure files hold their own topology
and are read whole; trajectories are read block by block.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StructureError, require
from ..protein.loading import load_structure
from ..protein.structure import ProteinStructure
from ..protein.trajectory import from_trajectory

if TYPE_CHECKING:
    import mdtraj

#: Extensions of files that hold structures, and of trajectories that hold their own topology.
PDB_FILES, MMCIF_FILES = (".pdb", ".ent"), (".cif", ".mmcif", ".pdbx")
STRUCTURE_FILES = PDB_FILES + MMCIF_FILES
WITH_TOPOLOGY = (".h5", ".hdf5", ".lh5", ".gro", ".arc")
BLOCK = 100  # frames in memory at once


def extension(path: str | os.PathLike) -> str:
    """Extension of a file name in lower case, without ``.gz``."""
    return os.path.splitext(Path(path).name.lower().removesuffix(".gz"))[1]


class FrameReader:
    """Frames of a trajectory with all their atoms, in blocks.

    Parameters
    ----------
    source : mdtraj.Trajectory, anything with a ``trajectory``, or path
        A structure file, a trajectory file, or a folder with ``samples.xtc``.
    top : path or mdtraj.Topology, optional
        Topology of a trajectory file that has none.

    Attributes
    ----------
    n_frames : int
    topology : mdtraj.Topology

    Raises
    ------
    StructureError
        No such file, a file that MDTraj cannot read, no topology, or no frames.
    """

    def __init__(
        self, source: object, top: str | os.PathLike | mdtraj.Topology | None = None
    ) -> None:
        self._path: Path | None = None
        if isinstance(source, (str, os.PathLike)):
            self._open(Path(source), top)
        else:
            trajectory = getattr(source, "trajectory", source)
            if not (hasattr(trajectory, "topology") and hasattr(trajectory, "xyz")):
                raise StructureError(
                    f"{type(source).__name__} is no trajectory; give an Ensemble, an "
                    "mdtraj.Trajectory or a path"
                )
            if trajectory.topology is None or not trajectory.n_frames:
                raise StructureError(f"{trajectory}: no frames, or no topology; give both")
            self._hold(trajectory)

    def blocks(self, start: int = 0, size: int = BLOCK) -> Iterator[mdtraj.Trajectory]:
        """Frames from `start` on, `size` at a time; changing a block changes no other."""
        if self._path is None:
            for i in range(start, self.n_frames, size):
                yield self._trajectory[i : i + size]  # a copy
        elif start < self.n_frames:
            read = require("mdtraj").iterload
            yield from read(str(self._path), chunk=size, skip=start, **self._options)

    def load(self) -> mdtraj.Trajectory:
        """All frames."""
        if self._path is None:
            return self._trajectory
        return require("mdtraj").load(str(self._path), **self._options)

    def _hold(self, trajectory: mdtraj.Trajectory) -> None:
        self._trajectory = trajectory
        self.n_frames, self.topology = trajectory.n_frames, trajectory.topology

    def _open(self, path: Path, top: str | os.PathLike | mdtraj.Topology | None) -> None:
        md = require("mdtraj")
        path, top = _in_folder(path, top)
        kind = extension(path)
        if top is None and kind not in STRUCTURE_FILES + WITH_TOPOLOGY:
            raise StructureError(
                f"{path} has no topology of its own; name a file of the same atoms that has one, "
                "for example a PDB file (top, --top)"
            )
        if kind in STRUCTURE_FILES + WITH_TOPOLOGY:
            top = None
        elif not hasattr(top, "atoms"):
            if not Path(top).is_file():
                raise StructureError(f"{top}: no such file")
            top = str(top)
        self._options = {} if top is None else {"top": top}
        try:
            if kind in PDB_FILES:
                return self._hold(md.load_pdb(str(path)))
            if kind in MMCIF_FILES:
                return self._hold(md.load(str(path)))
            try:
                with md.open(str(path)) as handle:
                    self.n_frames = len(handle)
            except TypeError:  # formats of text know no length before they are read
                return self._hold(md.load(str(path), **self._options))
            self.topology = next(md.iterload(str(path), chunk=1, **self._options)).topology
        except Exception as error:  # MDTraj's formats raise what they like
            raise StructureError(
                f"{path}: cannot be read ({error}); give a structure file, or a trajectory that "
                "MDTraj reads with the topology of its atoms (top, --top)"
            ) from None
        self._path = path


class StructureReader:
    """The protein of frames, in blocks.

    PDB and mmCIF files are read by `openmm_slm.protein.structure_files`, which knows alternative
    locations, modified residues and insertion codes.

    Parameters
    ----------
    source : ProteinStructure, or what `FrameReader` takes
    top : path or mdtraj.Topology, optional

    Attributes
    ----------
    n_frames : int
    topology : mdtraj.Topology or None
        Of all atoms; None where the protein alone was read.

    Raises
    ------
    StructureError
        See `FrameReader` and `openmm_slm.protein.structure_files`.
    """

    def __init__(
        self, source: object, top: str | os.PathLike | mdtraj.Topology | None = None
    ) -> None:
        self._name = source if isinstance(source, (str, os.PathLike)) else "the trajectory"
        is_path = isinstance(source, (str, os.PathLike))
        if isinstance(source, ProteinStructure) or (
            is_path and extension(source) in STRUCTURE_FILES and not Path(source).is_dir()
        ):
            self._whole: ProteinStructure | None = load_structure(source)
            self.n_frames, self.topology = self._whole.n_frames, None
        else:
            self._whole, self._frames = None, FrameReader(source, top)
            self.n_frames, self.topology = self._frames.n_frames, self._frames.topology

    def blocks(self, start: int = 0, size: int = BLOCK) -> Iterator[ProteinStructure]:
        """Frames from `start` on, `size` at a time."""
        if self._whole is not None:
            for i in range(start, self.n_frames, size):
                yield replace(self._whole, atom14=self._whole.atom14[i : i + size])
            return
        for block in self._frames.blocks(start, size):
            finite = np.isfinite(block.xyz).all((1, 2))
            if not finite.all():
                raise StructureError(
                    f"{self._name}: frame {start + int((~finite).argmax())} has coordinates that "
                    "are not finite; remove it"
                )
            yield from_trajectory(block)
            start += len(block)

    def load(self) -> ProteinStructure:
        """All frames."""
        return next(self.blocks(0, max(1, self.n_frames)))


def _in_folder(
    path: Path, top: str | os.PathLike | mdtraj.Topology | None
) -> tuple[Path, str | os.PathLike | mdtraj.Topology | None]:
    """Trajectory and topology of a folder of an ensemble; anything else must be a file."""
    if path.is_dir() and (path / "samples.xtc").exists():
        return path / "samples.xtc", top or path / "topology.pdb"
    if not path.is_file():
        raise StructureError(f"{path}: no such file, or folder with samples.xtc and topology.pdb")
    return path, top
