"""The frame of simulations nearest to their mean structure, the best template for samples of them.

Samples fluctuate about their template. From any other frame, the mean of each distance is off by
about as much as the distance fluctuates.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..analysis.fluctuations import deviations, mean_structure
from ..files.frame_reader import StructureReader
from .md_frames import MDFrames, Simulation

if TYPE_CHECKING:
    import mdtraj

CENTRAL = "central.pdb"  # in the directory of the tuned model


def central_frame(frames: MDFrames) -> int:
    """Number of the frame of the training part whose CA are nearest to their mean structure."""
    ca = frames.train[:, :, 1].astype(np.float64)
    mean = mean_structure(ca, np.full(len(ca), 1 / len(ca)))
    return int((deviations(ca, mean) ** 2).sum(1).argmin())


def central_template(frames: MDFrames) -> mdtraj.Trajectory:
    """N, CA, C and O of the central frame."""
    number = central_frame(frames)
    return frames.trajectory(frames.train[number : number + 1])


def write_central_frame(simulations: Sequence[Simulation], frames: MDFrames, path: Path) -> None:
    """Write the central frame with all its atoms but waters, as a PDB file."""
    simulation, frame = frames.train_places[central_frame(frames)]
    source = simulations[simulation]
    _, block = next(StructureReader(source.source, source.top).with_all_atoms(frame, 1))
    if block is None:  # a file of which only the protein was read
        block = central_template(frames)
    block.atom_slice(block.topology.select("not water")).save_pdb(str(path))
