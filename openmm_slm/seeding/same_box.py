"""Boxes of equal size with equal numbers of waters and ions, for frames of one protein."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from ..errors import require
from .solvating import MOLECULES, Counts, Solvated

if TYPE_CHECKING:
    from openmm import app


class SameBoxes:
    """Solvated frames, each reduced to the numbers of molecules that all frames have.

    Surplus waters, farthest from the protein first, and surplus ions are removed. Boxes stay
    neutral, because their ions differ by pairs. All frames share one topology.

    Parameters
    ----------
    n_protein : int
        Number of atoms of the protein and what is kept beside it; they come first.
    solvated : iterable of (int, Solvated)
        Frame number, and the solvated frame. All boxes have the same width.

    Attributes
    ----------
    counts : Counts
        Molecules in each box.
    """

    def __init__(self, n_protein: int, solvated: Iterable[tuple[int, Solvated]]) -> None:
        self._protein: dict[int, np.ndarray] = {}
        self._solvent: dict[int, dict[str, np.ndarray]] = {}
        first = None
        for frame, wet in solvated:
            first = first or wet
            self._protein[frame] = wet.xyz[:n_protein]
            self._solvent[frame] = _molecules(wet, n_protein)
        least = {
            name: min(len(each[name]) for each in self._solvent.values()) for name in MOLECULES
        }
        self.counts = Counts(*least.values())
        self._topology = _cut(first, least, n_protein)
        self._order = [residue.name for residue in _solvent(self._topology, n_protein)]

    def of(self, frame: int) -> Solvated:
        """Solvated box of a frame."""
        left = {name: iter(each) for name, each in self._solvent[frame].items()}
        solvent = [next(left[name]) for name in self._order]
        return Solvated(
            self._topology, np.concatenate([self._protein[frame], *solvent]), self.counts
        )


def _molecules(wet: Solvated, n_protein: int) -> dict[str, np.ndarray]:
    """Coordinates [M, atoms, 3] of the molecules of each name; waters nearest the protein first."""
    nm = require("openmm.unit").nanometer
    rows = {name: [] for name in MOLECULES}
    for residue in _solvent(wet.topology, n_protein):
        rows[residue.name].append([atom.index for atom in residue.atoms()])
    found = {name: wet.xyz[np.array(each, int)] for name, each in rows.items()}
    water = found[MOLECULES[0]]
    box = np.array(wet.topology.getPeriodicBoxVectors().value_in_unit(nm))
    distance = _distance(water[:, 0], wet.xyz[:n_protein], box)
    return found | {MOLECULES[0]: water[np.argsort(distance, kind="stable")]}


def _distance(points: np.ndarray, protein: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Distance [P] from points to the nearest protein atom, periodic images included."""
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3) @ box
    images = (protein[None] + shifts[:, None]).reshape(-1, 3)
    return require("scipy.spatial").cKDTree(images).query(points)[0]


def _solvent(topology: app.Topology, n_protein: int) -> list[app.topology.Residue]:
    """Waters and ions of the solvent: not those that were kept beside the protein."""
    return [
        residue for residue in topology.residues()
        if residue.name in MOLECULES and next(residue.atoms()).index >= n_protein
    ]  # fmt: skip


def _cut(wet: Solvated, least: dict[str, int], n_protein: int) -> app.Topology:
    """Topology with `least` molecules of each name; molecules of one name are interchangeable."""
    nm = require("openmm.unit").nanometer
    modeller = require("openmm.app").Modeller(wet.topology, wet.xyz * nm)
    residues = _solvent(wet.topology, n_protein)
    modeller.delete(
        [each for name in least for each in [r for r in residues if r.name == name][least[name] :]]
    )
    return modeller.topology
