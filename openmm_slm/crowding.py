"""Make room for side chains that found none: residues that clash move apart with theirs (NumPy).

A projection that does not know the side chains (`overlaps`) leaves too little room for some, and no
rotamer helps. Once they are packed they are known, and the same step, each residue now a rigid
body with all its atoms, parts what clashes while the peptides stay closed. Frames without a clash
stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .contacts import SLOTS, Bonding, bonding
from .errors import require
from .geometry import superpose
from .overlaps import Contacts, Overlaps, bodies_of_pairs, place_sites
from .projection import close_peptide_bonds
from .structure import ATOM14

_CLASH = 0.25  # nm; as in `validity`
_OVERLAP = 0.256  # residues with a pair under it are pushed
_RADII = {"C": 0.145, "N": 0.135, "O": 0.132, "S": 0.155}  # nm; their sums are parted to
_NEAR = 0.262  # the same between neighbours, whose distances phi and psi bound
_MARGIN = 1.15  # pairs at so many times their contact distance may come under it in ten sweeps
_O, _END = 3, 14  # O in the plane of a peptide; O of chain ends, carried along as a site of its own
_SIDE = slice(4, 14)


def make_room(
    atom14: np.ndarray,
    sequence: str,
    chain_break: np.ndarray,
    weight: np.ndarray | None = None,
    *,
    disulfides: Iterable[tuple[int, int]] = (),
    sweeps: int = 300,
) -> tuple[np.ndarray, np.ndarray]:
    """Part the residues whose atoms clash, as rigid bodies, and keep the peptides closed.

    Parameters
    ----------
    atom14 : ndarray, float32 [F, L, 14, 3]
        nm, NaN where absent; peptides closed (`close_peptide_bonds`).
    sequence, chain_break, weight, sweeps
        As for `close_peptide_bonds`.
    disulfides : iterable of (int, int)
        Cysteines (rows from 0) whose SG are bonded: no clash.

    Returns
    -------
    parted : ndarray, float32 [F, L, 14, 3]
        Frames without a clash are those given, to the last bit; residues of weight 0 too.
    moved : ndarray, float32 [F, L]
        Largest displacement of N, CA or C of each residue (nm).
    """
    atom14 = np.asarray(atom14, np.float32)
    weight = np.ones(len(sequence)) if weight is None else np.asarray(weight, np.float64)
    overlaps = AtomOverlaps(atom14, sequence, chain_break, weight, disulfides)
    closed, moved = close_peptide_bonds(
        atom14[:, :, :4], sequence, chain_break, weight, overlaps=overlaps, sweeps=sweeps
    )
    moved[~overlaps.had_clash] = 0
    out = atom14.copy()
    out[:, :, :4][overlaps.had_clash] = closed[overlaps.had_clash]
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
    sequence, chain_break, weight, disulfides
        See `make_room`.
    """

    def __init__(
        self,
        atom14: np.ndarray,
        sequence: str,
        chain_break: np.ndarray,
        weight: np.ndarray,
        disulfides: Iterable[tuple[int, int]],
    ) -> None:
        self.weight = np.asarray(weight, np.float32)
        length = len(sequence)
        self.bonded = np.append(~np.asarray(chain_break, bool)[1:], False)
        self.had_clash = np.zeros(len(atom14), bool)
        self._bonding: Bonding = bonding(sequence, chain_break, disulfides)
        radius = np.full((length, SLOTS), np.nan)
        for i, letter in enumerate(sequence):
            names = ATOM14[letter]
            radius[i, : len(names)] = [_RADII[name[0]] for name in names]
        # O of an end is a site beside the side chain's; bonds are known by that of O.
        ends = ~self.bonded
        radius[ends, _END] = radius[ends, _O]
        radius[ends, _O] = np.nan
        self._radius = radius.ravel()
        self._named = np.arange(SLOTS * length).reshape(length, SLOTS)
        self._named[:, _END] = self._named[:, _O]
        self._named = self._named.ravel()
        self.place = _places(atom14)

    def find(self, x: np.ndarray, marked: np.ndarray, frames: np.ndarray) -> Contacts:
        tree_type = require("scipy.spatial").cKDTree
        length = x.shape[1]
        reach = 2 * max(_RADII.values()) * _MARGIN
        none = np.zeros((6, 0), int)
        found = [(*none[:5], np.zeros(0, np.float32))]
        everywhere = np.stack([np.zeros(length, int), np.arange(length)])
        for number, which in enumerate(frames):
            place = self.place[which]
            sites = place_sites(x[number : number + 1], everywhere, place).reshape(-1, 3)
            atoms = np.flatnonzero(np.isfinite(sites).all(-1) & np.isfinite(self._radius))
            pairs = tree_type(sites[atoms]).query_pairs(reach, output_type="ndarray")
            first, second = np.sort(atoms[pairs], 1).T
            i, j = first // SLOTS, second // SLOTS
            apart = (i != j) & ((self.weight[i] > 0) | (self.weight[j] > 0))
            apart &= ~self._excluded(first, second)
            first, second, i, j = (y[apart] for y in (first, second, i, j))
            distance = np.linalg.norm(sites[first] - sites[second], axis=-1)
            if (distance < _CLASH).any():
                marked[number] = self.had_clash[which] = True
            if not marked[number]:
                continue
            # Of residues with a pair under the distance of an overlap, all pairs that come near.
            key = i * length + j
            pushed = np.isin(key, key[distance < _OVERLAP])
            first, second, i, j = (y[pushed] for y in (first, second, i, j))
            contact = self._radius[first] + self._radius[second]
            near = (j - i == 1) & self.bonded[i]
            contact[near] = np.minimum(contact[near], _NEAR)
            contact = contact.astype(np.float32)
            found.append((np.full(len(i), number), i, first % SLOTS, j, second % SLOTS, contact))
        frame, i, a, j, b, distance = (np.concatenate(part) for part in zip(*found, strict=True))
        bodies, body = bodies_of_pairs(frame, i, j, length)
        return Contacts(
            bodies, body, np.stack([a, b]), distance, self.place[frames[bodies[0]], bodies[1]]
        )

    def _excluded(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Whether pairs of sites are one or two bonds apart."""
        excluded = self._bonding.excluded
        a, b = self._named[first], self._named[second]
        key = np.minimum(a, b) * len(self._named) + np.maximum(a, b)
        at = np.minimum(np.searchsorted(excluded, key), len(excluded) - 1)
        return excluded[at] == key


def _places(atom14: np.ndarray) -> np.ndarray:
    """`Contacts.place` [F, L, 11, 3] of side-chain atoms, and of O for chain ends."""
    n, ca, c = (atom14[:, :, slot].astype(np.float64) for slot in range(3))
    b, k = ca - n, c - ca
    axes = np.stack([b, k, np.cross(b, k)], -1)  # columns
    atoms = np.concatenate([atom14[:, :, _SIDE], atom14[:, :, _O : _O + 1]], 2)
    relative = np.swapaxes(atoms - ca[:, :, None], -1, -2)
    whole = np.isfinite(axes).all((-1, -2))
    axes[~whole] = np.eye(3)
    return np.swapaxes(np.linalg.solve(axes, relative), -1, -2).astype(np.float32)


def clashing_residues(atom14: np.ndarray, bonds: Bonding) -> np.ndarray:
    """Residues [F, L] that have an atom under 0.25 nm from another more than two bonds apart."""
    frames, length = atom14.shape[:2]
    out = np.zeros((frames, length), bool)
    for frame, x in enumerate(atom14.astype(np.float64)):
        first, second, _ = _close_pairs(x, bonds, _CLASH)
        out[frame, first // SLOTS] = out[frame, second // SLOTS] = True
    return out


def _close_pairs(x: np.ndarray, bonds: Bonding, cutoff: float) -> tuple[np.ndarray, ...]:
    """Numbers and distance of atoms [L, 14, 3] closer than `cutoff` and not bonded."""
    tree_type = require("scipy.spatial").cKDTree
    padded = np.full((len(x), SLOTS, 3), np.nan)
    padded[:, :14] = x
    padded = padded.reshape(-1, 3)
    number = np.flatnonzero(np.isfinite(padded).all(-1))
    if not len(number):
        return number, number, np.zeros(0)
    pairs = tree_type(padded[number]).query_pairs(cutoff, output_type="ndarray")
    first, second = np.sort(number[pairs], 1).T
    key = first * len(padded) + second
    at = np.minimum(np.searchsorted(bonds.excluded, key), len(bonds.excluded) - 1)
    apart = bonds.excluded[at] != key
    first, second = first[apart], second[apart]
    return first, second, np.linalg.norm(padded[first] - padded[second], axis=-1)
