"""Starting points for frames that minimisation alone does not make valid.

What a minimiser cannot do is to pull a bond out of a ring, or one chain through another. So
the next attempt starts somewhere else: further along, apart, with side chains drawn in and grown
again, or with a backbone projected on the nearest chain of ideal geometry.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..contacts import OXT, SLOTS, bonding, pierced_rings
from ..errors import require
from ..geometry import superpose
from ..projection import close_peptide_bonds
from ..validity import CLASH
from .judging import FrameJudge
from .minimiser import FrameMinimiser, MinimisationError

DRAWN_IN = 0.2  # of the distance from CB (CA) at which side chains start to grow again


class Repairs:
    """Attempts on one frame after the other; the caller stops at the first valid result."""

    def __init__(self, judge: FrameJudge, minimiser: FrameMinimiser) -> None:
        self.judge, self.minimiser = judge, minimiser
        self._bonding = bonding(judge.sequence, judge.chain_break, judge.disulfides)
        self._owner = np.full(judge.topology.n_atoms, -1)  # row of each atom of the protein
        for row, residue in enumerate(judge.residues):
            self._owner[[atom.index for atom in residue.atoms]] = row

    def attempts(
        self, x: np.ndarray, found: np.ndarray | None, number: int
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Name and result [A, 3] of each attempt.

        Parameters
        ----------
        x : ndarray [A, 3]
            The frame as it was given.
        found : ndarray [A, 3], optional
            What the minimisation made of it.
        number : int
            Of the frame.
        """
        starts = {
            "minimised again": lambda: (found, False),
            "side chains regrown": lambda: (self._drawn_in(x if found is None else found), False),
            "untangled": lambda: (x, True),
            "projected": lambda: (self._projected(x), True),
        }
        for name, start in starts.items():
            begin, untangle = start()
            if begin is None:
                continue
            try:
                yield name, self.minimiser.minimise(begin, number, untangle)
            except MinimisationError:
                continue

    def _drawn_in(self, x: np.ndarray) -> np.ndarray | None:
        """Side chains in or near a pierced ring, a clash or a wrong hand, drawn in to CB."""
        rows = self._faulty(x)
        if not len(rows):
            return None
        x = x.copy()
        for row in rows.tolist():
            slots = self.judge.index[row]
            centre = slots[4] if slots[4] >= 0 else slots[1]
            main = slots[[0, 1, 2, 3, 4]]
            atoms = np.flatnonzero(self._owner == row)
            side = [i for i in atoms.tolist() if i not in main and self._in_side_chain(i)]
            x[side] = x[centre] + DRAWN_IN * (x[side] - x[centre])
        return x

    def _in_side_chain(self, atom: int) -> bool:
        name = self.judge.topology.atom(atom).name
        return name not in ("H", "HN", "HA", "HA2", "HA3", "H1", "H2", "H3", "OXT")

    def _faulty(self, x: np.ndarray) -> np.ndarray:
        """Rows whose side chains have to do with a pierced ring or a clash."""
        atom14 = self.judge.atom14(x[None])[0]
        flat = np.full((1, len(atom14) * SLOTS, 3), np.nan, np.float32)
        flat.reshape(-1, SLOTS, 3)[:, :OXT] = atom14
        rows = set()
        for k in range(len(self._bonding.rings)):
            ring = self._bonding.rings[k : k + 1]
            if pierced_rings(flat, replace(self._bonding, rings=ring))[0]:
                rows.add(int(ring[0, 0]) // SLOTS)
        present = np.isfinite(atom14).all(-1)
        row, _ = np.nonzero(present)
        points = atom14[present].astype(np.float64)
        tree = require("scipy.spatial").cKDTree(points)
        for i, j in tree.query_pairs(CLASH):
            pair = tuple(sorted((int(row[i]), int(row[j]))))
            if pair[1] - pair[0] > 1 and pair not in self.judge.disulfides:
                rows |= set(pair)
        return np.array(sorted(rows), int)

    def _projected(self, x: np.ndarray) -> np.ndarray:
        """Peptides closed and planar, residues carried along as rigid bodies."""
        judge = self.judge
        backbone = x[judge.index[:, :4]]
        closed, _ = close_peptide_bonds(backbone[None], judge.sequence, judge.chain_break)
        _, rotation, shift = superpose(backbone[:, :3], closed[0, :, :3])
        own = self._owner >= 0
        row = self._owner[own]
        out = x.copy()
        out[own] = np.einsum("aij,aj->ai", rotation[row], x[own]) + shift[row]
        out[judge.index[:, :4]] = closed[0]
        return out
