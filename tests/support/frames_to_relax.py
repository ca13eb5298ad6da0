"""All-atom frames to relax: of a protein, of a peptide, and what can be wrong with them."""

from __future__ import annotations

import mdtraj as md
import numpy as np
from all_atoms import template_chain, villin_path
from builders import ideal_backbone

import openmm_slm
from openmm_slm.protein.atoms import ATOM14
from openmm_slm.protein.structure import ProteinStructure, from_backbone

QUIET = {"progress": False}
ALONE = {"progress": False, "processes": 1}
PEPTIDE = "AFKPISTW"


def completed(atom14: np.ndarray, sequence: str) -> md.Trajectory:
    """Frames [F, L, 14, 3] with hydrogens."""
    structure = from_backbone(atom14[:, :, :4], sequence)
    fields = {name: getattr(structure, name) for name in structure.__dataclass_fields__}
    full = ProteinStructure(**{**fields, "atom14": atom14})
    return openmm_slm.complete(full, progress=False, device="cpu")


def villin_with_clashes() -> md.Trajectory:
    """Six frames of a protein of 35 residues that have clashes: MD, with noise of 0.26 A."""
    traj = md.load(villin_path())
    traj = traj.atom_slice(traj.topology.select("protein"))
    noise = np.random.default_rng(0).normal(0, 0.015, (6, traj.n_atoms, 3))
    return md.Trajectory((traj.xyz + noise).astype(np.float32), traj.topology)


def peptide_frames() -> md.Trajectory:
    """Eight residues, four frames; Pro and both kinds of CB that have a hand."""
    rng = np.random.default_rng(1)
    chain = template_chain(PEPTIDE)
    frames = chain + rng.normal(0, 0.002, (4, *chain.shape)).astype(np.float32)
    return completed(frames, PEPTIDE)


def atoms_of(traj: md.Trajectory, row: int) -> dict[str, int]:
    return {atom.name: atom.index for atom in traj.topology.residue(row).atoms}


def changed(traj: md.Trajectory, frame: int, atoms, xyz) -> md.Trajectory:
    out = md.Trajectory(traj.xyz.copy(), traj.topology)
    out.xyz[frame, atoms] = xyz
    return out


def with_d_residue(traj: md.Trajectory, frame: int, row: int) -> md.Trajectory:
    """The side chain and HA of a residue mirrored in the plane of N, CA and C."""
    atoms = atoms_of(traj, row)
    x = traj.xyz[frame].astype(float)
    n, ca, c = (x[atoms[name]] for name in ("N", "CA", "C"))
    normal = np.cross(n - ca, c - ca)
    normal /= np.linalg.norm(normal)
    side = [i for name, i in atoms.items() if name not in ("N", "CA", "C", "O", "H")]
    return changed(traj, frame, side, x[side] - 2 * ((x[side] - ca) @ normal)[:, None] * normal)


def peptide_with_omega(degrees: float, sequence: str, row: int) -> md.Trajectory:
    length = len(sequence)
    omega = np.full(length, np.pi)
    omega[row] = np.radians(degrees)
    phi, psi = np.full(length, np.radians(-80.0)), np.full(length, np.radians(130.0))
    atom14 = np.full((1, length, 14, 3), np.nan, np.float32)
    atom14[0, :, :4] = ideal_backbone(phi, psi, omega)
    return completed(atom14, sequence)


def pierced() -> md.Trajectory:
    """Two chains: the bond CD-CE of a lysine goes through the ring of a phenylalanine."""
    one, two = template_chain("GFG"), template_chain("GKG")
    ring = one[1, 5:11].astype(float)
    normal = np.linalg.svd(ring - ring.mean(0))[2][2]
    cd, ce = (two[1, ATOM14["K"].index(name)].astype(float) for name in ("CD", "CE"))
    outwards = ring.mean(0) - np.nanmean(one[:, :4].reshape(-1, 3), 0)
    target = np.stack([ring.mean(0) - 0.077 * normal, ring.mean(0) + 0.077 * normal])
    best = None
    for turn in np.linspace(0, 2 * np.pi, 24, endpoint=False):  # the one that clashes least
        c, s = np.cos(turn), np.sin(turn)
        side = np.cross(normal, outwards)
        side /= np.linalg.norm(side)
        third = np.cross(normal, side)
        frame = np.stack([normal, c * side + s * third, -s * side + c * third])
        axis = (ce - cd) / np.linalg.norm(ce - cd)
        other = np.linalg.svd(axis[None])[2][1:]
        own = np.stack([axis, other[0], np.cross(axis, other[0])])
        placed = (two - (cd + ce) / 2) @ own.T @ frame + target.mean(0)
        gap = np.linalg.norm(
            one.reshape(-1, 1, 3)[np.isfinite(one.reshape(-1, 3)).all(1)]
            - placed.reshape(1, -1, 3)[:, np.isfinite(placed.reshape(-1, 3)).all(1)],
            axis=-1,
        )
        score = (gap < 0.25).sum()
        if best is None or score < best[0]:
            best = score, placed
    return completed(np.concatenate([one, best[1]])[None].astype(np.float32), "GFG:GKG")


def overlapping(gap: float) -> md.Trajectory:
    """Two chains GAG whose CB are `gap` nm apart, each on the way of the other's side chain."""
    one = template_chain("GAG").astype(float)
    ca, cb = one[1, 1], one[1, 4]
    out = (cb - ca) / np.linalg.norm(cb - ca)
    across = np.cross(out, one[1, 0] - ca)
    across /= np.linalg.norm(across)
    half_turn = 2 * np.outer(across, across) - np.eye(3)
    two = (one - cb) @ half_turn.T + cb + gap * out
    return completed(np.concatenate([one, two])[None].astype(np.float32), "GAG:GAG")
