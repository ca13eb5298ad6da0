"""Frames with a deliberate fault each, which the relaxation has to repair."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..relaxation.judging import FrameJudge

if TYPE_CHECKING:
    import mdtraj

D_RESIDUE, TWISTED, NOISE = "a D residue", "a twisted peptide", "noise on the backbone"
FAULTS = (D_RESIDUE, TWISTED, NOISE)
NOISE_SIZE = 0.06  # nm, root mean square
TURN = np.radians(90)


def spoil(trajectory: mdtraj.Trajectory, fault: str) -> mdtraj.Trajectory:
    """Frames [F] with a fault in each, always in the same residues.

    Parameters
    ----------
    trajectory : mdtraj.Trajectory
        All atoms.
    fault : str
        `D_RESIDUE`: the side chain of a residue is reflected; `TWISTED`: N and H of a residue are
        turned by 90 degrees about the axis between two CA; `NOISE`: 0.06 nm on N, CA, C and O.
    """
    import mdtraj

    rng = np.random.default_rng(0)
    xyz, judge = trajectory.xyz.copy(), FrameJudge(trajectory.topology)
    usable = [row for row, a in enumerate(judge.protein.sequence) if a not in "GP" and row > 2]
    for x in xyz:
        if fault == NOISE:
            atoms = judge.index[:, :4]
            x[atoms] += rng.normal(0, NOISE_SIZE / np.sqrt(3), (*atoms.shape, 3))
            continue
        row = rng.choice(usable)
        atoms, before = (
            {atom.name: atom.index for atom in judge.residues[i].atoms} for i in (row, row - 1)
        )
        if fault == D_RESIDUE:
            _reflect(x, atoms)
        else:
            _twist(x, atoms, x[before["CA"]])
    return mdtraj.Trajectory(xyz, trajectory.topology)


def _reflect(x: np.ndarray, atoms: dict[str, int]) -> None:
    """Reflect the side chain through the plane of N, CA and C."""
    n, ca, c = (x[atoms[name]] for name in ("N", "CA", "C"))
    normal = np.cross(n - ca, c - ca)
    normal /= np.linalg.norm(normal)
    side = [i for name, i in atoms.items() if name not in ("N", "CA", "C", "O", "H")]
    x[side] -= 2 * ((x[side] - ca) @ normal)[:, None] * normal


def _twist(x: np.ndarray, atoms: dict[str, int], before: np.ndarray) -> None:
    """Turn N and H about the axis from the CA before to this one; C and O stay."""
    unit = (x[atoms["CA"]] - before) / np.linalg.norm(x[atoms["CA"]] - before)
    moved = [atoms[name] for name in ("N", "H") if name in atoms]
    along = ((x[moved] - before) @ unit)[:, None] * unit
    across = x[moved] - before - along
    across = np.cos(TURN) * across + np.sin(TURN) * np.cross(unit, across)
    x[moved] = before + along + across
