"""Heavy atoms beside a protein that its residues must not overlap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .atoms import ATOM14
from .bonding import SLOTS, bonding
from .keep_selection import symbols

if TYPE_CHECKING:
    import mdtraj
    from mdtraj.core.topology import Residue


@dataclass(frozen=True, eq=False)
class Obstacles:
    """Positions of K heavy atoms in F frames.

    Attributes
    ----------
    xyz : ndarray, float32 [F, K, 3]
        nm.
    elements : tuple of str
        Symbols.
    bonded : ndarray, int [P, 2]
        Pairs one or two bonds apart: number of the obstacle, and of the protein's atom
        (15 * row + slot).
    part : ndarray, int [K], optional
        Rigid part of the protein that each atom belongs to (see `openmm_slm.validity.report`); -1:
        none.
    """

    xyz: np.ndarray
    elements: tuple[str, ...]
    bonded: np.ndarray
    part: np.ndarray | None = None

    def take(self, frames: np.ndarray) -> Obstacles:
        """Some of the frames, by numbers or a mask."""
        return replace(self, xyz=self.xyz[frames])


@dataclass(frozen=True, eq=False)
class ObstacleAtoms:
    """K heavy atoms of a topology that are obstacles in its frames.

    Attributes
    ----------
    index : ndarray, int [K]
        Their numbers in the topology.
    elements, bonded
        As in `Obstacles`.
    """

    index: np.ndarray
    elements: tuple[str, ...]
    bonded: np.ndarray

    @classmethod
    def of(
        cls,
        topology: mdtraj.Topology,
        residues: Iterable[Residue],
        rows: Mapping[int, int],
        sequence: str,
    ) -> ObstacleAtoms:
        """Heavy atoms of some residues.

        `rows` has the row of each residue of the protein, whose letters are `sequence`, by its
        index. Residues are known by their index: bonds of a copied topology have the atoms of the
        original.
        """
        inside, element = {residue.index for residue in residues}, symbols(topology)
        index = np.array(
            [a.index for a in topology.atoms
             if a.residue.index in inside and element[a.index] != "H"], int
        )  # fmt: skip
        bound = [
            (rows[a.residue.index], a.name, b.index)
            for pair in topology.bonds for a, b in (pair, pair[::-1])
            if a.residue.index in rows and b.residue.index in inside
        ]  # fmt: skip
        return cls(
            index,
            tuple(element[k] for k in index),
            bonded_pairs(topology, index, bound, sequence),
        )

    def at(self, xyz: np.ndarray) -> Obstacles:
        """The obstacles in frames [F, A, 3] of the topology."""
        return Obstacles(xyz[:, self.index], self.elements, self.bonded)


def bonded_pairs(
    topology: mdtraj.Topology,
    heavy: Iterable[int],
    bonds: Iterable[tuple[int, str, int]],
    sequence: str,
) -> np.ndarray:
    """`Obstacles.bonded` of the atoms `heavy` of a topology.

    `bonds` are those to the protein: row, atom name, atom of the topology.
    """
    number = {int(atom): k for k, atom in enumerate(heavy)}
    beside: dict[int, set[int]] = {}
    for a, b in topology.bonds:
        if a.index in number and b.index in number:
            beside.setdefault(a.index, set()).add(b.index)
            beside.setdefault(b.index, set()).add(a.index)
    pairs = set()
    for row, name, atom in bonds:
        letter = sequence[row]
        if name not in ATOM14[letter] or atom not in number:
            continue
        slot = ATOM14[letter].index(name)
        inside = bonding(letter, np.array([True])).bonds.tolist()
        next_to = {b if a == slot else a for a, b in inside if slot in (a, b)}
        pairs |= {(number[atom], SLOTS * row + s) for s in {slot, *next_to}}
        pairs |= {(number[n], SLOTS * row + slot) for n in beside.get(atom, ())}
    return np.array(sorted(pairs), int).reshape(-1, 2)
