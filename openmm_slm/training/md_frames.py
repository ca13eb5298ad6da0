"""Frames of simulations of one protein as a shard directory; the end of each is held back."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..allatom.completer import with_oxygens
from ..comparison.coverage import evenly
from ..data.shards import ShardDataset, ShardWriter
from ..errors import StructureError, counted
from ..files.checksum import file_checksum
from ..files.frame_reader import StructureReader
from ..protein.sequence import parse_sequence
from ..protein.structure import ProteinStructure
from ..protein.trajectory import backbone_trajectory
from ..protein.unmodelled import residue_label
from .finetuning_settings import FEWEST, HELD_BACK

if TYPE_CHECKING:
    import mdtraj

SHORTEST = 10  # residues
TRAIN, HELD = "train", "val"  # splits of the shards


@dataclass(frozen=True)
class Simulation:
    """A trajectory to learn from.

    Attributes
    ----------
    source : path or mdtraj.Trajectory
    top : path or mdtraj.Topology, optional
    name : str
    n_frames : int
    sha256 : str
        Of the file; of the coordinates if there is no file.
    """

    source: object
    top: object
    name: str
    n_frames: int
    sha256: str

    @classmethod
    def of(cls, source: object, top: object, number: int) -> Simulation:
        """Open a trajectory, to see how many frames it has.

        Raises
        ------
        StructureError
            See `openmm_slm.files.frame_reader.FrameReader`.
        """
        if not isinstance(source, (str, os.PathLike)):
            frames = StructureReader(source).n_frames
            xyz = getattr(source, "trajectory", source).xyz
            digest = hashlib.sha256(np.ascontiguousarray(xyz).tobytes()).hexdigest()
            return cls(source, None, f"trajectory {number + 1}", frames, digest)
        frames = StructureReader(source, top).n_frames
        path = Path(source)
        path = path / "samples.xtc" if path.is_dir() else path
        digest = file_checksum(path) if path.is_file() else ""
        return cls(source, top, str(source), frames, digest)

    @property
    def held_back(self) -> int:
        """Frames at the end that are held back."""
        return max(1, round(HELD_BACK * self.n_frames)) if self.n_frames > 1 else 0

    def record(self) -> dict[str, object]:
        """What the model card says of it."""
        return {
            "name": self.name, "frames": self.n_frames, "held_back": self.held_back,
            "sha256": self.sha256[:16],
        }  # fmt: skip


def open_simulations(
    sources: Sequence[object], top: str | os.PathLike | mdtraj.Topology | None
) -> list[Simulation]:
    """Open all trajectories.

    Raises
    ------
    StructureError
        A file cannot be read, or there are too few frames.
    """
    if not sources:
        raise StructureError("no trajectory to learn from; give one or more")
    found = [Simulation.of(source, top, number) for number, source in enumerate(sources)]
    total = sum(each.n_frames for each in found)
    if total < FEWEST:
        raise StructureError(
            f"{counted(total, 'frame')} in {', '.join(each.name for each in found)}; fine-tuning "
            f"needs {FEWEST} or more: give a longer trajectory, or several"
        )
    return found


def write_frames(simulations: Sequence[Simulation], directory: Path, most: int) -> None:
    """Write about `most` evenly spaced backbones; ``index.csv`` comes last.

    Raises
    ------
    StructureError
        The proteins differ, a residue lacks N, CA or C, or the chain is too short.
    """
    share = min(1.0, most / sum(each.n_frames for each in simulations))
    writer, first = ShardWriter(directory, atoms=4, prefix="backbone"), None
    for number, simulation in enumerate(simulations):
        kept = _kept(simulation, share)
        reader, begin = StructureReader(simulation.source, simulation.top), 0
        for block in reader.blocks():
            rows = [frame for frame in range(begin, begin + block.n_frames) if frame in kept]
            begin += block.n_frames
            if not rows:
                continue
            block = with_oxygens(block)
            if first is None:
                first = (simulation.name, block)
                _check(block, simulation.name)
            _compare(block, simulation.name, *reversed(first))
            for frame in rows:
                backbone = block.backbone[frame - begin + block.n_frames]
                if not np.isfinite(backbone).all():
                    row = int((~np.isfinite(backbone).all((1, 2))).argmax())
                    raise StructureError(
                        f"{simulation.name}: {residue_label(block, row)} lacks N, CA, C or O; "
                        "build its backbone first (`openmm-slm complete`)"
                    )
                writer.add(
                    f"t{number}_{frame}", block.chain_sequences, backbone, block.chain_break,
                    block.residue_number, block.chain_index, split=kept[frame],
                    cluster=f"t{number}",
                )  # fmt: skip
    writer.close()


def _place(name: str) -> tuple[int, int]:
    """Trajectory and frame from a name in the shards, such as ``t0_25``."""
    number, frame = name[1:].split("_")
    return int(number), int(frame)


def _kept(simulation: Simulation, share: float) -> dict[int, str]:
    """Numbers of the frames to use, and their splits."""
    end = simulation.n_frames - simulation.held_back
    kept = {}
    for split, begin, size in ((TRAIN, 0, end), (HELD, end, simulation.held_back)):
        if size:
            chosen = evenly(size, max(1, round(share * size)))
            kept |= {begin + int(frame): split for frame in chosen}
    return kept


def _check(structure: ProteinStructure, name: str) -> None:
    parse_sequence(structure.chain_sequences)
    if structure.n_residues < SHORTEST:
        raise StructureError(
            f"{name}: {counted(structure.n_residues, 'residue')}; fine-tuning needs {SHORTEST} or "
            "more"
        )


def _compare(ours: ProteinStructure, name: str, first: ProteinStructure, its: str) -> None:
    """Raise StructureError unless both have the same chains and residues."""
    a, b = ours.chain_sequences, first.chain_sequences
    if a != b:
        row = next(
            (k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
        )
        raise StructureError(
            f"{name} has another protein than {its}: {len(a.split(':'))} and {len(b.split(':'))} "
            f"chains, {ours.n_residues} and {first.n_residues} residues, different from residue "
            f"{row + 1} on; fine-tune one model per protein"
        )
    if not np.array_equal(ours.residue_index, first.residue_index):
        raise StructureError(
            f"{name} has other residue numbers or chain breaks than {its}; give trajectories with "
            "the same numbering"
        )


@dataclass(frozen=True, eq=False)
class MDFrames:
    """The frames of a shard directory that `write_frames` made.

    Attributes
    ----------
    sequence : str
        ``:`` between chains.
    train, held : ndarray, float32 [F, L, 4, 3]
        Backbones, nm, in the order of time.
    train_places : list of (int, int)
        Trajectory, and frame in it, of each frame of `train`.
    held_lengths : list of int
        Held-back frames of each trajectory.
    index, number : ndarray, int32 [L]
        Residue index, and residue number.
    """

    sequence: str
    train: np.ndarray
    held: np.ndarray
    train_places: list[tuple[int, int]]
    held_lengths: list[int]
    index: np.ndarray
    number: np.ndarray

    @classmethod
    def read(cls, directory: Path) -> MDFrames:
        """Read all frames."""
        parts = {split: ShardDataset(directory, split) for split in (TRAIN, HELD)}
        stacked = {
            split: np.stack([data[k].backbone for k in range(len(data))])
            for split, data in parts.items()
        }
        held, row = parts[HELD], parts[TRAIN].rows[0]
        return cls(
            row["sequence"],
            stacked[TRAIN],
            stacked[HELD],
            [_place(row["id"]) for row in parts[TRAIN].rows],
            [len(group) for group in held.clusters()],
            parts[TRAIN][0].residue_index,
            parts[TRAIN].residue_numbers(0),
        )

    def trajectory(self, backbone: np.ndarray) -> mdtraj.Trajectory:
        """Backbones [F, L, 4, 3] as a Trajectory."""
        return backbone_trajectory(backbone, self.sequence, None, self.number)
