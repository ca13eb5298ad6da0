"""Frames of simulations that are good templates for samples of them.

Samples fluctuate about their template. Of single frames, the one nearest to the mean structure is
the best: from another, the mean of each distance is off by about as much as the distance
fluctuates. Several frames also represent states that one template does not reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..analysis.fluctuations import deviations, mean_structure
from ..comparison.coverage import evenly
from ..errors import require
from ..files.frame_reader import StructureReader
from ..protein.keep_selection import other_residues
from ..protein.kept_images import beside_protein
from .md_frames import MDFrames, Simulation

if TYPE_CHECKING:
    import mdtraj

#: Files in the directory of the tuned model.
CENTRAL, SEVERAL = "central.pdb", "frames.pdb"
NUMBER = 10  # frames in `SEVERAL`


def central_frame(frames: MDFrames) -> int:
    """Number of the frame of the training part whose CA are nearest to their mean structure."""
    ca = frames.train[:, :, 1].astype(np.float64)
    mean = mean_structure(ca, np.full(len(ca), 1 / len(ca)))
    return int((deviations(ca, mean) ** 2).sum(1).argmin())


def starting_structures(frames: MDFrames, name: str) -> mdtraj.Trajectory:
    """N, CA, C and O of the frames that the file of this name has."""
    return frames.trajectory(frames.train[_chosen(frames, name)])


def _chosen(frames: MDFrames, name: str) -> np.ndarray:
    """Numbers of the frames of a file: the central one, or evenly spaced ones."""
    if name == CENTRAL:
        return np.array([central_frame(frames)])
    return evenly(len(frames.train), min(NUMBER, len(frames.train)))


def write_starting_structures(
    simulations: Sequence[Simulation], frames: MDFrames, folder: Path
) -> None:
    """Write the files, with all atoms but waters; only the backbone if simulations differ."""
    readers = [StructureReader(each.source, each.top) for each in simulations]
    for name in (CENTRAL, SEVERAL):
        places = [frames.train_places[k] for k in _chosen(frames, name)]
        found = [_whole(readers[number], frame) for number, frame in places]
        first = found[0]
        if any(each is None or each.topology != first.topology for each in found):
            made = starting_structures(frames, name)
        else:
            made = require("mdtraj").join(found)
        made.save_pdb(str(folder / name))


def _whole(reader: StructureReader, frame: int) -> mdtraj.Trajectory | None:
    """A frame without waters and box; None from a file of which only the protein is read.

    Ligands and ions are in the periodic image nearest to the protein.
    """
    _, block = next(reader.with_all_atoms(frame, 1))
    if block is None:
        return None
    block = block.atom_slice(block.topology.select("not water"))
    block = beside_protein(block, other_residues(block.topology))
    block.unitcell_vectors = None
    return block
