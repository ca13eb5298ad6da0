"""Groups of a template that are not protein and that frames made from it keep.

Each group rides rigidly with the residues near it: it follows their least-squares superposition
from the template to the frame.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StructureError, require
from .atoms import ATOM14
from .chains import copied, protein_chains
from .keep_selection import (
    AUTO,
    COORDINATION,
    TOUCHING,
    is_metal,
    kept_residues,
    molecules,
    residue_name,
    symbols,
)
from .obstacles import Obstacles, bonded_pairs
from .superposition import superpose
from .trajectory import atom_slots

if TYPE_CHECKING:
    import mdtraj

logger = logging.getLogger(__name__)

AROUND = 0.8  # nm; residues with backbone atoms this close carry a group
_BOUND = 20  # weight of the atoms of side chains that bind a group; those of backbones have 1
_FEWEST = 4  # residues that carry a group, if fewer are near
_TAUTOMER = {"NE2": "HID", "ND1": "HIE"}  # of histidine, by the nitrogen that binds a metal
_CB, _FIRST_SIDE_ATOM = 4, 5  # slots
_SAME_PLACE = 2e-3  # nm


@dataclass(frozen=True, eq=False)
class KeptGroups:
    """K atoms of the kept groups in T frames of a template of L residues.

    Attributes
    ----------
    topology : mdtraj.Topology
        The kept atoms, with the names, numbers and chains of the template.
    xyz : ndarray, float32 [T, K, 3]
        nm.
    group : ndarray, int [K]
        Rigid body of each atom.
    sequence : str
        L letters of the protein, chains concatenated.
    atom14 : ndarray, float32 [T, L, 14, 3]
        The protein beside them, NaN where absent.
    bonds : tuple of (int, str, int)
        Covalent bonds to the protein: row, atom name, number of the kept atom.
    held : tuple of (int, str)
        Rows whose side chains bind a group, and their protonation ("" if any will do).
    """

    topology: mdtraj.Topology
    xyz: np.ndarray
    group: np.ndarray
    sequence: str
    atom14: np.ndarray
    bonds: tuple[tuple[int, str, int], ...] = ()
    held: tuple[tuple[int, str], ...] = field(default=())

    @classmethod
    def of(
        cls, trajectory: mdtraj.Trajectory, keep: str, rows: np.ndarray, sequence: str,
        atom14: np.ndarray, source: object = "the template",
    ) -> KeptGroups | None:  # fmt: skip
        """Groups of a trajectory that `keep` names (`kept_residues`); None if there are none.

        Parameters
        ----------
        trajectory : mdtraj.Trajectory
            T frames with all atoms.
        keep : str
        rows : ndarray, int [M]
            Row of each protein residue of the trajectory; -1 for residues that are left out.
        sequence : str
            L letters.
        atom14 : ndarray, float32 [T, L, 14, 3]
            The protein by rows, in the place where the groups are wanted.
        source : object
            Name for messages.

        Raises
        ------
        StructureError
            See `kept_residues`; or coordinates of a group are not finite.
        """
        residues = kept_residues(trajectory, keep, source)
        if not residues:
            return None
        return cls.of_residues(trajectory, residues, rows, sequence, atom14, source)

    @classmethod
    def of_residues(
        cls, trajectory: mdtraj.Trajectory, residues: list[mdtraj.core.topology.Residue],
        rows: np.ndarray, sequence: str, atom14: np.ndarray, source: object = "the template",
    ) -> KeptGroups:  # fmt: skip
        """Groups of some residues of a trajectory; the arguments are those of `of`."""
        atoms = [atom.index for residue in residues for atom in residue.atoms]
        xyz = trajectory.xyz[:, atoms]
        unknown = {atom.residue for atom in map(trajectory.topology.atom, atoms)
                   if atom.element is None or not atom.element.symbol.strip()}  # fmt: skip
        if unknown or not np.isfinite(xyz).all():
            name = residue_name(next(iter(unknown), residues[0]))
            raise StructureError(
                f"{source}: {name} has atoms without {'element' if unknown else 'coordinates'}; "
                "complete the file, or leave the residue out (keep)"
            )
        body = molecules(trajectory, residues, TOUCHING)
        group = np.repeat(body, [residue.n_atoms for residue in residues])
        topology = _subset(trajectory.topology, atoms)
        own = [r for _, chain in protein_chains(trajectory.topology) for r in chain]
        row = {r.index: int(k) for r, k in zip(own, rows, strict=True) if k >= 0}
        kept = {atom: k for k, atom in enumerate(atoms)}
        bonds = sorted(
            (row[a.residue.index], a.name, kept[b.index])
            for pair in trajectory.topology.bonds for a, b in (pair, pair[::-1])
            if a.residue.index in row and b.index in kept
            and not is_metal(b.element.symbol)
        )  # fmt: skip
        xyz = _placed_like(trajectory, xyz, own, rows, atom14)
        found = cls(topology, xyz, group, sequence, atom14, tuple(bonds))
        return replace(found, held=tuple(sorted(found._holders().items())))

    def identity(self) -> dict[str, object]:
        """Entry of ``run.json``: names of the residues, and a checksum."""
        names = [residue_name(residue) for residue in self.topology.residues]
        digest = hashlib.sha256(self.xyz.tobytes()).hexdigest()
        return {"kept": names, "kept_sha256": digest[:16]}

    @property
    def heavy(self) -> np.ndarray:
        """Numbers of the heavy atoms."""
        return np.flatnonzero([symbol != "H" for symbol in symbols(self.topology)])

    def placed(
        self, backbone: np.ndarray, which: np.ndarray, steady: np.ndarray | None = None
    ) -> np.ndarray:
        """Positions of the kept atoms in frames, float32 [F, K, 3].

        Parameters
        ----------
        backbone : ndarray [F, L, 4 or 14, 3]
            Frames of the protein. Side chains that bind a group, where there are any, carry it with
            the backbone around it.
        which : ndarray, int [F]
            Frame of the template from which each was made.
        steady : ndarray, bool [L], optional
            Residues that may carry groups: those that are not built anew. Default: all.
        """
        out = self.xyz[which].copy()
        before, after = self.atom14[which], np.asarray(backbone)
        for number in np.unique(self.group):
            rows, bound = self.carriers(number, steady), self._bound(number, steady)
            a, b = (
                np.concatenate(
                    [x[:, rows, :3].reshape(len(x), -1, 3),
                     np.tile(x[:, bound, _CB:].reshape(len(x), -1, 3), (1, _BOUND, 1))], 1
                ) for x in (before, after)
            )  # fmt: skip
            mine = np.flatnonzero(self.group == number)
            still = ((a == b) | np.isnan(a)).all((1, 2))  # their atoms stay bit for bit
            _, rotation, shift = superpose(a, b)
            moved = out[:, mine] @ np.swapaxes(rotation, -1, -2) + shift[:, None]
            out[:, mine] = np.where(still[:, None, None], out[:, mine], moved)
        return out

    def carriers(self, number: int, steady: np.ndarray | None = None) -> np.ndarray:
        """Rows of the residues that carry a group: those around it, at least four."""
        near = self._distance(number)
        usable = np.isfinite(near) if steady is None else np.isfinite(near) & steady
        if not usable.any():
            usable = np.isfinite(near)
        near = np.where(usable, near, np.inf)
        within = min((near < AROUND).sum(), usable.sum())
        count = max(int(within), min(_FEWEST, int(usable.sum())))
        return np.sort(np.argsort(near, kind="stable")[:count])

    def parts(self, rigid: np.ndarray | None, steady: np.ndarray | None) -> np.ndarray | None:
        """Rigid part [K] of each atom (int [L] of the residues): that of most of its carriers."""
        if rigid is None:
            return None
        out = np.full(len(self.group), -1)
        for number in np.unique(self.group):
            inside = rigid[self.carriers(number, steady)]
            inside = inside[inside >= 0]
            if len(inside):
                out[self.group == number] = np.bincount(inside).argmax()
        return out

    def obstacles(self, xyz: np.ndarray, part: np.ndarray | None = None) -> Obstacles:
        """The heavy atoms at positions [F, K, 3]."""
        heavy = self.heavy
        elements = symbols(self.topology)
        return Obstacles(
            xyz[:, heavy],
            tuple(elements[k] for k in heavy),
            bonded_pairs(self.topology, heavy, self.bonds, self.sequence),
            None if part is None else part[heavy],
        )

    def with_side_chains(
        self, atom14: np.ndarray, which: np.ndarray, steady: np.ndarray
    ) -> np.ndarray:
        """Frames [F, L, 14, 3] with the template's side chains in residues that bind a group.

        Residues that have a side chain, or are not `steady`, stay as they are.
        """
        rows = [
            row for row, _ in self.held
            if steady[row] and not np.isfinite(atom14[:, row, _FIRST_SIDE_ATOM:]).any()
        ]  # fmt: skip
        if not rows:
            return atom14
        made, source = atom14.copy(), self.atom14[which][:, rows]
        moved, _, _ = superpose(source, made[:, rows], np.arange(14) < 3)
        made[:, rows, _CB:] = moved[:, :, _CB:]
        return made

    def coordinated(self, variants: tuple[str, ...]) -> tuple[str, ...]:
        """Protonation of L residues: those that bind a metal have no hydrogen where they do."""
        out = list(variants or [""] * self.atom14.shape[1])
        for row, variant in self.held:
            out[row] = variant or out[row]
        return tuple(out)

    def _bound(self, number: int, steady: np.ndarray | None) -> list[int]:
        """Rows of the residues whose side chains bind a group."""
        mine = self.xyz[0, self.group == number]
        rows = [row for row, _ in self.held if steady is None or steady[row]]
        near = []
        for row in rows:
            away = np.linalg.norm(self.atom14[0, row, _CB:, None] - mine, axis=-1)
            if np.nanmin(away, initial=np.inf) < COORDINATION:
                near.append(row)
        return near

    # -- inside ------------------------------------------------------------------------------

    def _distance(self, number: int) -> np.ndarray:
        """Smallest distance [L] of the backbone of each residue to a group; inf where absent."""
        heavy = self.heavy
        mine = heavy[self.group[heavy] == number]
        mine = mine if len(mine) else np.flatnonzero(self.group == number)
        backbone = self.atom14[0, :, :4]
        away = np.full(len(backbone), np.inf)
        known = np.isfinite(self.atom14[:, :, :3]).all((0, 2, 3))
        tree = require("scipy.spatial").cKDTree(self.xyz[0, mine])
        x = np.where(np.isfinite(backbone[known]), backbone[known], 1e6)
        away[known] = tree.query(x)[0].min(1)
        return away

    def _holders(self) -> dict[int, str]:
        """`held`: residues with an atom at bonding distance of a metal, or bonded to a group."""
        metals = [k for k, symbol in enumerate(symbols(self.topology)) if is_metal(symbol)]
        found = {row: "" for row, _, _ in self.bonds}
        if not metals:
            return found
        side = self.atom14[0, :, _FIRST_SIDE_ATOM:]
        away = np.linalg.norm(side[:, :, None] - self.xyz[0, metals], axis=-1).min(-1)
        with np.errstate(invalid="ignore"):
            close = np.argwhere(away < COORDINATION)
        for row, slot in close.tolist():
            name = ATOM14[self.sequence[row]][slot + _FIRST_SIDE_ATOM]
            if name == "SG":
                found[row] = "CYM"
            elif name[0] in "NOS":
                found[row] = _TAUTOMER.get(name, "") if self.sequence[row] == "H" else ""
        return found


def together(states: list[KeptGroups | None], keep: str) -> KeptGroups | None:
    """Groups of several states of one protein, whose frames follow each other.

    Raises
    ------
    StructureError
        The states have other groups, and `keep` is not "auto", which then keeps none.
    """
    names = [
        [] if each is None else [(a.residue.name, a.name) for a in each.topology.atoms]
        for each in states
    ]
    if any(each != names[0] for each in names):
        number = next(k for k, each in enumerate(names) if each != names[0])
        text = (
            f"state {number} has other ligands or ions than state 0 (names of residues and atoms); "
            "select those that all states have (keep), or leave them out with keep='none'"
        )
        if keep != AUTO:
            raise StructureError(text)
        logger.warning("%s: nothing but protein is kept", text)
        return None
    first = states[0]
    if first is None:
        return None
    xyz, atom14 = (
        np.concatenate([getattr(each, name) for each in states]) for name in ("xyz", "atom14")
    )
    return replace(first, xyz=xyz, atom14=atom14)


def joined(
    topology: mdtraj.Topology, kept: KeptGroups, rows: np.ndarray | None = None
) -> mdtraj.Topology:
    """Topology of the protein with the kept groups behind it, as chains of their own.

    `rows` [R] is the row of each residue of the topology, -1 for caps. Default: 0, 1, ...
    """
    made = copied(topology)
    index = {
        int(row): k for k, row in enumerate(np.arange(made.n_residues) if rows is None else rows)
    }
    atoms = []
    for chain in kept.topology.chains:
        new = made.add_chain(chain.chain_id)
        for old in chain.residues:
            residue = made.add_residue(old.name, new, old.resSeq, old.segment_id)
            residue.insertion_code = getattr(old, "insertion_code", "")
            atoms += [made.add_atom(a.name, a.element, residue, a.serial) for a in old.atoms]
    for bond in kept.topology.bonds:
        made.add_bond(atoms[bond[0].index], atoms[bond[1].index], bond.type, bond.order)
    for row, name, k in kept.bonds:
        partner = [a for a in made.residue(index[row]).atoms if a.name == name]
        if partner:
            made.add_bond(partner[0], atoms[k])
    return made


def with_kept(
    trajectory: mdtraj.Trajectory, kept: KeptGroups, xyz: np.ndarray
) -> mdtraj.Trajectory:
    """Frames of the protein's residues with the kept atoms [F, K, 3] behind them."""
    whole = np.concatenate([trajectory.xyz, xyz], 1)
    return require("mdtraj").Trajectory(whole, joined(trajectory.topology, kept))


