"""Move residues apart whose side chains clash after packing (NumPy).

The projection of backbones (`backbone_sites`) leaves too little space for some side chains, where
every rotamer clashes. After packing, the same step is repeated with all atoms: each residue is a
rigid body with its side chain, and the peptide bonds stay closed. Frames without a clash are not
changed.
"""

from __future__ import annotations

import numpy as np

from ..protein.atoms import ATOM14
from ..protein.bonding import OXT, SLOTS
from ..protein.obstacles import Obstacles
from ..protein.protein import Protein
from ..protein.superposition import superpose
from ..validity.criteria import CLASH, CONTACT_RADII
from .backbone_sites import BACKBONE, BackboneSites
from .close_peptides import close_peptide_bonds
from .end_oxygens import second_oxygen
from .obstacle_residues import obstacle_radii, with_obstacles
from .verlet_list import VerletList

_OVERLAP = 0.256  # nm; residues with a closer pair of atoms are pushed apart
_NEAR = 0.262  # nm; largest contact distance of neighbours, which phi and psi limit
_O, _END = 3, 14  # O in a peptide plane; O of chain ends, a separate site rigid with its residue.
# There, _O is the second oxygen.
_SIDE = slice(4, 14)


def separate_clashing_residues(
    atom14: np.ndarray,
    protein: Protein,
    weight: np.ndarray | None = None,
    obstacles: Obstacles | None = None,
    *,
    sweeps: int = 300,
) -> tuple[np.ndarray, np.ndarray]:
    """Push clashing residues apart as rigid bodies and keep the peptide bonds closed.

    Parameters
    ----------
    atom14 : ndarray, float32 [F, L, 14, 3]
        nm, NaN where absent; with closed peptide bonds (`close_peptide_bonds`).
    protein : Protein
    weight, sweeps
        As for `close_peptide_bonds`.
    obstacles : Obstacles, optional
        Atoms beside the protein, which do not move.

    Returns
    -------
    separated : ndarray, float32 [F, L, 14, 3]
        Frames without a clash, and residues of weight 0, are bit-identical to the input.
    moved : ndarray, float32 [F, L]
        Largest displacement of N, CA or C of each residue (nm).
    """
    atom14 = np.asarray(atom14, np.float32)
    weight = np.ones(len(protein)) if weight is None else np.asarray(weight, np.float64)
    if obstacles is not None and obstacles.elements:
        whole, long, weights, elements = with_obstacles(atom14, protein, weight, obstacles)
        sites = AllAtomSites(whole, long, weights, elements)
        out, moved = _separated(whole, long, weights, sites, sweeps)
        return out[:, : len(protein)], moved[:, : len(protein)]
    return _separated(atom14, protein, weight, AllAtomSites(atom14, protein, weight), sweeps)


def _separated(
    atom14: np.ndarray, protein: Protein, weight: np.ndarray, sites: AllAtomSites, sweeps: int
) -> tuple[np.ndarray, np.ndarray]:
    clashing = sites.clashing_frames(atom14)
    sites.local = sites.local.take(clashing, 3)
    closed, moved = atom14[:, :, :4].copy(), np.zeros(atom14.shape[:2], np.float32)
    closed[clashing], moved[clashing] = close_peptide_bonds(
        closed[clashing], protein, weight, sites=sites, sweeps=sweeps
    )
    out = atom14.copy()
    out[:, :, :4] = closed
    displaced = moved > 0
    side = atom14[displaced][:, _SIDE]
    _, rotation, shift = superpose(atom14[displaced][:, :3], closed[displaced][:, :3])
    out[displaced, _SIDE] = (side @ np.swapaxes(rotation, -1, -2) + shift[..., None, :]).reshape(
        side.shape
    )
    return out, moved


