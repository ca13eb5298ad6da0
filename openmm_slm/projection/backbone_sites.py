"""Which residues lie on each other, and how far they are to be parted (NumPy).

Judged are the atoms that a backbone decides: N, CA, C, O and CB, CD of proline, and one *bead* in
the place of the rest of a side chain, since a rotamer can use room but not make it. Residues that
overlap are pushed apart as rigid bodies, until they are as far from each other as in an ordinary
contact. Frames in which no two atoms clash are left alone: in a native chain, hydrogen bonds and
packed side chains overlap here and there by these distances.
"""

from __future__ import annotations

import numpy as np

from ..validity.criteria import CLASH
from .rigid_body_step import place_sites

# Kinds of sites. Each residue has the first seven: its bead may be the _RING of a proline, and any
# may be _ABSENT.
_N, _CA, _C, _O, _CB, _BEAD, _CD, _RING, _ABSENT = range(9)
SITES = 7
# Distances (nm) of sites of residues that are not neighbours: to which they are parted where any
# two sites of the residues are under the distance of an overlap.
_KINDS = (_N, _CA, _C, _O, _CB, _BEAD, _RING)
_CONTACT = np.array([
    # N     CA    C     O     CB   bead  ring
    [0.29, 0.31, 0.31, 0.275, 0.33, 0.36, 0.36],
    [0.31, 0.34, 0.32, 0.30, 0.34, 0.36, 0.36],
    [0.31, 0.32, 0.32, 0.30, 0.34, 0.36, 0.36],
    [0.275, 0.30, 0.30, 0.28, 0.32, 0.36, 0.36],
    [0.33, 0.34, 0.34, 0.32, 0.38, 0.40, 0.40],
    [0.36, 0.36, 0.36, 0.36, 0.40, 0.42, 0.42],
    [0.36, 0.36, 0.36, 0.36, 0.40, 0.42, 0.42],
])  # fmt: skip
_OVERLAP = np.array([
    [0.27, 0.27, 0.27, 0.26, 0.27, 0.28, 0.31],
    [0.27, 0.31, 0.27, 0.27, 0.27, 0.28, 0.31],
    [0.27, 0.27, 0.27, 0.27, 0.27, 0.28, 0.31],
    [0.26, 0.27, 0.27, 0.27, 0.27, 0.28, 0.31],
    [0.27, 0.27, 0.27, 0.27, 0.27, 0.28, 0.31],
    [0.28, 0.28, 0.28, 0.28, 0.28, 0.28, 0.31],
    [0.31, 0.31, 0.31, 0.31, 0.31, 0.31, 0.31],
])  # fmt: skip
# Neighbours: the pairs that phi and psi decide, and to which distance they are parted. It counts
# little whether they could come as far, much that they come over 0.25 soon.
_NEAR_OVERLAP = 0.256
_NEAR = {
    (_N, _N): 0.265, (_N, _C): 0.30, (_N, _O): 0.30, (_N, _CB): 0.30, (_N, _CD): 0.30,
    (_CA, _CD): 0.285, (_C, _C): 0.30, (_C, _O): 0.30, (_C, _CB): 0.30,
    (_O, _C): 0.285, (_O, _O): 0.30, (_O, _CB): 0.30, (_O, _CD): 0.30,
    (_CB, _N): 0.30, (_CB, _C): 0.30, (_CB, _O): 0.30, (_CB, _CB): 0.30, (_CB, _CD): 0.30,
}  # fmt: skip
# Places of the kinds of sites (`parting`).
_CB_PLACE = 0.56802827, -0.54067466, -5.8273431, 0
BACKBONE = np.array([(-1, 0, 0, 0), (0, 0, 0, 0), (0, 1, 0, 0), (0, 1.757, 0, -0.893)])
_PLACE = np.array([
    *BACKBONE,
    _CB_PLACE,
    np.multiply(_CB_PLACE, 0.25 / 0.153),  # bead 0.25 nm from CA: in the midst of most rotamers
    (-1.189, -0.457, -5.82, 0),
    (-0.741, -0.663, -7.46, 0),  # ring: between CG and CD of proline
])  # fmt: skip


