"""Frames for MDAnalysis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import require

if TYPE_CHECKING:
    import MDAnalysis
    import mdtraj


def to_universe(trajectory: mdtraj.Trajectory) -> MDAnalysis.Universe:
    """A Universe with the frames in memory, all bonds, and the numbers and names of residues.

    Needs MDAnalysis (the extra ``mdanalysis``). MDAnalysis counts in Angstrom.
    """
    mda = require("MDAnalysis", "mdanalysis")
    topology = trajectory.topology.to_openmm()
    universe = mda.Universe(
        topology,
        10 * trajectory.xyz,
        topology_format="OPENMMTOPOLOGY",
        format=mda.coordinates.memory.MemoryReader,
        order="fac",
        dimensions=_box(trajectory),
    )
    # MDAnalysis numbers residues and chains from their position in the topology.
    residues = list(topology.residues())
    universe.residues.resids = universe.residues.resnums = [int(each.id) for each in residues]
    universe.add_TopologyAttr("icodes", [each.insertionCode.strip() for each in residues])
    universe.segments.segids = [chain.id for chain in topology.chains()]
    return universe


def _box(trajectory: mdtraj.Trajectory) -> np.ndarray | None:
    """Lengths (Angstrom) and angles (degrees) of the box of each frame [F, 6], or None."""
    if trajectory.unitcell_lengths is None:
        return None
    return np.concatenate([10 * trajectory.unitcell_lengths, trajectory.unitcell_angles], 1)
