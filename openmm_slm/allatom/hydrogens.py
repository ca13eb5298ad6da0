"""Place hydrogens and OXT of many frames at once, in local frames of heavy atoms.

The position of a hydrogen follows from the heavy neighbours of its parent by ideal bond lengths
and angles (sp2 and sp3 centres; values of Amber ff14SB, Maier et al., 2015). Only the torsions of
hydroxyls and thiols are free; each frame chooses its own (`hydroxyls`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..projection.end_oxygens import C_OXT, CA_C_OXT
from ..protein.geometry import unit_vector
from .hydroxyls import IN_PLANE, TURNS, Hydroxyls, is_free

if TYPE_CHECKING:
    import mdtraj

X_H = {"C": 0.109, "N": 0.101, "O": 0.096, "S": 0.1336}  # nm
TETRAHEDRAL = np.arccos(-1 / 3)
HALF_H_X_H = np.radians(54.0)  # half of the angle H-X-H of a parent with two heavy neighbours
X_O_H, C_O_H, C_S_H = np.radians(108.5), np.radians(113.0), np.radians(96.0)
CHUNK = 64  # MiB of temporary arrays


@dataclass(frozen=True, eq=False)
class PlacedAtoms:
    """Recipe that places all atoms of an `AllAtomTopology` from the heavy atoms.

    The local frame of an atom has its parent p as origin and axes from the heavy atoms a, b, c near
    p: e1 ~ u_a + w_b u_b + w_c u_c (u: unit vectors from p), e3 ~ u_a x u_b and e2 = e3 x e1.

    Attributes
    ----------
    heavy, heavy_at : ndarray, int [H]
        Atoms that are copied, and their indices in atom14 flattened to [L * 14].
    placed : ndarray, int [P]
        Atoms that are computed.
    near : ndarray, int [P, 4]
        p, a, b, c of each computed atom, as indices in the flattened atom14.
    weight : ndarray, float32 [P, 2]
        w_b, w_c: 1 if the atom is bonded to p and contributes to e1.
    local : ndarray, float32 [P, 3]
        Coordinates along e1, e2, e3 (nm).
    hydroxyls : Hydroxyls
        Hydrogens with a free torsion; they are among `placed` too.
    """

    heavy: np.ndarray
    heavy_at: np.ndarray
    placed: np.ndarray
    near: np.ndarray
    weight: np.ndarray
    local: np.ndarray
    hydroxyls: Hydroxyls

    @classmethod
    def of(cls, topology: mdtraj.Topology, residue: np.ndarray, slot: np.ndarray) -> PlacedAtoms:
        """Make the recipe for the atoms that are not in atom14 (slot -1).

        Parameters
        ----------
        topology : mdtraj.Topology
            A atoms, with all bonds.
        residue, slot : ndarray, int [A]
            Row and slot of each atom in atom14; slot -1 for hydrogens and OXT.
        """
        at = np.where(slot < 0, -1, residue * 14 + slot)
        bonded: list[list[int]] = [[] for _ in at]
        for one, other in topology.bonds:
            bonded[one.index].append(other.index)
            bonded[other.index].append(one.index)
        atoms = list(topology.atoms)
        placed = np.flatnonzero(at < 0)
        siblings: dict[int, list[int]] = {}  # hydrogens of each parent, sorted by name
        for atom in sorted(placed.tolist(), key=lambda i: atoms[i].name):
            siblings.setdefault(bonded[atom][0], []).append(atom)
        recipes = {}
        free_near, free_local = {}, {}
        for parent, group in siblings.items():
            # Neighbours closer to the main chain come first, as in atom14.
            around = sorted((i for i in bonded[parent] if at[i] >= 0), key=lambda i: at[i])
            if _parent_is(atoms[parent], "PRO", "CD"):
                around.sort(key=lambda i: atoms[i].name != "CG")
            near = around
            if len(around) == 1:
                beyond = sorted(
                    (i for i in bonded[around[0]] if at[i] >= 0 and i != parent),
                    key=lambda i: at[i],
                )
                near = [around[0], beyond[0]]
            near = [*near, near[-1]][:3]
            local = _local_positions(atoms, parent, group, len(around))
            weight = float(len(around) > 1), float(len(around) > 2)
            if atoms[group[0]].name == "OXT":
                weight = 0.0, 0.0
            if is_free(atoms[parent]):
                free_near[group[0]], free_local[group[0]] = at[[parent, *near]], local
                local = local[:1]
            for atom, xyz in zip(group, local, strict=True):
                recipes[atom] = (at[[parent, *near]], weight, xyz)
        ordered = [recipes[atom] for atom in placed.tolist()]
        heavy = np.flatnonzero(at >= 0)
        return cls(
            heavy,
            at[heavy],
            placed,
            np.array([r[0] for r in ordered], np.int64).reshape(-1, 4),
            np.array([r[1] for r in ordered], np.float32).reshape(-1, 2),
            np.array([r[2] for r in ordered], np.float32).reshape(-1, 3),
            Hydroxyls.of(topology, bonded, free_near, free_local),
        )

    def place(self, atom14: np.ndarray) -> np.ndarray:
        """Place all atoms of frames.

        Parameters
        ----------
        atom14 : ndarray [F, L, 14, 3]
            Heavy atoms, nm. A NaN atom gives NaN for itself and for the hydrogens near it.

        Returns
        -------
        ndarray, float32 [F, A, 3]
            nm, in the order of the topology.
        """
        atom14 = np.asarray(atom14, np.float32)
        flat = atom14.reshape(len(atom14), 14 * atom14.shape[1], 3)
        count = len(self.heavy) + len(self.placed)
        out = np.empty((len(flat), count, 3), np.float32)
        step = max(1, CHUNK * 2**20 // (150 * max(1, len(self.placed))))
        for start in range(0, len(flat), step):
            part = flat[start : start + step]
            out[start : start + step, self.heavy] = part[:, self.heavy_at]
            out[start : start + step, self.placed] = _in_frames(
                part, self.near, self.weight, self.local[:, None]
            )[:, :, 0]
            free = self.hydroxyls
            candidates = _in_frames(part, free.near, np.zeros((1, 2), np.float32), free.local)
            free.turn(out[start : start + step], candidates)
        return out


def _in_frames(
    flat: np.ndarray, near: np.ndarray, weight: np.ndarray, local: np.ndarray
) -> np.ndarray:
    """Positions [F, P, K, 3] of local coordinates [P, K, 3] in frames [F, L * 14, 3].

    `near` [P, 4] and `weight` [P, 2] are as in `PlacedAtoms`.
    """
    parent = flat[:, near[:, 0]]
    with np.errstate(invalid="ignore", divide="ignore"):
        a, b, c = (unit_vector(flat[:, near[:, i]] - parent) for i in (1, 2, 3))
        e3 = unit_vector(np.cross(a, b))
        e1 = unit_vector(a + weight[:, :1] * b + weight[:, 1:] * c)
        e2 = np.cross(e3, e1)
        x, y, z = (local[:, :, i : i + 1] for i in range(3))
        parent, e1, e2, e3 = (v[:, :, None] for v in (parent, e1, e2, e3))
        return parent + x * e1 + y * e2 + z * e3


def _parent_is(atom, residue: str, name: str) -> bool:
    return atom.name == name and atom.residue.name == residue


def _local_positions(atoms, parent, group, neighbours) -> np.ndarray:
    """Local coordinates [len(group), 3] of the hydrogens `group` of one parent, sorted by name.

    Those of a hydroxyl or thiol are candidates [K, 3]. `neighbours` is the number of heavy atoms
    bonded to the parent.
    """
    element = atoms[parent].element.symbol
    length = X_H[element]
    if atoms[group[0]].name == "OXT":
        return _from_torsions(C_OXT, CA_C_OXT, [np.pi])
    if neighbours > 1:
        if len(group) == 1:  # sp2, or sp3 with three heavy neighbours: on the opposite side
            return np.array([[-length, 0.0, 0.0]])
        # Viewed along a -> parent, b and hydrogens 2 and 3 are clockwise (IUPAC-IUB, 1970).
        x, z = -length * np.cos(HALF_H_X_H), length * np.sin(HALF_H_X_H)
        return np.array([[x, 0.0, -z], [x, 0.0, z]])
    if len(group) == 3 or _parent_is(atoms[parent], "LYS", "NZ"):  # staggered, clockwise
        return _from_torsions(length, TETRAHEDRAL, np.radians([180.0, 300.0, 60.0])[: len(group)])
    if len(group) == 2:  # planar NH2, the first hydrogen cis to the main chain
        return _from_torsions(length, np.radians(120.0), [0.0, np.pi])
    if not is_free(atoms[parent]):  # an acid: syn to the other oxygen, the stable form
        return _from_torsions(length, C_O_H, [np.pi])
    if atoms[parent].residue.name == "TYR":
        return _from_torsions(length, C_O_H, IN_PLANE)
    return _from_torsions(length, C_S_H if element == "S" else X_O_H, TURNS)


def _from_torsions(length: float, angle: float, torsions) -> np.ndarray:
    """Local coordinates of atoms from angle atom-p-a and torsions atom-p-a-b, where e1 is u_a."""
    t = -np.asarray(torsions, float)  # rotation from e2 to e3 is opposite to the IUPAC sense
    side = length * np.sin(angle)
    return np.stack(
        [np.full(len(t), length * np.cos(angle)), side * np.cos(t), side * np.sin(t)], -1
    )
