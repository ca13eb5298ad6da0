"""Periodic boxes: lattice steps and nearest images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import gemmi
    import mdtraj

SMALLEST = 1.0  # nm; lower boxes are placeholders ("1 1 1" in CRYST1), not simulation boxes
DENSEST = 1000  # atoms per nm³, ten times those of water; fuller boxes are placeholders too


def box_of(trajectory: mdtraj.Trajectory) -> np.ndarray | None:
    """Box vectors as rows, float64 [F, 3, 3] (nm); None if there is no usable box."""
    vectors = trajectory.unitcell_vectors
    return None if vectors is None else usable(np.asarray(vectors, np.float64))


def is_crystal(structure: gemmi.Structure) -> bool:
    """Whether the space group is other than P 1; only P 1 can be that of a simulation.

    The molecules of a crystal are placed by its authors.
    """
    return structure.spacegroup_hm.strip() not in ("", "P 1", "P1")


def cell_vectors(
    structure: gemmi.Structure, cells: Iterable[Sequence[float]] = ()
) -> np.ndarray | None:
    """Box vectors [1, 3, 3] (nm) of a structure file; None for placeholders.

    `cells`, the edges (Å) and angles (degrees) of each model, take the place of the only cell:
    [F, 3, 3].
    """
    kind = type(structure.cell)
    found = [kind(*cell) for cell in cells] or [structure.cell]
    box = usable(np.array([np.array(cell.orth.mat.tolist()).T for cell in found]) / 10)
    atoms = structure[0].count_atom_sites() if len(structure) else 0
    return None if box is None or atoms > DENSEST * np.linalg.det(box[0]) else box


def usable(box: np.ndarray) -> np.ndarray | None:
    """The box vectors [F, 3, 3], or None if a frame has none, or a height below 1 nm."""
    if not len(box) or not np.isfinite(box).all():
        return None
    volume = np.abs(np.linalg.det(box))
    faces = np.linalg.norm(np.cross(box[:, [1, 2, 0]], box[:, [2, 0, 1]]), axis=-1)
    return box if (volume[:, None] >= SMALLEST * faces).all() and (volume > 0).all() else None


def fractional(x: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Coordinates [F, A, 3] in units of the box vectors [F, 3, 3]."""
    return x.astype(np.float64) @ np.linalg.inv(box)


def nearest_image(vectors: np.ndarray, box: np.ndarray | None) -> np.ndarray:
    """Shortest periodic images of vectors [F, K, 3].

    The result is exact for images shorter than half of the smallest height of the box.
    """
    if box is None:
        return vectors
    steps = fractional(vectors, box)
    return (steps - np.rint(steps)) @ box
