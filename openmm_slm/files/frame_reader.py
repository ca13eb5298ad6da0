"""Read frames from structure files, trajectories, ensemble folders and objects.

Structure files contain their topology and are read at once. Trajectories are read in blocks. See
`openmm_slm.files.formats` for the formats. Molecules come out whole, with one chain per protein.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StructureError, require
from ..protein.chains import (
    copied,
    divided,
    is_protein_residue,
    warn_of_incomplete,
    warn_of_lone_residues,
)
from ..protein.loading import load_structure
from ..protein.mdtraj_topology import mended, with_short_names
from ..protein.named_structures import local_file
from ..protein.periodic import Images, with_whole_molecules
from ..protein.structure import ProteinStructure
from ..protein.trajectory import structure_of
from .formats import (
    HDF5_FILES,
    RESTARTS,
    STRUCTURE_FILES,
    WITH_TOPOLOGY,
    extension,
    is_trajectory,
    mdtraj_extension,
)
from .readable_path import ReadablePath
from .structure_frames import structure_frames
from .topology_file import read_names

if TYPE_CHECKING:
    import mdtraj

BLOCK = 100  # frames in memory at once
_OTHER_ATOMS = ("xyz must be shape", "might not contain the same atoms")  # MDTraj's words
_FIRST = 10  # frames that decide where chains end


class FrameReader:
    """Read the frames of a trajectory in blocks.

    Parameters
    ----------
    source : mdtraj.Trajectory, anything with a ``trajectory``, or path
        A path is a structure file, a trajectory file, a folder with ``samples.xtc``, or a name
        (``pdb:5PTI``, see `openmm_slm.protein.named_structures`).
    top : path or mdtraj.Topology, optional
        Topology for a trajectory file without one.
    protein_only : bool
        Leave out all other atoms.

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
        self,
        source: object,
        top: str | os.PathLike | mdtraj.Topology | None = None,
        *,
        protein_only: bool = False,
    ) -> None:
        self._path: Path | None = None
        self._protein_only = protein_only
        is_path = isinstance(source, (str, os.PathLike))
        self._name = str(source) if is_path else "the trajectory"
        if isinstance(source, (str, os.PathLike)):
            self._open(Path(local_file(source)), top)
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

    def blocks(
        self, start: int = 0, size: int = BLOCK, stride: int = 1
    ) -> Iterator[mdtraj.Trajectory]:
        """Yield every `stride`-th frame from `start` on in blocks of `size`, as copies."""
        if self._path is None:
            for i in range(start, self.n_frames, size * stride):
                yield self._trajectory[i : i + size * stride : stride]  # a copy
        elif start < self.n_frames:
            read = require("mdtraj").iterload
            options = {**self._options, "skip": start, "stride": stride}
            for block in read(str(self._path), chunk=size, **options):
                yield self._whole(block)

    def load(self) -> mdtraj.Trajectory:
        """All frames."""
        if self._path is None:
            return self._trajectory
        return self._whole(require("mdtraj").load(str(self._path), **self._options))

    def _whole(self, frames: mdtraj.Trajectory) -> mdtraj.Trajectory:
        frames.topology = self.topology
        return with_whole_molecules(frames, self._images, self._name)

    def _keep(self, trajectory: mdtraj.Trajectory, *, crystal: bool = False) -> None:
        """Hold all frames in memory."""
        trajectory = _understood(trajectory)
        warn_of_incomplete(trajectory.topology, self._name)
        if self._protein_only:
            trajectory = trajectory.atom_slice(self._protein(trajectory.topology))
        images = Images.of_topology(trajectory.topology, assemble=not crystal)
        self._trajectory = trajectory = with_whole_molecules(trajectory, images, self._name)
        self.n_frames, self.topology = trajectory.n_frames, trajectory.topology

    def _protein(self, topology: mdtraj.Topology) -> list[int]:
        atoms = [a.index for r in topology.residues if is_protein_residue(r) for a in r.atoms]
        if not atoms:
            raise StructureError(f"{self._name}: its topology has no protein")
        return atoms

    def _open(self, path: Path, top: str | os.PathLike | mdtraj.Topology | None) -> None:
        path, top = _in_folder(path, top)
        kind = extension(path)
        with_topology = not is_trajectory(path) or kind in WITH_TOPOLOGY
        if with_topology:
            top = None
        elif top is None:
            raise StructureError(
                f"{self._name} contains no topology; name a file with the topology of the same "
                "atoms, for example a PDB file (top, --top)"
            )
        else:
            top = copied(top if hasattr(top, "atoms") else read_topology(top))
        if kind in HDF5_FILES:
            require("tables", "hdf5")
        if path.is_file() and not path.stat().st_size:
            raise StructureError(f"{self._name}: the file is empty")
        try:
            self._read(path, top)
        except StructureError:
            raise
        except Exception as error:  # MDTraj's readers raise errors of many types
            reason = str(error).strip() or type(error).__name__
            if top is not None and any(text in reason for text in _OTHER_ATOMS):
                raise StructureError(
                    f"{self._name}: the topology has {top.n_atoms} atoms, the frames another "
                    "number; give the topology of the same atoms (top, --top)"
                ) from None
            reason = reason.splitlines()[-1].strip()  # HDF5 tells its calls first
            raise StructureError(
                f"{self._name}: cannot be read ({reason}); give a structure file, or a trajectory "
                "in an MDTraj format and its topology (top, --top)"
            ) from None

    def _read(self, path: Path, top: mdtraj.Topology | None) -> None:
        md = require("mdtraj")
        if extension(path) in STRUCTURE_FILES:
            frames, crystal = structure_frames(path)
            return self._keep(frames, crystal=crystal)
        self._readable = ReadablePath(path)
        name, options = str(self._readable.path), {} if top is None else {"top": top}
        if mdtraj_extension(path) in RESTARTS:
            return self._keep(md.load(name, **options))
        try:
            with md.open(name) as handle:
                self.n_frames = len(handle)
        except TypeError:  # text formats have no length before they are read
            return self._keep(md.load(name, **options))
        first = next(md.iterload(name, chunk=_FIRST, **options), None)
        if first is None:
            raise StructureError(f"{self._name}: no frames")
        self.topology = _understood(first).topology
        warn_of_incomplete(self.topology, self._name)
        if self._protein_only:
            atoms = self._protein(self.topology)
            options["atom_indices"] = atoms
            self.topology = self.topology.subset(atoms)
        self._images = Images.of_topology(self.topology)
        self._path, self._options = self._readable.path, options
        return None


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
        is_path, source = isinstance(source, (str, os.PathLike)), local_file(source)
        if isinstance(source, ProteinStructure) or (
            is_path and extension(source) in STRUCTURE_FILES and not Path(source).is_dir()
        ):
            self._whole: ProteinStructure | None = load_structure(source)
            self.n_frames, self.topology = self._whole.n_frames, None
        else:
            self._whole, self._frames = None, FrameReader(source, top)
            self.n_frames, self.topology = self._frames.n_frames, self._frames.topology
            warn_of_lone_residues(self.topology, self._name)

    def blocks(self, start: int = 0, size: int = BLOCK) -> Iterator[ProteinStructure]:
        """Yield frames from `start` on in blocks of `size`."""
        for structure, _ in self.with_all_atoms(start, size):
            yield structure

    def with_all_atoms(
        self, start: int = 0, size: int = BLOCK
    ) -> Iterator[tuple[ProteinStructure, mdtraj.Trajectory | None]]:
        """Yield the blocks with their frames of all atoms; None where only the protein was read."""
        if self._whole is not None:
            for i in range(start, self.n_frames, size):
                yield self._whole.frames(slice(i, i + size)), None
            return
        for block in self._frames.blocks(start, size):
            finite = np.isfinite(block.xyz).all((1, 2))
            if not finite.all():
                raise StructureError(
                    f"{self._name}: frame {start + int((~finite).argmax())} has coordinates that "
                    "are not finite; remove it"
                )
            yield structure_of(block), block
            start += len(block)

    def load(self) -> ProteinStructure:
        """All frames."""
        return next(self.blocks(0, max(1, self.n_frames)))


