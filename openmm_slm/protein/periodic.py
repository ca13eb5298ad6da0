"""Molecules that a periodic box has cut are made whole before anything is measured."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from .trajectory import protein_chains

if TYPE_CHECKING:
    import mdtraj

logger = logging.getLogger(__name__)

CUT_BOND = 0.5  # nm; a longer bond joins two images
BLOCK = 500  # frames at once
_NAMED = 10  # frames that a message names


def made_whole(trajectory: mdtraj.Trajectory, source: object) -> mdtraj.Trajectory:
    """The trajectory with every protein in one piece; the same object if none was cut.

    With a box, molecules are made whole and brought next to each other by MDTraj. Without one, or
    where that fails, a warning names the frames.

    Parameters
    ----------
    trajectory : mdtraj.Trajectory
    source : object
        Name for messages.
    """
    if getattr(trajectory, "topology", None) is None:  # the caller refuses it
        return trajectory
    cut = cut_frames(trajectory)
    if not len(cut):
        return trajectory
    if trajectory.unitcell_vectors is not None and np.isfinite(trajectory.unitcell_vectors).all():
        whole = trajectory.make_molecules_whole(inplace=False)
        if sum(len(chain) > 1 for _, chain in protein_chains(trajectory.topology)) > 1:
            whole = whole.image_molecules(inplace=False)
        left = cut_frames(whole)
        if not len(left):
            logger.info("%s: %d frames cut by the box were made whole", source, len(cut))
            return whole
        trajectory, cut = whole, left
    names = ", ".join(map(str, cut[:_NAMED])) + (", ..." if len(cut) > _NAMED else "")
    logger.warning(
        "%s: bonds longer than %g nm in frames %s: molecules broken by a periodic box? make them "
        "whole first (mdtraj.Trajectory.make_molecules_whole, with the box)",
        source, CUT_BOND, names,
    )  # fmt: skip
    return trajectory


def cut_frames(trajectory: mdtraj.Trajectory) -> np.ndarray:
    """Frames in which a bond between heavy atoms of the protein joins two images.

    That is a bond longer than 0.5 nm. A peptide bond counts only if it is longer than half the box,
    since readers also bond residues on both sides of a gap.
    """
    protein = {r.index for _, chain in protein_chains(trajectory.topology) for r in chain}
    pairs, peptide = [], []
    for a, b in trajectory.topology.bonds:
        light = any(atom.element is not None and atom.element.symbol == "H" for atom in (a, b))
        if light or not {a.residue.index, b.residue.index} <= protein:
            continue
        pairs.append((a.index, b.index))
        peptide.append(a.residue is not b.residue and {a.name, b.name} == {"C", "N"})
    pairs, peptide = np.array(pairs, int).reshape(-1, 2), np.array(peptide, bool)
    box = trajectory.unitcell_lengths
    found = np.zeros(trajectory.n_frames, bool)
    for start in range(0, trajectory.n_frames, BLOCK):
        x = trajectory.xyz[start : start + BLOCK]
        half = np.full((len(x), 1), np.inf) if box is None else box[start : start + BLOCK] / 2
        limit = np.where(peptide, np.maximum(half.min(1, keepdims=True), CUT_BOND), CUT_BOND)
        with np.errstate(invalid="ignore"):
            length = np.linalg.norm(x[:, pairs[:, 0]] - x[:, pairs[:, 1]], axis=-1)
            found[start : start + BLOCK] = (length > limit).any(1)
    return np.flatnonzero(found)
