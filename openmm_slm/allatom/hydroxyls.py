"""Torsions of hydroxyls and thiols: hydrogen bonds without clashes, chosen in each frame (NumPy).

The hydrogens of Ser, Thr, Cys and Tyr turn about one bond. Each frame takes the best of a few
torsions: short-ranged electrostatics with the polar atoms nearby (charges of about the size of
those in Amber ff14SB), and overlap with all atoms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import mdtraj

# Torsions H-O-C-C of Ser, Thr and Cys, and of Tyr, whose hydrogen lies in the plane of the ring.
TURNS = np.radians(np.arange(180, 540, 30.0))
IN_PLANE = np.radians([180.0, 0.0])
_FREE = {("SER", "OG"), ("THR", "OG1"), ("CYS", "SG"), ("TYR", "OH")}
_RANGE = 0.3  # nm from the hydrogen; no interaction reaches farther
_COULOMB = 138.9  # kJ/mol nm
_DONATED = {"O": 0.42, "S": 0.19}  # charge of the hydrogen, by its parent
_CARBONYL, _CARBOXYLATE, _HYDROXYL, _SULFUR, _LONE_PAIR = -0.58, -0.8, -0.65, -0.3, -0.55
_AMIDE = 0.3  # hydrogens on nitrogen
_CONTACT = {"H": 0.2, "C": 0.25, "N": 0.18, "O": 0.165, "S": 0.24}  # nm; closer atoms overlap
_OVERLAP = 12500.0  # kJ/mol/nm^2: 5 kJ/mol for 0.02 nm
_BLOCK = 2_000_000  # distances at a time


def is_free(atom: mdtraj.core.topology.Atom) -> bool:
    """True for the parent of a hydrogen that turns: O of Ser, Thr and Tyr, S of Cys."""
    return (atom.residue.name, atom.name) in _FREE


@dataclass(frozen=True, eq=False)
class Hydroxyls:
    """The R hydrogens that turn, among the A atoms of a topology.

    Attributes
    ----------
    atom, parent, stem : ndarray, int [R]
        The hydrogens, their parents, and the atoms that these are bonded to.
    near : ndarray, int [R, 4]
        See `PlacedAtoms`.
    local : ndarray, float32 [R, K, 3]
        Candidate positions in the local frame (nm).
    donated : ndarray, float32 [R]
        Charge of each hydrogen.
    charge, contact : ndarray, float32 [A]
        Charge of each atom, and the distance (nm) from a hydrogen below which it overlaps.
    """

    atom: np.ndarray
    parent: np.ndarray
    stem: np.ndarray
    near: np.ndarray
    local: np.ndarray
    donated: np.ndarray
    charge: np.ndarray
    contact: np.ndarray

    @classmethod
    def of(
        cls, topology: mdtraj.Topology, bonded: list[list[int]], near: dict[int, np.ndarray],
        local: dict[int, np.ndarray],
    ) -> Hydroxyls:  # fmt: skip
        """From the bonds, and the local frames and candidates of each hydrogen that turns."""
        atoms = list(topology.atoms)
        symbols = [atom.element.symbol for atom in atoms]
        free = sorted(near)
        charge = np.zeros(len(atoms), np.float32)
        for i, atom in enumerate(atoms):
            charge[i] = _charge(atom, symbols, bonded)
        contact = np.array([_CONTACT[symbol] for symbol in symbols], np.float32)
        parent = np.array([bonded[i][0] for i in free], int)
        stem = [next(j for j in bonded[p] if symbols[j] != "H") for p in parent.tolist()]
        widest = max((len(x) for x in local.values()), default=1)
        padded = [np.resize(local[i], (widest, 3)) for i in free]  # repeats the candidates
        return cls(
            np.array(free, int),
            parent,
            np.array(stem, int),
            np.array([near[i] for i in free], int).reshape(-1, 4),
            np.array(padded, np.float32).reshape(-1, widest, 3),
            np.array([_DONATED[symbols[p]] for p in parent.tolist()], np.float32),
            charge,
            contact,
        )

    def turn(self, xyz: np.ndarray, candidates: np.ndarray) -> None:
        """Set the hydrogens in place.

        Parameters
        ----------
        xyz : ndarray, float32 [F, A, 3]
            All other atoms; nm.
        candidates : ndarray, float32 [F, R, K, 3]
            Positions to choose from.
        """
        count = len(self.atom)
        step = max(1, _BLOCK // max(1, count * xyz.shape[1]))
        for start in range(0, len(xyz) if count else 0, step):
            part = slice(start, start + step)
            self._turn(xyz[part], candidates[part])

    def _turn(self, xyz: np.ndarray, candidates: np.ndarray) -> None:
        frames, count, turns, _ = candidates.shape
        parents = xyz[:, self.parent]
        centre = np.nan_to_num(xyz[:, :1])
        flat, around = parents - centre, xyz - centre
        square = (flat**2).sum(-1)[:, :, None] + (around**2).sum(-1)[:, None]
        square -= 2 * flat @ around.swapaxes(1, 2)
        square[:, :, self.atom] = np.inf
        for own in (self.parent, self.stem):  # at the same distance for all torsions
            square[:, np.arange(count), own] = np.inf
        reach = _RANGE + 0.14  # the longest bond, S-H, is 0.134 nm
        frame, which, other = np.nonzero(square < reach**2)
        delta = candidates[frame, which] - xyz[frame, other][:, None]
        cost = self._cost(
            delta, self.donated[which] * self.charge[other], self.contact[other]
        )  # fmt: skip
        total = np.zeros((frames * count, turns), np.float32)
        _add_groups(total, frame * count + which, cost)
        rows = np.arange(frames)[:, None], np.arange(count)
        best = total.reshape(frames, count, turns).argmin(-1)
        # Two hydroxyls may donate to each other: the later one sees the hydrogen of the earlier.
        chosen = candidates[(*rows, best)]
        frame, which, other = np.nonzero(
            (_squares(parents) < (2 * reach) ** 2) & np.tri(count, k=-1, dtype=bool)
        )
        delta = candidates[frame, which] - chosen[frame, other][:, None]
        cost = self._cost(delta, self.donated[which] * self.donated[other], _CONTACT["H"])
        _add_groups(total, frame * count + which, cost)
        best = total.reshape(frames, count, turns).argmin(-1)
        xyz[:, self.atom] = candidates[(*rows, best)]

    @staticmethod
    def _cost(delta: np.ndarray, charges: np.ndarray, contact: np.ndarray | float) -> np.ndarray:
        """Energy [P, K] (kJ/mol) of hydrogens at `delta` [P, K, 3] from other atoms."""
        distance = np.sqrt(np.einsum("pkx,pkx->pk", delta, delta))
        contact = np.reshape(contact, (-1, 1))
        cost = np.maximum(contact - distance, 0) ** 2 * np.float32(_OVERLAP)
        polar = np.flatnonzero(charges)
        near = distance[polar]
        falling = np.maximum(1 - near / np.float32(_RANGE), 0) ** 2 / np.maximum(near, 0.1)
        cost[polar] += np.float32(_COULOMB) * charges[polar, None] * falling
        return cost


def _charge(atom, symbols: list[str], bonded: list[list[int]]) -> float:
    """Charge of an atom; 0 unless it is polar."""
    i = atom.index
    symbol, around = symbols[i], [symbols[j] for j in bonded[i]]
    if symbol == "H":
        return {"N": _AMIDE, "O": _DONATED["O"]}.get(around[0], 0.0)
    if symbol == "S":
        return _SULFUR
    if symbol == "N":
        return _LONE_PAIR if len(around) == 2 and "H" not in around else 0.0
    if symbol == "O":
        if "H" in around:
            return _HYDROXYL
        ends = [j for j in bonded[bonded[i][0]] if symbols[j] == "O"]
        both = len(ends) == 2 and not any("H" in [symbols[k] for k in bonded[j]] for j in ends)
        return _CARBOXYLATE if both else _CARBONYL
    return 0.0


def _squares(points: np.ndarray) -> np.ndarray:
    """Squared distances [F, R, R] between points [F, R, 3]."""
    delta = points[:, :, None] - points[:, None]
    return np.einsum("frsx,frsx->frs", delta, delta)


def _add_groups(total: np.ndarray, group: np.ndarray, values: np.ndarray) -> None:
    """Add values [P, K] to the rows `group` [P] (ascending) of total [G, K]."""
    if len(group):
        start = np.flatnonzero(np.diff(group, prepend=-1))
        total[group[start]] += np.add.reduceat(values, start, 0)
