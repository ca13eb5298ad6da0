"""Periodic images of ligands, ions and waters that lie beside a protein.

Simulation programs put molecules into the box one by one, or cut them at its faces: a ligand may be
in another image than the protein that binds it, or in two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import require
from .box import box_of, fractional
from .chains import protein_chains
from .periodic import CONTACT

if TYPE_CHECKING:
    import mdtraj
    from mdtraj.core.topology import Residue

_AT_ONCE = 1_000_000  # pairs of a molecule and a CA


class NearestImages:
    """Places of molecules beside the protein, in frames of one topology.

    Parameters
    ----------
    topology : mdtraj.Topology
    residues : list of Residue
        The molecules; bonded residues are one, and a residue is never divided.
    """

    def __init__(self, topology: mdtraj.Topology, residues: list[Residue]) -> None:
        #: Numbers of the K atoms in the topology.
        self.atoms = np.array([a.index for r in residues for a in r.atoms], int)
        self._alpha = np.array([
            next((a.index for a in r.atoms if a.name == "CA"), r.atom(0).index)
            for _, chain in protein_chains(topology) for r in chain
        ], int)  # fmt: skip
        number = {int(atom): k for k, atom in enumerate(self.atoms)}
        size = len(number)
        bonds = [(a.index, b.index) for a, b in topology.bonds]
        pairs = [(number[a], number[b]) for a, b in bonds if a in number and b in number]
        # Atoms that no bond joins to the rest of their residue, as in files without bonds.
        owner = np.repeat(np.arange(len(residues)), [r.n_atoms for r in residues])
        first = np.searchsorted(owner, owner)
        bonded = _graph(pairs, size)
        piece = require("scipy.sparse.csgraph").connected_components(bonded, directed=False)[1]
        loose = np.flatnonzero(piece != piece[first])
        pairs += list(zip(first[loose].tolist(), loose.tolist(), strict=True))
        self._molecule, self._levels = _trees(_graph(pairs, size))

    def xyz(self, trajectory: mdtraj.Trajectory) -> np.ndarray:
        """The K atoms [F, K, 3] (nm), in the image that is nearest to the protein.

        Molecules within 1 nm of a CA stay where they are, and so do all without a box.
        """
        out, box = trajectory.xyz[:, self.atoms], box_of(trajectory)
        if box is None or not len(self.atoms):
            return out
        for frame, vectors in enumerate(np.broadcast_to(box, (len(out), 3, 3))):
            out[frame] = self._placed(out[frame], trajectory.xyz[frame, self._alpha], vectors)
        return out

    def _placed(self, x: np.ndarray, alpha: np.ndarray, box: np.ndarray) -> np.ndarray:
        places = fractional(x, box)
        steps = np.zeros_like(places)
        for atoms, parents in self._levels:  # molecules are made whole
            steps[atoms] = steps[parents] - np.rint(places[atoms] - places[parents])
        places += steps
        roots = np.unique(self._molecule, return_index=True)[1]
        protein = fractional(alpha, box)
        part = max(1, _AT_ONCE // len(alpha))
        moves = np.concatenate([
            _moves(places[roots[k : k + part]], protein, box) for k in range(0, len(roots), part)
        ])  # fmt: skip
        steps += moves[self._molecule]
        moved = steps.any(-1)
        return np.where(moved[:, None], x + steps @ box, x).astype(np.float32)


def _moves(roots: np.ndarray, protein: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Lattice steps [M, 3] that bring atoms [M, 3] to the image nearest to one of the protein."""
    apart = roots[:, None] - protein
    images = np.rint(apart)
    direct = np.linalg.norm(apart @ box, axis=-1).min(1)
    length = np.linalg.norm((apart - images) @ box, axis=-1)
    nearest = length.argmin(1)
    rows = np.arange(len(roots))
    better = (direct >= CONTACT) & (length[rows, nearest] < direct - 1e-3)
    return np.where(better[:, None], -images[rows, nearest], 0)


def _graph(pairs: list[tuple[int, int]], size: int):
    a, b = np.array(pairs, int).reshape(-1, 2).T
    return require("scipy.sparse").coo_array((np.ones(len(a)), (a, b)), (size, size)).tocsr()


def _trees(graph) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """Molecule [K] of each atom, and (atoms, their parents) level by level from the roots."""
    csgraph = require("scipy.sparse.csgraph")
    molecule = csgraph.connected_components(graph, directed=False)[1]
    depth = np.full(len(molecule), -1)
    depth[np.unique(molecule, return_index=True)[1]] = 0
    parent, edges = np.full(len(molecule), -1), graph.tocoo()
    a, b = np.append(edges.row, edges.col), np.append(edges.col, edges.row)
    levels = []
    while (depth < 0).any():
        new = (depth[a] == len(levels)) & (depth[b] < 0)
        parent[b[new]] = a[new]
        atoms = np.unique(b[new])
        levels.append((atoms, parent[atoms]))
        depth[atoms] = len(levels)
    return molecule, levels


def beside_protein(trajectory: mdtraj.Trajectory, residues: list[Residue]) -> mdtraj.Trajectory:
    """The trajectory with some of its residues in the image nearest to the protein.

    Without residues or a box, it is the same object.
    """
    if not residues or box_of(trajectory) is None:
        return trajectory
    images = NearestImages(trajectory.topology, residues)
    xyz = trajectory.xyz.copy()
    xyz[:, images.atoms] = images.xyz(trajectory)
    made = require("mdtraj").Trajectory(xyz, trajectory.topology, time=trajectory.time)
    made.unitcell_vectors = trajectory.unitcell_vectors
    return made
