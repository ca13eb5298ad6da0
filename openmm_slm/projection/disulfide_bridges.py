"""Keep bonded cysteines close enough for their disulfide bonds (NumPy).

A disulfide limits the distances of the CA and of the CB of its residues. Where a backbone violates
these limits, no side chains close the bond. The two residues are then pulled together, or pushed
apart, in the same way as overlapping residues (`rigid_body_step`).
"""

from __future__ import annotations

import numpy as np

from .backbone_sites import BACKBONE, CB_LOCAL
from .rigid_body_step import Contacts, place_sites

#: nm, shortest and longest: 98 % of the disulfides of training chains are within each.
CA_CA, CB_CB = (0.385, 0.69), (0.32, 0.445)
_TOLERANCE = 0.005  # nm
_REACH = 0.9  # nm between CB; pairs that are farther apart are left open
_LOCAL = np.array([BACKBONE[1], CB_LOCAL], np.float32).T[:, :, None, None]  # CA, CB
_SHORTEST, _LONGEST = np.array([CA_CA, CB_CB], np.float32).T[:, :, None, None]


class DisulfideBridges:
    """Disulfides of one protein.

    Parameters
    ----------
    pairs : tuple of (int, int)
        Residues of each disulfide.
    row : ndarray, int [L]
        Row of each residue in the coordinates.
    weight : ndarray [L]
        Mobility of each residue. Disulfides whose residues are both fixed are left out, and so are
        bonds of residues i and i + 1, whose peptide bond limits their distance.
    """

    def __init__(
        self, pairs: tuple[tuple[int, int], ...], row: np.ndarray, weight: np.ndarray
    ) -> None:
        residue = np.array(pairs, int).reshape(-1, 2).T
        self.weight, self.row = np.asarray(weight, np.float32), row
        pulled = (self.weight[residue] > 0).any(0) & (residue[1] - residue[0] > 1)
        self.residue = residue[:, pulled]  # [2, P]

    def contacts(self, x: np.ndarray) -> Contacts:
        """Contacts of the sites of [3, 3, L, F] whose distances are outside the limits."""
        first, second = (
            place_sites(x.take(self.row[rows], 2), _LOCAL) for rows in self.residue
        )  # [3, 2, P, F]
        length = np.linalg.norm(second - first, axis=0)
        off = (length < _SHORTEST - _TOLERANCE) | (length > _LONGEST + _TOLERANCE)
        off &= length[1] < _REACH
        site, pair, frame = np.nonzero(off)
        sign = np.where(length < _SHORTEST, 1, -1)[off]
        distance = np.where(sign > 0, _SHORTEST[site, 0, 0], _LONGEST[site, 0, 0])
        local = np.repeat(_LOCAL[:, None, site, 0, 0], 2, 1)
        return Contacts.of(
            frame, self.residue[:, pair], local, distance, self.row, self.weight, sign
        )
