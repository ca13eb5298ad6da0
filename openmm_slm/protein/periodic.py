"""Molecules that a periodic box has cut are made whole before anything is measured.

Two steps, for the frames that need them only. Each atom moves by lattice vectors to the image that
is nearest to the atom it is bonded to: bonds are short, so that this holds for molecules of any
size. Then each protein chain that touches no other moves to the image that is nearest to another.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import counted, require
from .atoms import ATOM14
from .bonding import OXT, SLOTS, bonding
from .box import box_of, fractional, nearest_image
from .chains import divided, protein_chains
from .structure import ProteinStructure, find_chain_breaks

if TYPE_CHECKING:
    import mdtraj

logger = logging.getLogger(__name__)

CUT_BOND = 0.5  # nm; a longer bond joins two images
CONTACT = 1.0  # nm; chains whose CA are closer touch each other
#: Molecule of each atom [A], and (atoms, their neighbours towards the root) level by level.
Tree = tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]
_FRAMES = 20  # at once
_AT_ONCE = 3_000_000  # bonds times frames in memory
_NAMED = 10  # frames that a message names


class Images:
    """Bonds and protein residues of a topology, to make any number of its frames whole.

    Parameters
    ----------
    n_atoms : int
    bonds : ndarray, int [B, 2]
    alpha : ndarray, int [R]
        One atom of each protein residue.
    checked : ndarray, bool [B]
        Bonds that are searched for cuts.
    peptide : ndarray, bool [B]
        Peptide bonds. Readers also bond residues on both sides of a gap, so that a long one is no
        sign of a cut where there is no box.
    assemble : bool
        Move chains to each other. False for crystals, whose chains are where their authors want
        them.
    """

    def __init__(
        self,
        n_atoms: int,
        bonds: np.ndarray,
        alpha: np.ndarray,
        checked: np.ndarray,
        peptide: np.ndarray,
        *,
        assemble: bool = True,
    ) -> None:
        self.n_atoms, self.bonds, self.alpha = n_atoms, bonds, alpha
        self.checked, self.peptide, self.assemble = checked, peptide, assemble
        self._tree: Tree | None = None

    @classmethod
    def of_topology(cls, topology: mdtraj.Topology, *, assemble: bool = True) -> Images:
        """Heavy atoms of the protein are searched for cuts; all atoms move."""
        residues = [r for _, chain in protein_chains(topology) for r in chain]
        protein = {r.index for r in residues}
        bonds = list(topology.bonds)
        if not bonds:  # built by hand, without bonds
            topology = topology.copy()
            topology.create_standard_bonds()
            bonds = list(topology.bonds)
        light = [any(a.element is not None and a.element.symbol == "H" for a in b) for b in bonds]
        return cls(
            topology.n_atoms,
            np.array([(a.index, b.index) for a, b in bonds], int).reshape(-1, 2),
            np.array([_central(r) for r in residues], int),
            np.array([not h and {a.residue.index, b.residue.index} <= protein
                      for (a, b), h in zip(bonds, light, strict=True)], bool),
            np.array([a.residue.index != b.residue.index and {a.name, b.name} == {"C", "N"}
                      for a, b in bonds], bool),
            assemble=assemble,
        )  # fmt: skip

    def cut(self, xyz: np.ndarray, box: np.ndarray | None) -> np.ndarray:
        """bool [F]: a bond of the frame [F, A, 3] joins two images."""
        found = np.zeros(len(xyz), bool)
        bonds = self.bonds[self.checked]
        size = max(1, _AT_ONCE // max(1, len(bonds)))
        for start in range(0, len(xyz), size):
            block = slice(start, start + size)
            vectors = xyz[block, bonds[:, 1]] - xyz[block, bonds[:, 0]]
            length = np.linalg.norm(vectors, axis=-1)
            with np.errstate(invalid="ignore"):
                if box is None:
                    limit = np.where(self.peptide[self.checked], np.inf, CUT_BOND)
                    found[block] = (length > limit).any(1)
                else:
                    near = np.linalg.norm(nearest_image(vectors, box[block]), axis=-1)
                    found[block] = ((near < CUT_BOND) & (length - near > 0.01)).any(1)
        return found

    def whole(
        self, xyz: np.ndarray, box: np.ndarray | None, source: object = "the trajectory"
    ) -> np.ndarray:
        """Frames [F, A, 3] with whole molecules; the same array if nothing had to move.

        Without a box, a warning names the frames that are cut.
        """
        if box is None:
            _warn(source, np.flatnonzero(self.cut(xyz, None)))
            return xyz
        box = np.broadcast_to(box, (len(xyz), 3, 3))
        if self._tree is None:
            self._tree = self._molecules(xyz[0], box[:1])
        cut = self.cut(xyz, box)
        rows = np.flatnonzero(cut | self._in_other_images(xyz, box))
        moved, out = np.zeros(len(xyz), bool), xyz
        for part in np.array_split(rows, -(-len(rows) // _FRAMES)) if len(rows) else ():
            steps = self._steps(xyz[part], box[part])
            moved[part] = (steps != 0).any((1, 2))
            out = xyz.copy() if out is xyz and moved.any() else out
            out[part] = (xyz[part] + steps @ box[part]).astype(xyz.dtype)
        if moved.any():
            logger.info(
                "%s: molecules were cut by the box in %s, and chains in different images "
                "in %d more; they are whole now",
                source, counted(cut.sum(), "frame"), (moved & ~cut).sum(),
            )  # fmt: skip
            _warn(source, np.flatnonzero(self.cut(out, None) & moved))
        return out

    def _in_other_images(self, xyz: np.ndarray, box: np.ndarray) -> np.ndarray:
        """bool [F]: a chain is more than half a box away from the first one."""
        pieces = self._pieces()[1]
        if not self.assemble or len(pieces) < 2:
            return np.zeros(len(xyz), bool)
        places = fractional(xyz[:, self.alpha], box)
        centres = np.stack([places[:, rows].mean(1) for rows in pieces], 1)
        return (np.rint(np.nan_to_num(centres - centres[:, :1])) != 0).any((1, 2))

    def _pieces(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """Labels of the molecules with protein, and rows of `alpha` of each."""
        protein, piece = np.unique(self._tree[0][self.alpha], return_inverse=True)
        return protein, [np.flatnonzero(piece == k) for k in range(len(protein))]

    def _molecules(self, x: np.ndarray, box: np.ndarray) -> Tree:
        """Molecules and their trees of bonds in a frame [A, 3].

        Bonds that are long even to the nearest image are gaps.
        """
        graph = require("scipy.sparse.csgraph")
        vectors = (x[self.bonds[:, 1]] - x[self.bonds[:, 0]])[None]
        with np.errstate(invalid="ignore"):
            real = np.linalg.norm(nearest_image(vectors, box)[0], axis=-1) < CUT_BOND
        a, b = self.bonds[real].T
        size = self.n_atoms
        matrix = require("scipy.sparse").coo_array((np.ones(len(a)), (a, b)), (size, size)).tocsr()
        _, labels = graph.connected_components(matrix, directed=False)
        first = np.unique(labels, return_index=True)[1]
        # One tree over all molecules: an extra node is bonded to the first atom of each.
        a, b = np.append(a, first), np.append(b, np.full(len(first), size))
        matrix = require("scipy.sparse").coo_array((np.ones(len(a)), (a, b)), (size + 1, size + 1))
        order, parent = graph.breadth_first_order(matrix.tocsr(), size, directed=False)
        depth = np.zeros(size + 1, int)
        for atom in order[1:].tolist():
            depth[atom] = depth[parent[atom]] + 1
        atoms = order[np.argsort(depth[order], kind="stable")]
        atoms = np.split(atoms, np.cumsum(np.bincount(depth[order]))[:-1])[2:]
        return labels, [(part, parent[part]) for part in atoms]

    def _steps(self, x: np.ndarray, box: np.ndarray) -> np.ndarray:
        """Lattice steps of all atoms [f, A, 3] that make frames [f, A, 3] whole."""
        labels, levels = self._tree
        places = fractional(x, box)
        steps = np.zeros_like(places)
        for atoms, parents in levels:
            apart = places[:, atoms] - places[:, parents]
            steps[:, atoms] = steps[:, parents] - np.nan_to_num(np.rint(apart))
        protein, pieces = self._pieces()
        for frame in range(len(x)) if self.assemble and len(pieces) > 1 else ():
            alpha = (places[frame] + steps[frame])[self.alpha]
            moves = _assembled([alpha[rows] for rows in pieces], box[frame])
            for label, move in zip(protein, moves, strict=True):
                steps[frame, labels == label] += move
        of_protein = np.isin(labels, protein)
        steps[~steps[:, of_protein].any((1, 2))] = 0  # frames whose protein is whole
        other, rows = np.flatnonzero(~of_protein), np.flatnonzero(steps.any((1, 2)))
        if len(rows) and len(other):  # solvent and ligands follow
            places = places[rows] + steps[rows]
            centre = places[:, self.alpha].mean(1, keepdims=True)
            first = np.unique(labels, return_index=True)[1][labels[other]]
            away = np.nan_to_num(np.rint(places[:, first] - centre))
            steps[np.ix_(rows, other)] -= away
        return steps


def made_whole(trajectory: mdtraj.Trajectory, source: object) -> mdtraj.Trajectory:
    """The trajectory with one chain per protein and every protein in one piece.

    Returns the same object if nothing had to change. With a box, molecules are made whole and
    chains brought next to each other. Without one, a warning names the frames that are cut.

    Parameters
    ----------
    trajectory : mdtraj.Trajectory
    source : object
        Name for messages.
    """
    if getattr(trajectory, "topology", None) is None:  # the caller refuses it
        return trajectory
    trajectory = divided(trajectory)
    return with_whole_molecules(trajectory, Images.of_topology(trajectory.topology), source)


def with_whole_molecules(
    trajectory: mdtraj.Trajectory, images: Images, source: object
) -> mdtraj.Trajectory:
    """The trajectory with whole molecules; the same object if nothing had to move."""
    if not trajectory.n_frames:
        return trajectory
    xyz = images.whole(trajectory.xyz, box_of(trajectory), source)
    if xyz is trajectory.xyz:
        return trajectory
    made = require("mdtraj").Trajectory(xyz, trajectory.topology, time=trajectory.time)
    made.unitcell_vectors = trajectory.unitcell_vectors
    return made


def cut_frames(trajectory: mdtraj.Trajectory) -> np.ndarray:
    """Frames in which a bond between heavy atoms of the protein joins two images."""
    images = Images.of_topology(trajectory.topology)
    return np.flatnonzero(images.cut(trajectory.xyz, box_of(trajectory)))


def structure_made_whole(
    structure: ProteinStructure, box: np.ndarray | None, source: object
) -> ProteinStructure:
    """A structure with whole chains, next to each other; `box` [1, 3, 3] (nm) or None."""
    length = structure.n_residues
    chain_start = np.diff(structure.chain_index, prepend=-1) != 0
    bonds = bonding(structure.sequence, chain_start).bonds
    bonds = bonds[(bonds % SLOTS != OXT).all(1)]
    peptide = bonds[:, 0] // SLOTS != bonds[:, 1] // SLOTS
    bonds = bonds // SLOTS * 14 + bonds % SLOTS
    xyz = structure.atom14.reshape(structure.n_frames, 14 * length, 3)
    alpha = 14 * np.arange(length) + ATOM14["G"].index("CA")
    alpha = alpha[np.isfinite(xyz[0, alpha]).all(-1)]
    if not len(alpha):
        return structure
    images = Images(14 * length, bonds, alpha, np.ones(len(bonds), bool), peptide)
    whole = images.whole(xyz, box, source)
    if whole is xyz:
        return structure
    atom14 = whole.reshape(structure.atom14.shape)
    breaks = find_chain_breaks(atom14[0], structure.chain_index)
    return replace(structure, atom14=atom14, chain_break=breaks)


def _central(residue) -> int:
    """Index of CA, or of the first atom."""
    atoms = list(residue.atoms)
    return next((atom.index for atom in atoms if atom.name == "CA"), atoms[0].index)


def _assembled(pieces: list[np.ndarray], box: np.ndarray) -> np.ndarray:
    """Lattice steps [M, 3] that bring M pieces together.

    Starting from the largest, the piece that is nearest to those already placed is placed next.
    Pieces in contact stay where they are.

    Parameters
    ----------
    pieces : list of ndarray [P, 3]
        Fractional coordinates.
    box : ndarray [3, 3]
        nm.
    """
    count = len(pieces)
    near, steps = np.full((count, count), np.inf), np.zeros((count, count, 3))
    for i in range(count):
        for j in range(i + 1, count):
            apart = pieces[j][None] - pieces[i][:, None]
            direct = np.linalg.norm(apart @ box, axis=-1).min()
            images = np.rint(apart)
            length = np.linalg.norm((apart - images) @ box, axis=-1)
            place = np.unravel_index(np.argmin(length), length.shape)
            if direct >= CONTACT and length[place] < direct - 1e-3:
                near[i, j] = near[j, i] = length[place]
                steps[i, j], steps[j, i] = -images[place], images[place]
            else:
                near[i, j] = near[j, i] = direct
    moves = np.zeros((count, 3))
    placed = [int(np.argmax([len(piece) for piece in pieces]))]
    while len(placed) < count:
        open_ = near.copy()
        open_[:, placed] = np.inf
        at = placed[int(np.argmin(open_[placed].min(1)))]
        new = int(np.argmin(open_[at]))
        moves[new] = moves[at] + steps[at, new]
        placed.append(new)
    return moves


def _warn(source: object, frames: np.ndarray) -> None:
    if not len(frames):
        return
    names = ", ".join(map(str, frames[:_NAMED])) + (", ..." if len(frames) > _NAMED else "")
    logger.warning(
        "%s: bonds longer than %g nm in frames %s: molecules broken by a periodic box? make them "
        "whole first (mdtraj.Trajectory.make_molecules_whole, with the box)",
        source, CUT_BOND, names,
    )  # fmt: skip
