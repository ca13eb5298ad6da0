"""Make room for side chains that found none: residues that clash move apart with theirs (NumPy).

A projection that does not know the side chains (`overlaps`) leaves too little room for some, and no
rotamer helps. Once they are packed they are known, and the same step, each residue now a rigid
body with all its atoms, parts what clashes while the peptides stay closed. Frames without a clash
stay as they are.
"""

from __future__ import annotations

import numpy as np

from ..protein.atoms import ATOM14
from ..protein.bonding import OXT, SLOTS
from ..protein.protein import Protein
from ..protein.superposition import superpose
from ..validity.criteria import CLASH, CONTACT_RADII
from .backbone_sites import BACKBONE, Overlaps
from .close_peptides import close_peptide_bonds
from .verlet_list import NearPairs

_OVERLAP = 0.256  # residues with a pair under it are pushed
_NEAR = 0.262  # the same between neighbours, whose distances phi and psi bound
_O, _END = 3, 14  # O in the plane of a peptide; O of chain ends, carried along as a site of its own
_SIDE = slice(4, 14)


def make_room(
    atom14: np.ndarray,
    protein: Protein,
    weight: np.ndarray | None = None,
    *,
    sweeps: int = 300,
) -> tuple[np.ndarray, np.ndarray]:
    """Part the residues whose atoms clash, as rigid bodies, and keep the peptides closed.

    Parameters
    ----------
    atom14 : ndarray, float32 [F, L, 14, 3]
        nm, NaN where absent; peptides closed (`close_peptide_bonds`).
    protein : Protein
    weight, sweeps
        As for `close_peptide_bonds`.

    Returns
    -------
    parted : ndarray, float32 [F, L, 14, 3]
        Frames without a clash are those given, to the last bit; residues of weight 0 too.
    moved : ndarray, float32 [F, L]
        Largest displacement of N, CA or C of each residue (nm).
    """
    atom14 = np.asarray(atom14, np.float32)
    weight = np.ones(len(protein)) if weight is None else np.asarray(weight, np.float64)
    overlaps = AtomOverlaps(atom14, protein, weight)
    crowded = overlaps.crowded(atom14)
    overlaps.place = overlaps.place.take(crowded, 3)
    closed, moved = atom14[:, :, :4].copy(), np.zeros(atom14.shape[:2], np.float32)
    closed[crowded], moved[crowded] = close_peptide_bonds(
        closed[crowded], protein, weight, overlaps=overlaps, sweeps=sweeps
    )
    out = atom14.copy()
    out[:, :, :4] = closed
    went = moved > 0
    side = atom14[went][:, _SIDE]
    _, rotation, shift = superpose(atom14[went][:, :3], closed[went][:, :3])
    out[went, _SIDE] = (side @ np.swapaxes(rotation, -1, -2) + shift[..., None, :]).reshape(
        side.shape
    )
    return out, moved


class AtomOverlaps(Overlaps):
    """Overlaps of all heavy atoms, side chains rigid with their residues.

    Parameters
    ----------
    atom14 : ndarray, float32 [F, L, 14, 3]
    protein : Protein
    weight : ndarray [L]
        See `make_room`.
    """

    def __init__(self, atom14: np.ndarray, protein: Protein, weight: np.ndarray) -> None:
        self.weight = np.asarray(weight, np.float32)
        length = len(protein)
        self.bonded = np.append(~protein.chain_break[1:], False)
        self._radius = np.full((length, SLOTS), np.nan, np.float32)
        for i, letter in enumerate(protein.sequence):
            names = ATOM14[letter]
            self._radius[i, : len(names)] = [CONTACT_RADII[name[0]] for name in names]
        self.place = _places(atom14)
        self.place[:, _END, self.bonded] = self.place[:, _O, ~self.bonded] = np.nan
        self._radius[:, _END] = self._radius[:, _O]
        self._radius = self._radius.T
        self.widest = np.float32(_OVERLAP)
        # Pairs of residues with a bond between them, and which of their sites overlap.
        excluded = np.stack(np.divmod(protein.bonding.excluded, SLOTS * length))
        (i, j), (a, b) = np.divmod(excluded, SLOTS)
        between = (i != j) & (a < OXT) & (b < OXT)
        bound, row = np.unique(i[between] * length + j[between], return_inverse=True)
        self._bound = np.append(bound, length**2)
        self._overlap = np.full((SLOTS, SLOTS, len(self._bound)), _OVERLAP**2, np.float32)
        self._overlap[a[between], b[between], row] = -np.inf  # never in the last, for no bond

    def crowded(self, atom14: np.ndarray) -> np.ndarray:
        """Numbers of the frames [F, L, 14, 3] that have a clash."""
        frames, length = atom14.shape[:2]
        near = NearPairs(self, np.arange(frames), np.arange(length))
        near.contacts(np.ascontiguousarray(atom14[:, :, :3].transpose(2, 3, 1, 0)))
        return np.flatnonzero(near.marked)

    def overlap(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        key = i * len(self.weight) + j
        at = np.searchsorted(self._bound, key)
        return self._overlap.take(np.where(self._bound[at] == key, at, len(self._bound) - 1), 2)

    def apart(self, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        allowed = self.overlap(i, j) > 0
        contact = self._radius[:, None, i] + self._radius[:, j]
        near = (j - i == 1) & self.bonded[i]
        contact[..., near] = np.minimum(contact[..., near], np.float32(_NEAR))
        return contact * allowed, np.float32(CLASH) * allowed


def _places(atom14: np.ndarray) -> np.ndarray:
    """Places [4, 15, L, F] of the atoms as they are now, and of O carried along."""
    n, ca, c = (atom14[:, :, slot].astype(np.float64) for slot in range(3))
    b, k = ca - n, c - ca
    axes = np.stack([b, k, np.cross(b, k)], -1)  # columns
    atoms = np.concatenate([atom14, atom14[:, :, _O : _O + 1]], 2)
    relative = np.swapaxes(atoms - ca[:, :, None], -1, -2)
    whole = np.isfinite(axes).all((-1, -2))
    axes[~whole] = np.eye(3)
    place = np.zeros((4, SLOTS, *atom14.shape[1::-1]), np.float32)
    place[:3] = np.linalg.solve(axes, relative).transpose(2, 3, 1, 0)
    place[:, :4] = BACKBONE.T[..., None, None]
    return place
