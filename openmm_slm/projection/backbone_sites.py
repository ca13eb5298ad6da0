"""Sites of residues whose backbone is known, and the distances at which they overlap (NumPy).

The sites are the atoms that the backbone determines (N, CA, C, O, CB, and CD of proline) and one
*bead* for the rest of the side chain, which reserves space for a rotamer. Overlapping residues are
pushed apart as rigid bodies to the distances of ordinary contacts. Only frames in which two atoms
clash are changed, because hydrogen bonds and packed side chains of native structures overlap
slightly by these distances.
"""

from __future__ import annotations

import numpy as np

from ..protein.disulfides import Pairs
from ..validity.criteria import CLASH
from .rigid_body_step import place_sites

# Kinds of sites. A residue has the first seven; the bead of proline is a _RING, and any site may be
# _ABSENT.
_N, _CA, _C, _O, _CB, _BEAD, _CD, _RING, _ABSENT = range(9)
SITES = 7
# Distances (nm) for residues that are not neighbours. Residues overlap if any two of their sites
# are closer than _OVERLAP; their sites are then pushed apart to _CONTACT.
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
# Contact distances of neighbours, for the pairs that phi and psi determine. They need not be
# reachable; they serve to bring the pairs quickly beyond 0.25 nm.
_NEAR_OVERLAP = 0.256
_NEAR = {
    (_N, _N): 0.265, (_N, _C): 0.30, (_N, _O): 0.30, (_N, _CB): 0.30, (_N, _CD): 0.30,
    (_CA, _CD): 0.285, (_C, _C): 0.30, (_C, _O): 0.30, (_C, _CB): 0.30,
    (_O, _C): 0.285, (_O, _O): 0.30, (_O, _CB): 0.30, (_O, _CD): 0.30,
    (_CB, _N): 0.30, (_CB, _C): 0.30, (_CB, _O): 0.30, (_CB, _CB): 0.30, (_CB, _CD): 0.30,
}  # fmt: skip
# Local coordinates of the kinds of sites (`rigid_body_step`).
CB_LOCAL = 0.56802827, -0.54067466, -5.8273431, 0
BACKBONE = np.array([(-1, 0, 0, 0), (0, 0, 0, 0), (0, 1, 0, 0), (0, 1.757, 0, -0.893)])
_LOCAL = np.array([
    *BACKBONE,
    CB_LOCAL,
    np.multiply(CB_LOCAL, 0.25 / 0.153),  # bead 0.25 nm from CA: the middle of most rotamers
    (-1.189, -0.457, -5.82, 0),
    (-0.741, -0.663, -7.46, 0),  # ring: between CG and CD of proline
])  # fmt: skip


class BackboneSites:
    """Sites of the residues of one protein, with their overlap and contact distances.

    Parameters
    ----------
    sequence : str
        L letters.
    chain_break : ndarray, bool [L]
        True where residue i is not bonded to residue i - 1.
    weight : ndarray [L]
        Mobility of each residue.
    separation : float
        Contact distance (nm) of CA atoms two or more residues apart.
    disulfides : tuple of (int, int)
        Bonded cysteines. Their side chains reserve no space from each other.
    traces : bool
        Use CA only.

    Attributes
    ----------
    local : ndarray, float32 [4, S, L, F]
        Local coordinates of the sites (`rigid_body_step`); F is 1 if all frames share them.
    widest : float
        Largest overlap distance (nm).
    """

    def __init__(
        self,
        sequence: str,
        chain_break: np.ndarray,
        weight: np.ndarray,
        separation: float,
        disulfides: Pairs = (),
        *,
        traces: bool = False,
    ) -> None:
        self.weight = np.asarray(weight, np.float32)
        self.bonded = np.append(~np.asarray(chain_break, bool)[1:], False)  # to the next residue
        contact, overlap, clash = _distances(separation)
        self._partner = np.full(len(sequence), -1)
        for pair in disulfides:
            self._partner[min(pair)] = max(pair)
        kind, local = _sites(sequence, self.bonded)
        if traces:
            kind, local = kind[:, [_CA]], local[:, [_CA]]
        self.local = local.transpose(2, 1, 0)[..., None]
        self.widest = np.float32(overlap.max())
        # The tables [S, S, 3 * C * C] have one entry per pair of the C combinations of site kinds.
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

    def positions(self, x: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """Positions [3, S, L, F] of the sites in frames with these numbers; NaN where absent."""
        local = self.local if self.local.shape[3] == 1 else self.local.take(frames, 3)
        return place_sites(x, local)

    def overlap(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Squared overlap distances [S, S, P] of residues i and j > i; -inf for excluded pairs."""
        return self._overlap.take(self._rows(i, j), 2)

    def distances(self, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Contact and clash distances (nm) of the sites of residues i and j > i: [S, S, P]."""
        rows = self._rows(i, j)
        return self._contact.take(rows, 2), self._clash.take(rows, 2)

    def _rows(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        near = (j - i == 1) & self.bonded[i]
        relation = np.where(self._partner[i] == j, 2, near)
        return (relation * self._kinds + self._row[i]) * self._kinds + self._row[j]


def _distances(separation: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Contact, overlap and clash distances [3, kind, kind] of pairs of residues.

    The first axis is for neighbours (1), bonded cysteines (2), and all other pairs (0).
    """
    contact, overlap = np.zeros((2, 3, _ABSENT + 1, _ABSENT + 1))
    others = np.ix_([0, 2], _KINDS, _KINDS)
    contact[others], overlap[others] = _CONTACT, _OVERLAP
    contact[[0, 2], _CA, _CA], overlap[[0, 2], _CA, _CA] = separation, 0.92 * separation
    for pair, distance in _NEAR.items():
        contact[(1, *pair)], overlap[(1, *pair)] = distance, _NEAR_OVERLAP
    for table in (contact, overlap):  # their distances have other limits (`disulfide_bridges`)
        table[2, [_CB, _BEAD]] = table[2, :, [_CB, _BEAD]] = 0
    clash = np.minimum(overlap, CLASH)
    clash[:, [_BEAD, _RING]] = clash[:, :, [_BEAD, _RING]] = 0
    clash[[0, 2], _CA, _CA] = overlap[[0, 2], _CA, _CA]
    return contact, overlap, clash


def _sites(sequence: str, bonded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kinds [L, 7] and local coordinates [L, 7, 4] of the sites."""
    letter = np.array(list(sequence), "<U1")
    proline = letter == "P"
    kind = np.tile(np.arange(SITES), (len(letter), 1))
    kind[~bonded, _O] = _ABSENT  # O is placed in a peptide plane, which chain ends lack
    kind[letter == "G", _CB] = _ABSENT
    kind[np.isin(letter, ("G", "A", "X")), _BEAD] = _ABSENT
    kind[proline, _BEAD] = _RING
    kind[~proline, _CD] = _ABSENT
    local = np.full((_ABSENT + 1, 4), np.nan, np.float32)
    local[:_ABSENT] = _LOCAL
    return kind, local[kind]
