"""How side chains hang together, and their mean geometry in known structures (NumPy).

Bond lengths, angles and fixed torsions are means over the training chains and travel with a
packer's weights. Residue templates are no substitute: they are single conformers, whose CA-CB-CG
angles run from 111 (Tyr) to 118 degrees (Phe, Asp) in PDBFixer's where structures have 113 to 114.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..protein.atoms import ATOM14
from ..protein.geometry import dihedral
from ..protein.sequence import AMINO_ACIDS
from .rotamers import CHI_ATOMS

# The atom that each side-chain atom (in atom14 order) is placed from.
_PARENTS = {
    "A": "CA", "R": "CA CB CG CD NE CZ CZ", "N": "CA CB CG CG", "D": "CA CB CG CG", "C": "CA CB",
    "Q": "CA CB CG CD CD", "E": "CA CB CG CD CD", "G": "", "H": "CA CB CG CG ND1 CD2",
    "I": "CA CB CB CG1", "L": "CA CB CG CG", "K": "CA CB CG CD CE", "M": "CA CB CG SD",
    "F": "CA CB CG CG CD1 CD2 CE1", "P": "CA CB CG", "S": "CA CB", "T": "CA CB CB",
    "W": "CA CB CG CG CD1 CD2 CD2 CE2 CE3 CZ2", "Y": "CA CB CG CG CD1 CD2 CE1 CZ",
    "V": "CA CB CB", "X": "CA",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class SideChainTree:
    """Which three atoms each side-chain atom is placed from.

    Rows are `AMINO_ACIDS` and X; columns atom14 slots.

    Attributes
    ----------
    present : ndarray, bool [21, 14]
        The residue has this atom (backbone included).
    reference : ndarray, int64 [21, 14, 3]
        Slots a, b, c: the atom is bonded to c and its torsion is a-b-c-atom. CB hangs on the
        backbone by N-C-CA-CB: it follows N, CA and C, not a torsion.
    chi : ndarray, int64 [21, 14]
        0..3: the atom turns with chi1..chi4; -1: its torsion is fixed.
    leader : ndarray, bool [21, 14]
        The atom's torsion is chi itself (of others that turn with it, chi plus a constant).
    """

    present: np.ndarray
    reference: np.ndarray
    chi: np.ndarray
    leader: np.ndarray


@dataclass(frozen=True, eq=False)
class SideChainGeometry:
    """Mean geometry; float32 [21, 14] each, 0 for slots without a side-chain atom.

    Attributes
    ----------
    length : nm
        Bond to c.
    angle : radians
        b-c-atom.
    torsion : radians
        a-b-c-atom; of atoms that turn with a chi what is added to it.
    """

    length: np.ndarray
    angle: np.ndarray
    torsion: np.ndarray


def _tree() -> SideChainTree:
    present = np.zeros((21, 14), bool)
    reference = np.zeros((21, 14, 3), np.int64)
    chi = np.full((21, 14), -1)
    leader = np.zeros((21, 14), bool)
    for row, letter in enumerate(AMINO_ACIDS + "X"):
        names = ATOM14[letter]
        present[row, : len(names)] = True
        parent, axes = {"CA": "N"}, []
        for name, above in zip(names[4:], _PARENTS[letter].split(), strict=True):
            slot = names.index(name)
            parent[name] = above
            if name == "CB":
                reference[row, slot] = 0, 2, 1
                continue
            b = parent[above]
            reference[row, slot] = [names.index(x) for x in (parent[b], b, above)]
            if (b, above) not in axes:
                axes.append((b, above))
                leader[row, slot] = True
            # Axes come in the order chi1, chi2, ...; those after the last are rings' or flat (the
            # guanidinium of Arg).
            axis = axes.index((b, above))
            chi[row, slot] = axis if axis < len(CHI_ATOMS.get(letter, ())) else -1
    return SideChainTree(present, reference, chi, leader & (chi >= 0))


TREE = _tree()


def measure_geometry(chains: Iterable[tuple[np.ndarray, np.ndarray]]) -> SideChainGeometry:
    """Mean geometry of side chains.

    Parameters
    ----------
    chains : iterable of (atom14 [L, 14, 3], amino_acids int [L])
        nm, NaN where absent. Outliers (beyond 5 median deviations) are left out.

    Raises
    ------
    ValueError
        An atom occurs in none of them.
    """
    parts = list(chains)
    atoms = np.concatenate([x for x, _ in parts]).astype(np.float64)
    kinds = np.concatenate([k for _, k in parts])
    out = np.zeros((3, 21, 14))
    for row, slot in zip(*np.nonzero(TREE.present), strict=True):
        if slot < 4:
            continue
        kind = AMINO_ACIDS.index("A") if row == 20 else row
        x = atoms[kinds == kind]
        a, b, c = (x[:, i] for i in TREE.reference[row, slot])
        d = x[:, slot]
        u, v = b - c, d - c
        angle = np.arctan2(np.linalg.norm(np.cross(u, v), axis=-1), (u * v).sum(-1))
        torsion = dihedral(a, b, c, d)
        first = np.flatnonzero(TREE.leader[row] & (TREE.chi[row] == TREE.chi[row, slot]))
        if len(first):
            torsion = torsion - dihedral(a, b, c, x[:, first[0]])
        length = np.linalg.norm(v, axis=-1)
        whole = np.isfinite(length + angle + torsion)
        if not whole.any():
            letter = (AMINO_ACIDS + "X")[row]
            raise ValueError(
                f"no {ATOM14[letter][slot]} of {letter} in the training chains; "
                "add structures that have side chains"
            )
        centre = np.angle(np.exp(1j * torsion[whole]).mean())
        turned = np.angle(np.exp(1j * (torsion[whole] - centre)))
        means = (_trimmed_mean(x) for x in (length[whole], angle[whole], turned))
        out[:, row, slot] = list(means)
        out[2, row, slot] += centre
    return SideChainGeometry(*out.astype(np.float32))


def _trimmed_mean(values: np.ndarray) -> float:
    middle = np.median(values)
    off = np.abs(values - middle)
    return float(values[off <= 5 * np.median(off) + 1e-9].mean())