class AllAtomSites(BackboneSites):
    """All heavy atoms as sites; side chains are rigid with their residues.

    Parameters
    ----------
    atom14 : ndarray, float32 [F, L, 14, 3]
        nm, NaN where absent.
    protein : Protein
    weight : ndarray [L]
        Mobility of each residue.
    obstacles : ndarray, str [G, 14], optional
        Elements in the last G residues, which stand for obstacles (`obstacle_residues`).
    """

    def __init__(
        self,
        atom14: np.ndarray,
        protein: Protein,
        weight: np.ndarray,
        obstacles: np.ndarray | None = None,
    ) -> None:
        self.weight = np.asarray(weight, np.float32)
        length = len(protein)
        self.bonded = np.append(~protein.chain_break[1:], False)
        self._radius = np.full((length, SLOTS), np.nan, np.float32)
        for i, letter in enumerate(protein.sequence):
            names = ATOM14[letter]
            self._radius[i, : len(names)] = [CONTACT_RADII[name[0]] for name in names]
        self.local, second = _local_coordinates(atom14)
        self.local[:, _END, self.bonded] = np.nan
        self.local[:, _O, ~self.bonded] = second[:, ~self.bonded]
        if obstacles is not None:  # they have no backbone of their own
            last = slice(length - len(obstacles), length)
            self.local[:, :4, last] = self.local[:, _END, last] = np.nan
            self._radius[last, :14] = obstacle_radii(obstacles)
        self._radius[:, _END] = self._radius[:, _O]
        self._radius = self._radius.T
        self.widest = np.float32(_OVERLAP)
        # Overlap distances for pairs of bonded residues, without atoms one or two bonds apart.
        excluded = np.stack(np.divmod(protein.bonding.excluded, SLOTS * length))
        (i, j), (a, b) = np.divmod(excluded, SLOTS)
        between = (i != j) & (a < OXT) & (b < OXT)
        bound, row = np.unique(i[between] * length + j[between], return_inverse=True)
        self._bound = np.append(bound, length**2)
        self._overlap = np.full((SLOTS, SLOTS, len(self._bound)), _OVERLAP**2, np.float32)
        # The last row is for residues that are not bonded; it excludes no pair.
        self._overlap[a[between], b[between], row] = -np.inf

    def clashing_frames(self, atom14: np.ndarray) -> np.ndarray:
        """Numbers of the frames [F, L, 14, 3] with a clash."""
        frames, length = atom14.shape[:2]
        near = VerletList(self, np.arange(frames), np.arange(length))
        near.contacts(np.ascontiguousarray(atom14[:, :, :3].transpose(2, 3, 1, 0)))
        return np.flatnonzero(near.marked)

    def overlap(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        key = i * len(self.weight) + j
        at = np.searchsorted(self._bound, key)
        return self._overlap.take(np.where(self._bound[at] == key, at, len(self._bound) - 1), 2)

    def distances(self, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        allowed = self.overlap(i, j) > 0
        contact = self._radius[:, None, i] + self._radius[:, j]
        near = (j - i == 1) & self.bonded[i]
        contact[..., near] = np.minimum(contact[..., near], np.float32(_NEAR))
        return contact * allowed, np.float32(CLASH) * allowed


def _local_coordinates(atom14: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Local coordinates [4, 15, L, F] of the atoms and, last, of O as a rigid site.

    Also those of OXT, [4, L, F].
    """
    n, ca, c, o = (atom14[:, :, slot].astype(np.float64) for slot in range(4))
    b, k = ca - n, c - ca
    axes = np.stack([b, k, np.cross(b, k)], -1)  # columns
    rigid = np.stack([o, second_oxygen(ca, c, o)], 2)
    relative = np.swapaxes(np.concatenate([atom14, rigid], 2) - ca[:, :, None], -1, -2)
    complete = np.isfinite(axes).all((-1, -2))
    axes[~complete] = np.eye(3)
    local = np.zeros((4, SLOTS + 1, *atom14.shape[1::-1]), np.float32)
    local[:3] = np.linalg.solve(axes, relative).transpose(2, 3, 1, 0)
    local[:, :4] = BACKBONE.T[..., None, None]
    return local[:, :SLOTS], local[:, SLOTS]
