"""Conversion of proteins to and from MDTraj trajectories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..errors import StructureError, counted, require
from .atoms import ATOM14, ATOM_ALIASES, residue_letter
from .caps import Cap, attached, cap_parts
from .chains import divided, protein_chains
from .mdtraj_topology import protein_topology
from .structure import (
    PEPTIDE_BOND,
    ProteinStructure,
    chain_names,
    find_chain_breaks,
    from_backbone,
)
from .variants import stated_variant

if TYPE_CHECKING:
    import mdtraj
    from mdtraj.core.topology import Residue


class HasTrajectory(Protocol):
    """Anything with frames, such as an `openmm_slm.Ensemble`."""

    @property
    def trajectory(self) -> mdtraj.Trajectory:
        """F frames, one topology."""


def from_trajectory(trajectory: mdtraj.Trajectory) -> ProteinStructure:
    """Protein of a Trajectory; waters, ions, ligands, nucleic acids and hydrogens are dropped.

    A chain with several proteins is split (`openmm_slm.protein.chains.divided`).

    Raises
    ------
    StructureError
        The trajectory has fewer than two protein residues, no frame, coordinates that are not
        finite, or an atom that occurs twice in a residue.
    """
    if not hasattr(trajectory, "topology") or not hasattr(trajectory, "xyz"):
        raise StructureError(
            f"{type(trajectory).__name__} is not a structure; pass an mdtraj.Trajectory or a path"
        )
    return structure_of(divided(trajectory))


def structure_of(trajectory: mdtraj.Trajectory) -> ProteinStructure:
    """Protein of a Trajectory whose chains are right; see `from_trajectory`."""
    found = protein_chains(trajectory.topology)
    rows = [residue for _, residues in found for residue in residues]
    if len(rows) < 2 or not trajectory.n_frames:
        raise StructureError(
            f"the Trajectory has {counted(len(rows), 'protein residue')} (of "
            f"{trajectory.n_residues}) and {counted(trajectory.n_frames, 'frame')}; at least 2 "
            "residues and 1 frame are needed" + _bead_names(trajectory.topology)
        )
    atoms = atom_slots(rows)
    atom14 = np.full((trajectory.n_frames, len(rows), 14, 3), np.nan, np.float32)
    present = atoms >= 0
    atom14[:, present] = trajectory.xyz[:, atoms[present]]
    if not np.isfinite(atom14[:, present]).all():
        frame = int(np.argwhere(~np.isfinite(atom14[:, present]).all((1, 2)))[0, 0])
        raise StructureError(f"frame {frame} has coordinates that are not finite; remove it")
    chain_index = np.repeat(np.arange(len(found)), [len(part) for _, part in found])
    chain_index = chain_index.astype(np.int32)
    chain_break = find_chain_breaks(atom14[0], chain_index)
    return ProteinStructure(
        "".join(residue_letter(r.name) for r in rows),
        atom14,
        chain_index,
        chain_names([name for name, _ in found]),
        np.array([r.resSeq for r in rows], np.int32),
        np.array([_insertion_code(r) for r in rows], "<U1"),
        chain_break,
        tuple(r.name for r in rows),
        tuple(stated_variant(r.name, [atom.name for atom in r.atoms]) for r in rows),
        attached(_caps(trajectory), atom14, chain_break, PEPTIDE_BOND),
    )


def _bead_names(topology: mdtraj.Topology) -> str:
    """What to do about coarse-grained chains whose names are not those of amino acids."""
    if topology.n_residues < 2 or topology.n_atoms > topology.n_residues:
        return ""
    first = topology.atom(0)
    return (
        f"; its residues are single beads (the first: {first.name} of {first.residue.name}): name "
        "each bead CA and each residue by three letters (ALA)"
    )


def _caps(trajectory: mdtraj.Trajectory) -> list[Cap]:
    return [
        Cap.of(
            kind, residue.resSeq + step, _insertion_code(residue),
            {name: trajectory.xyz[:, index] for name, index in parts.items()},
        )
        for residue in trajectory.topology.residues
        for kind, step, parts in cap_parts(residue.name, {a.name: a.index for a in residue.atoms})
    ]  # fmt: skip


def atom_slots(residues: list[Residue]) -> np.ndarray:
    """Atom numbers in the order of `ATOM14`, int [L, 14]; -1 where absent.

    Raises
    ------
    StructureError
        A residue has two atoms of one name.
    """
    atoms = np.full((len(residues), 14), -1)
    for number, residue in enumerate(residues):
        names = ATOM14[residue_letter(residue.name)]
        _check_names(residue)
        index = {ATOM_ALIASES.get(atom.name, atom.name): atom.index for atom in residue.atoms}
        index.update((atom.name, atom.index) for atom in residue.atoms)
        atoms[number, : len(names)] = [index.get(name, -1) for name in names]
    return atoms


def _check_names(residue: Residue) -> None:
    names = [
        atom.name for atom in residue.atoms if atom.name in ATOM14[residue_letter(residue.name)]
    ]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise StructureError(
            f"{residue} (residue {residue.index}) has {twice} {names.count(twice)} times; keep one "
            "(alternative locations: the one with the higher occupancy)"
        )


def _insertion_code(residue: Residue) -> str:
    return (getattr(residue, "insertion_code", "") or "").strip()[:1]


def backbone_trajectory(
    backbone: np.ndarray,
    sequence: str,
    chain_ids: tuple[str, ...] | None = None,
    residue_number: np.ndarray | None = None,
) -> mdtraj.Trajectory:
    """Trajectory of backbones; for the arguments see `from_backbone`."""
    md = require("mdtraj")
    made = from_backbone(backbone, sequence, chain_ids, residue_number)
    topology = protein_topology(
        made.sequence, tuple(made.chain_index.tolist()), made.chain_ids,
        tuple(made.residue_number.tolist()), tuple(made.chain_break.tolist()),
        ((True,) * 4 + (False,) * 10,) * made.n_residues,
    )  # fmt: skip
    # The shape is spelled out: with -1 for the atoms, reshape fails if there are no frames.
    xyz = np.ascontiguousarray(made.backbone).reshape(made.n_frames, 4 * made.n_residues, 3)
    return md.Trajectory(xyz, topology.copy())