class Overlaps:
    """What overlaps in frames of one protein, and how far it is to be parted.

    Parameters
    ----------
    sequence : str
        L letters.
    chain_break : ndarray, bool [L]
        True where residue i is not bonded to residue i - 1.
    weight : ndarray [L]
        How readily a residue moves.
    separation : float
        CA atoms two or more residues apart come to this distance (nm).
    traces : bool
        Judge CA only.

    Attributes
    ----------
    place : ndarray, float32 [4, S, L, F]
        Of the sites of residues (`parting`); F is 1 if they are the same in all frames.
    widest : float
        Largest distance of an overlap (nm).
    """

    def __init__(
        self,
        sequence: str,
        chain_break: np.ndarray,
        weight: np.ndarray,
        separation: float,
        *,
        traces: bool = False,
    ) -> None:
        self.weight = np.asarray(weight, np.float32)
        self.bonded = np.append(~np.asarray(chain_break, bool)[1:], False)  # to the residue after
        contact, overlap, clash = _distances(separation)
        kind, place = _sites(sequence, self.bonded)
        if traces:
            kind, place = kind[:, [_CA]], place[:, [_CA]]
        self.place = place.transpose(2, 1, 0)[..., None]
        self.widest = np.float32(overlap.max())
        # Residues with the same kinds of sites share a row of the tables [S, S, 2 * C * C].
        kinds, self._row = np.unique(kind, axis=0, return_inverse=True)
        self._kinds, self._row = len(kinds), self._row.ravel()
        square = np.where(overlap > 0, overlap**2, -np.inf)
        pick = slice(None), kinds[:, None, :, None], kinds[None, :, None, :]
        self._contact, self._clash, self._overlap = (
            np.ascontiguousarray(
                table[pick].reshape(-1, *2 * kinds.shape[1:]).transpose(1, 2, 0), np.float32
            )
            for table in (contact, clash, square)
        )

    def sites(self, x: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """Sites [3, S, L, F] of the frames of these numbers, NaN where absent."""
        place = self.place if self.place.shape[3] == 1 else self.place.take(frames, 3)
        return place_sites(x, place)

    def overlap(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Squared distance [S, S, P] under which residues i and j > i overlap; -inf: never."""
        return self._overlap.take(self._rows(i, j), 2)

    def apart(self, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """To which distance (nm) sites are to be parted, and at which they clash: [S, S, P]."""
        rows = self._rows(i, j)
        return self._contact.take(rows, 2), self._clash.take(rows, 2)

    def _rows(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        near = (j - i == 1) & self.bonded[i]
        return (near * self._kinds + self._row[i]) * self._kinds + self._row[j]


def _distances(separation: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Contact, overlap and clash of kinds of sites: [1 for neighbours, kind, kind]."""
    contact, overlap = np.zeros((2, 2, _ABSENT + 1, _ABSENT + 1))
    touching = np.ix_([0], _KINDS, _KINDS)
    contact[touching], overlap[touching] = _CONTACT, _OVERLAP
    contact[0, _CA, _CA], overlap[0, _CA, _CA] = separation, 0.92 * separation
    for pair, distance in _NEAR.items():
        contact[(1, *pair)], overlap[(1, *pair)] = distance, _NEAR_OVERLAP
    clash = np.minimum(overlap, CLASH)
    clash[:, [_BEAD, _RING]] = clash[:, :, [_BEAD, _RING]] = 0
    clash[0, _CA, _CA] = overlap[0, _CA, _CA]
    return contact, overlap, clash


def _sites(sequence: str, bonded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kinds of the sites [L, 7] and their places [L, 7, 4]."""
    letter = np.array(list(sequence), "<U1")
    proline = letter == "P"
    kind = np.tile(np.arange(SITES), (len(letter), 1))
    kind[~bonded, _O] = _ABSENT  # O lies in the plane of a peptide
    kind[letter == "G", _CB] = _ABSENT
    kind[np.isin(letter, ("G", "A", "X")), _BEAD] = _ABSENT
    kind[proline, _BEAD] = _RING
    kind[~proline, _CD] = _ABSENT
    place = np.full((_ABSENT + 1, 4), np.nan, np.float32)
    place[:_ABSENT] = _PLACE
    return kind, place[kind]
