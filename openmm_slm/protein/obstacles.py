"""Heavy atoms beside a protein that its residues must not overlap."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .atoms import ATOM14
from .bonding import SLOTS, bonding

if TYPE_CHECKING:
    import mdtraj


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