def _understood(trajectory: mdtraj.Trajectory) -> mdtraj.Trajectory:
    """The trajectory with all bonds, one chain per protein, and names that PDB files can hold."""
    return with_short_names(divided(mended(trajectory)))


def read_topology(path: str | os.PathLike) -> mdtraj.Topology:
    """Topology of a file, named by `read_names`. Copy it before a change: the last one is cached.

    Raises
    ------
    StructureError
        The file is missing or MDTraj cannot read it.
    """
    if not Path(path).is_file():
        raise StructureError(f"{path}: no such file (top)")
    if extension(path) in HDF5_FILES:
        require("tables", "hdf5")
    try:
        return _topology_of(os.path.abspath(path), os.stat(path).st_mtime_ns)
    except Exception as error:  # MDTraj's readers raise errors of many types
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise StructureError(f"{path}: cannot be read as a topology ({reason})") from None


@lru_cache(maxsize=1)
def _topology_of(path: str, changed: int) -> mdtraj.Topology:
    """Cached for many trajectories; the key is the absolute path and the modification time."""
    readable = ReadablePath(Path(path))
    topology = require("mdtraj").load_topology(str(readable.path))
    read_names(topology, Path(path))
    return topology


def _in_folder(
    path: Path, top: str | os.PathLike | mdtraj.Topology | None
) -> tuple[Path, str | os.PathLike | mdtraj.Topology | None]:
    """Trajectory and topology of an ensemble folder; any other path must be a file."""
    if path.is_dir() and (path / "samples.xtc").exists():
        return path / "samples.xtc", top or path / "topology.pdb"
    if not path.is_file() and path.suffix != ".dtr":
        raise StructureError(
            f"{path}: no such file, nor a folder with samples.xtc and topology.pdb"
        )
    return path, top