def _subset(topology: mdtraj.Topology, atoms: list[int]) -> mdtraj.Topology:
    """Topology of some atoms. Ions have no bonds: in force fields they have none."""
    made, chain, residue, new = require("mdtraj").Topology(), None, None, {}
    for atom in map(topology.atom, atoms):
        if residue is None or atom.residue is not residue:
            residue = atom.residue
            if residue.chain is not chain:
                chain = residue.chain
                into = made.add_chain(getattr(chain, "chain_id", None))
            last = made.add_residue(residue.name, into, residue.resSeq, residue.segment_id)
            last.insertion_code = getattr(residue, "insertion_code", "")
        new[atom.index] = made.add_atom(atom.name, atom.element, last)
    for bond in topology.bonds:
        ends = [new.get(atom.index) for atom in bond]
        if all(ends) and min(end.residue.n_atoms for end in ends) > 1:
            made.add_bond(*ends, bond.type, bond.order)
    return made


def _placed_like(
    trajectory: mdtraj.Trajectory,
    xyz: np.ndarray,
    residues: list[mdtraj.core.topology.Residue],
    rows: np.ndarray,
    atom14: np.ndarray,
) -> np.ndarray:
    """Coordinates [T, K, 3] beside `atom14`, which may be another image than the trajectory."""
    slots = atom_slots(residues)[:, :3]
    usable = (rows >= 0) & (slots >= 0).all(1)
    theirs = trajectory.xyz[:, slots[usable]].reshape(len(xyz), -1, 3)
    ours = atom14[:, rows[usable], :3].reshape(len(xyz), -1, 3)
    with np.errstate(invalid="ignore"):
        if not (np.abs(theirs - ours) > _SAME_PLACE).any():
            return xyz
    _, rotation, shift = superpose(theirs, ours)
    return (xyz @ np.swapaxes(rotation, -1, -2) + shift[:, None]).astype(np.float32)
