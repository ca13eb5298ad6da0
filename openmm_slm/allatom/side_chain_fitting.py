"""Pack side chains on movable backbones: residues that still clash after packing move apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..projection.all_atom_sites import separate_clashing_residues
from ..projection.end_oxygens import second_oxygen, turn_end_oxygens
from ..protein.obstacles import Obstacles
from ..protein.protein import Protein
from ..validity.close_contacts import clashing_residues
from ..validity.kept_contacts import residues_at_obstacles

ROUNDS = 4
_REPACKED = 1  # passes of the packer; most side chains are known then, and more change nothing
_FIRST = 5  # slot of the first atom that moves with a chi


def fit_side_chains(
    pack: Callable[..., np.ndarray],
    atom14: np.ndarray,
    protein: Protein,
    weight: np.ndarray,
    rounds: int = ROUNDS,
    *,
    obstacles: Obstacles | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Pack side chains on sampled frames, and move residues apart whose side chains clash.

    Each round moves clashing residues apart as rigid bodies, then repacks those that still clash.
    The oxygens of chain ends turn away from side chains.

    Parameters
    ----------
    pack : function
        Fills absent atoms of frames [F, L, 14, 3] (`SideChainPacker.pack`); takes `obstacles`, if
        there are any, and `passes` when it repacks.
    atom14 : ndarray, float32 [F, L, 14, 3]
        nm; NaN where absent. Side chains present keep their shape, but move with their residue.
    protein : Protein
    weight : ndarray [L]
        Mobility of each residue; 0 is fixed.
    rounds : int
        Maximum number of rounds.
    obstacles : Obstacles, optional
        Atoms beside the protein, which do not move.

    Returns
    -------
    packed : ndarray, float32 [F, L, 14, 3]
    moved : ndarray, float32 [F]
        Largest displacement of N, CA or C in each frame (nm).
    """
    given = np.isfinite(atom14[:, :, _FIRST:]).any((2, 3))
    bridged = np.isin(np.arange(len(protein)), np.array(protein.disulfides, int).ravel())
    packed = pack(atom14) if obstacles is None else pack(atom14, obstacles)
    start, movable = packed[:, :, :3].copy(), weight > 0
    turn_end_oxygens(packed, protein.chain_break, movable)
    clashing = _clashing(packed, protein, obstacles)
    for _ in range(rounds):
        invalid = np.flatnonzero(clashing.any(1))
        if not len(invalid) or not movable.any():
            break
        around = None if obstacles is None else obstacles.take(invalid)
        separated, _ = separate_clashing_residues(packed[invalid], protein, weight, around)
        still = _clashing(separated, protein, around)
        # Disulfides are repacked too: the motion distorts their geometry.
        repack = (still | bridged) & ~given[invalid]
        separated[:, :, _FIRST:][repack] = np.nan
        frames = repack.any(1)
        if frames.any():
            beside = () if around is None else (around.take(frames),)
            separated[frames] = pack(separated[frames], *beside, passes=_REPACKED)
        turn_end_oxygens(separated, protein.chain_break, movable)
        packed[invalid] = separated
        clashing[invalid] = _clashing(separated, protein, around)
    moved = np.linalg.norm(packed[:, :, :3] - start, axis=-1)
    return packed, np.nan_to_num(moved.max((1, 2)))


def _clashing(atom14: np.ndarray, protein: Protein, obstacles: Obstacles | None) -> np.ndarray:
    """Residues [F, L] that clash with each other or with obstacles."""
    ends = np.append(protein.chain_break[1:], True)
    second = np.full((*atom14.shape[:2], 1, 3), np.nan)
    second[:, ends, 0] = second_oxygen(*np.moveaxis(atom14[:, ends, 1:4], 2, 0))
    found = clashing_residues(np.concatenate([atom14, second], 2), protein.bonding)
    if obstacles is not None:
        found |= residues_at_obstacles(atom14, protein.sequence, obstacles)
    return found
