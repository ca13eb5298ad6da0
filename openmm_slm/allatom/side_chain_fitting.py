"""Pack side chains on backbones that may still move: where no rotamer fits, residues make room."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..projection.all_atom_sites import separate_clashing_residues
from ..protein.protein import Protein
from ..validity.close_contacts import clashing_residues

ROUNDS = 4
_TURNS = 5  # slot of the first atom that a chi moves


def fit_side_chains(
    pack: Callable[[np.ndarray], np.ndarray],
    atom14: np.ndarray,
    protein: Protein,
    weight: np.ndarray,
    rounds: int = ROUNDS,
) -> tuple[np.ndarray, np.ndarray]:
    """All heavy atoms of sampled frames, their backbones moved a little where side chains clash.

    Residues that clash move apart with their side chains; those which clash still get new ones,
    among the others as they are; and so on.

    Parameters
    ----------
    pack : function
        Fills absent atoms of frames [F, L, 14, 3] (`SideChainPacker.pack`).
    atom14 : ndarray, float32 [F, L, 14, 3]
        nm, NaN where absent. Side chains that are there are kept as they are, but move with
        residues that may.
    protein : Protein
    weight : ndarray [L]
        How readily a residue moves; 0: not at all.

    Returns
    -------
    packed : ndarray, float32 [F, L, 14, 3]
    moved : ndarray, float32 [F]
        Largest displacement of N, CA or C of each frame (nm).
    """
    bonds = protein.bonding
    given = np.isfinite(atom14[:, :, _TURNS:]).any((2, 3))
    bridged = np.isin(np.arange(len(protein)), np.array(protein.disulfides, int).ravel())
    packed = pack(atom14)
    start = packed[:, :, :3].copy()
    clashing = clashing_residues(packed, bonds)
    for _ in range(rounds):
        left = np.flatnonzero(clashing.any(1))
        if not len(left) or not (weight > 0).any():
            break
        parted, _ = separate_clashing_residues(packed[left], protein, weight)
        # Sulfurs that are bonded no longer face each other as they should.
        again = clashing_residues(parted, bonds)
        anew = (again | bridged) & ~given[left]
        parted[:, :, _TURNS:][anew] = np.nan
        redo = anew.any(1)
        if redo.any():
            parted[redo] = pack(parted[redo])
        packed[left] = parted
        clashing[left] = clashing_residues(parted, bonds)
    moved = np.linalg.norm(packed[:, :, :3] - start, axis=-1)
    return packed, np.nan_to_num(moved.max((1, 2)))
