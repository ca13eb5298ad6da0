"""Repair frames that are invalid after minimisation, by minimising from other starting points.

A minimiser cannot pull a bond out of a ring, or one chain through another. The starting points are:
the minimised frame, D residues converted to L (except D amino acids of the protein), side chains
retracted to CB so that they grow again, atoms separated almost without restraint, and the backbone
projected to ideal peptide geometry.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..projection.close_peptides import close_peptide_bonds
from ..protein.bonding import OXT, SLOTS
from ..protein.geometry import unit_vector
from ..protein.superposition import superpose
from ..validity.close_contacts import clashing_residues
from ..validity.rings import pierced_rings
from .judging import FrameJudge
from .minimiser import FrameMinimiser, MinimisationError
from .system import hydrogens

_RETRACTED = 0.2  # factor of distances from CB (CA) in retracted side chains


class Repairs:
    """Repair attempts on a frame; the caller stops at the first valid result."""

    def __init__(self, judge: FrameJudge, minimiser: FrameMinimiser) -> None:
        self.judge, self.minimiser = judge, minimiser
        self._bonding = judge.protein.bonding
        self._owner = np.full(judge.topology.n_atoms, -1)  # residue row of each protein atom
        for row, residue in enumerate(judge.residues):
            self._owner[[atom.index for atom in residue.atoms]] = row
        self._hydrogens = hydrogens(judge.topology)

    def attempts(
        self, x: np.ndarray, found: np.ndarray | None, number: int
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Yield name and result [A, 3] of each attempt.

        Parameters
        ----------
        x : ndarray [A, 3]
            Input frame.
        found : ndarray [A, 3], optional
            Result of the minimisation; None if it failed.
        number : int
            Frame number.
        """
        starts = {
            "turned to L": lambda last: (self._corrected(last), False),
            "minimised again": lambda last: (last, False),
            "side chains regrown": lambda last: (self._retracted(last), False),
            "untangled": lambda _: (x, True),
            "projected": lambda _: (self._corrected(self._projected(x), always=True), True),
        }
        last = x if found is None else found
        for name, start in starts.items():
            begin, untangle = start(last)
            if begin is None:
                continue
            try:
                last = self.minimiser.minimise(begin, number, repel=True, untangle=untangle)
            except MinimisationError:
                continue
            yield name, last

    def _corrected(self, x: np.ndarray, always: bool = False) -> np.ndarray | None:
        """Correct the chirality of CA, and of CB in Ile and Thr.

        The side chain and HA of a wrong residue are exchanged by a rotation of 180 degrees about
        the axis between them, which keeps the chirality of CB. If CB is wrong too, and in proline,
        they are reflected in the plane of N, CA and C. A wrong CB alone is corrected by reflection
        of its branches. Returns None if there is nothing to correct, unless `always`.
        """
        at_ca, at_cb = self.judge.wrong_hands(x)
        if not (at_ca.any() or at_cb.any()):
            return x if always else None
        x = x.copy()
        for row in np.flatnonzero(at_ca | at_cb).tolist():
            n, ca, c, _, cb = self.judge.index[row, :5].tolist()
            side = self._side_chain(row)
            if at_ca[row]:
                beside = [*side, cb, *self._hydrogens_of(ca)]
                if at_cb[row] or self.judge.protein.sequence[row] == "P":
                    x[beside] = _reflected(x[beside], x[ca], x[n] - x[ca], x[c] - x[ca])
                else:
                    axis = unit_vector(unit_vector(x[n] - x[ca]) + unit_vector(x[c] - x[ca]))
                    away = x[beside] - x[ca]
                    x[beside] = x[ca] + 2 * (away @ axis)[:, None] * axis - away
            else:
                x[side] = _reflected(x[side], x[cb], x[ca] - x[cb], x[n] - x[cb])
        return x

    def _retracted(self, x: np.ndarray) -> np.ndarray | None:
        """Retract side chains with a pierced ring or a clash towards CB; None if there are none."""
        rows = self._faulty(x)
        if not len(rows):
            return None
        x = x.copy()
        for row in rows.tolist():
            slots = self.judge.index[row]
            centre = slots[4] if slots[4] >= 0 else slots[1]
            side = self._side_chain(row)
            x[side] = x[centre] + _RETRACTED * (x[side] - x[centre])
        return x

    def _side_chain(self, row: int) -> list[int]:
        """Atoms of a side chain beyond CB, including the hydrogens of CB."""
        main = {*self.judge.index[row, :5].tolist(), int(self.judge.oxygen[row])}
        main |= {h for i in (0, 1) for h in self._hydrogens_of(int(self.judge.index[row, i]))}
        return [i for i in np.flatnonzero(self._owner == row).tolist() if i not in main]

    def _hydrogens_of(self, atom: int) -> list[int]:
        return self._hydrogens.get(atom, [])

    def _faulty(self, x: np.ndarray) -> np.ndarray:
        """Rows of residues with a pierced ring or a clash."""
        atom14 = self.judge.atom14(x[None])[0]
        flat = np.full((1, len(atom14) * SLOTS, 3), np.nan, np.float32)
        flat.reshape(-1, SLOTS, 3)[:, :OXT] = atom14
        rows = set()
        for k in range(len(self._bonding.rings)):
            ring = self._bonding.rings[k : k + 1]
            if pierced_rings(flat, replace(self._bonding, rings=ring))[0]:
                rows.add(int(ring[0, 0]) // SLOTS)
        rows |= set(np.flatnonzero(clashing_residues(atom14[None], self._bonding)[0]).tolist())
        return np.array(sorted(rows), int)

    def _projected(self, x: np.ndarray) -> np.ndarray:
        """Close and flatten the peptide bonds; each residue follows as a rigid body."""
        judge = self.judge
        backbone = x[judge.index[:, :4]]
        closed, _ = close_peptide_bonds(backbone[None], judge.protein)
        _, rotation, shift = superpose(backbone[:, :3], closed[0, :, :3])
        own = self._owner >= 0
        row = self._owner[own]
        out = x.copy()
        out[own] = np.einsum("aij,aj->ai", rotation[row], x[own]) + shift[row]
        out[judge.index[:, :4]] = closed[0]
        return out


def _reflected(x: np.ndarray, origin: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Reflect points [P, 3] in the plane through `origin` spanned by a and b."""
    normal = unit_vector(np.cross(a, b))
    return x - 2 * ((x - origin) @ normal)[:, None] * normal
