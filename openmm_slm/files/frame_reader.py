"""Read frames from structure files, trajectories, ensemble folders and objects.

The extension decides the format of a file; a final ``.gz`` is ignored. Structure files contain
their topology and are read at once. Trajectories are read in blocks.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StructureError, require
from ..protein.loading import load_structure
from ..protein.mdtraj_topology import mended, mended_trajectory
from ..protein.periodic import made_whole
from ..protein.structure import ProteinStructure
from ..protein.trajectory import from_trajectory
from .ascii_path import AsciiPath

if TYPE_CHECKING:
    import mdtraj

#: Extensions of structure files, and of trajectory files that contain a topology.
PDB_FILES, MMCIF_FILES = (".pdb", ".ent"), (".cif", ".mmcif", ".pdbx")
STRUCTURE_FILES = PDB_FILES + MMCIF_FILES
WITH_TOPOLOGY = (".h5", ".hdf5", ".lh5", ".gro", ".arc")
BLOCK = 100  # frames in memory at once


def extension(path: str | os.PathLike) -> str:
    """Extension of a file name in lower case, without ``.gz``."""
    return os.path.splitext(Path(path).name.lower().removesuffix(".gz"))[1]


class FrameReader:
    """Read the frames of a trajectory in blocks, with all atoms.

    Parameters
    ----------
    source : mdtraj.Trajectory, anything with a ``trajectory``, or path
        A path is a structure file, a trajectory file, or a folder with ``samples.xtc``.
    top : path or mdtraj.Topology, optional
        Topology for a trajectory file without one.

    Attributes
    ----------
    n_frames : int
    topology : mdtraj.Topology

    Raises
    ------
    StructureError
        The file is missing or MDTraj cannot read it, or topology or frames are missing.
    """

    def __init__(
        self, source: object, top: str | os.PathLike | mdtraj.Topology | None = None
    ) -> None:
        self._path: Path | None = None
        is_path = isinstance(source, (str, os.PathLike))
        self._name = str(source) if is_path else "the trajectory"
        if isinstance(source, (str, os.PathLike)):
            self._open(Path(source), top)
        else:
            trajectory = getattr(source, "trajectory", source)
            if not (hasattr(trajectory, "topology") and hasattr(trajectory, "xyz")):
                raise StructureError(
                    f"{type(source).__name__} is not a trajectory; give an Ensemble, an "
                    "mdtraj.Trajectory or a path"
                )
            if trajectory.topology is None or not trajectory.n_frames:
                raise StructureError(f"{trajectory}: frames or topology are missing; give both")
            self._keep(trajectory)

    def blocks(self, start: int = 0, size: int = BLOCK) -> Iterator[mdtraj.Trajectory]:
        """Yield frames from `start` on in blocks of `size`; each block is an independent copy."""
        if self._path is None:
            for i in range(start, self.n_frames, size):
                yield self._trajectory[i : i + size]  # a copy
        elif start < self.n_frames:
            read = require("mdtraj").iterload
            for block in read(str(self._path), chunk=size, skip=start, **self._options):
                yield made_whole(block, self._name)

    def load(self) -> mdtraj.Trajectory:
        """All frames."""
        if self._path is None:
            return self._trajectory
        whole = require("mdtraj").load(str(self._path), **self._options)
        return made_whole(whole, self._name)

    def _keep(self, trajectory: mdtraj.Trajectory) -> None:
        self._trajectory = trajectory = made_whole(mended_trajectory(trajectory), self._name)
        self.n_frames, self.topology = trajectory.n_frames, trajectory.topology

    def _open(self, path: Path, top: str | os.PathLike | mdtraj.Topology | None) -> None:
        md = require("mdtraj")
        path, top = _in_folder(path, top)
        self._ascii = AsciiPath(path)
        path, kind = self._ascii.path, extension(path)
        if top is None and kind not in STRUCTURE_FILES + WITH_TOPOLOGY:
            raise StructureError(
                f"{self._name} contains no topology; name a file with the topology of the same "
                "atoms, for example a PDB file (top, --top)"
            )
        if kind in STRUCTURE_FILES + WITH_TOPOLOGY:
            top = None
        elif not hasattr(top, "atoms"):
            if not Path(top).is_file():
                raise StructureError(f"{top}: no such file")
            top = str(top)
        self._options = {} if top is None else {"top": top}
        try:
            if kind in STRUCTURE_FILES:
                whole = md.load_pdb(str(path)) if kind in PDB_FILES else md.load(str(path))
                read_insertion_codes(whole.topology, path)
                return self._keep(whole)
            try:
                with md.open(str(path)) as handle:
                    self.n_frames = len(handle)
            except TypeError:  # text formats have no length before they are read
                return self._keep(md.load(str(path), **self._options))
            first = next(md.iterload(str(path), chunk=1, **self._options))
            self.topology = mended(first.topology, first.xyz[0])
            if isinstance(top, str):
                read_insertion_codes(self.topology, Path(top))
            if self._options:
                self._options = {"top": self.topology}
        except Exception as error:  # MDTraj's readers raise errors of many types
            raise StructureError(
                f"{self._name}: cannot be read ({error}); give a structure file, or a trajectory "
                "in an MDTraj format and its topology (top, --top)"
            ) from None
        self._path = path


class StructureReader:
    """Read the protein of frames in blocks.

    `openmm_slm.protein.structure_files` reads PDB and mmCIF files: it handles alternative
    locations, modified residues and insertion codes.

    Parameters
    ----------
    source : ProteinStructure, or any source of `FrameReader`
    top : path or mdtraj.Topology, optional
        As for `FrameReader`.

    Attributes
    ----------
    n_frames : int
    topology : mdtraj.Topology or None
        Topology of all atoms; None if only the protein was read.

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
        """Yield frames from `start` on in blocks of `size`."""
        if self._whole is not None:
            for i in range(start, self.n_frames, size):
                yield self._whole.frames(slice(i, i + size))
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


def read_insertion_codes(topology: mdtraj.Topology, path: Path) -> None:
    """Give the residues of a topology the insertion codes of its PDB file, which MDTraj drops."""
    if extension(path) not in PDB_FILES:
        return
    data = path.read_bytes()
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    codes = []
    for line in data.decode("utf-8", "replace").splitlines():
        if line.startswith("ENDMDL"):
            break
        if line.startswith(("ATOM  ", "HETATM")):
            codes.append(line[26:27].strip())
    if any(codes) and len(codes) == topology.n_atoms:
        for atom, code in zip(topology.atoms, codes, strict=True):
            atom.residue.insertion_code = code


def _in_folder(
    path: Path, top: str | os.PathLike | mdtraj.Topology | None
) -> tuple[Path, str | os.PathLike | mdtraj.Topology | None]:
    """Trajectory and topology of an ensemble folder; any other path must be a file."""
    if path.is_dir() and (path / "samples.xtc").exists():
        return path / "samples.xtc", top or path / "topology.pdb"
    if not path.is_file():
        raise StructureError(
            f"{path}: no such file, nor a folder with samples.xtc and topology.pdb"
        )
    return path, top
