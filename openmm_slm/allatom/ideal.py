"""Connectivity of side chains, and their mean geometry in known structures (NumPy).

Bond lengths, angles and fixed torsions are means over the training chains, stored with the weights
of a packer. Residue templates are single conformers and less accurate: in PDBFixer's, the angle
CA-CB-CG is 111 (Tyr) to 118 degrees (Phe, Asp); in structures it is 113 to 114.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..protein.atoms import ATOM14
from ..protein.geometry import dihedral
from ..protein.sequence import AMINO_ACIDS
from .rotamers import CHI_ATOMS

# Parent, the atom bonded towards the backbone, of each side-chain atom in atom14 order.
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
    """The three reference atoms of each side-chain atom, and its chi angle.

    Rows are `AMINO_ACIDS` and X; columns are atom14 slots.

    Attributes
    ----------
    present : ndarray, bool [21, 14]
        The residue has this atom (backbone included).
    reference : ndarray, int64 [21, 14, 3]
        Slots a, b, c: the atom is bonded to c and has the torsion a-b-c-atom. CB is placed by the
        fixed torsion N-C-CA-CB.
    chi : ndarray, int64 [21, 14]
        0..3: the atom rotates with chi1..chi4; -1: its torsion is fixed.
    leader : ndarray, bool [21, 14]
        True if the torsion of the atom is chi itself; other atoms add a constant.
    """

    present: np.ndarray
    reference: np.ndarray
    chi: np.ndarray
    leader: np.ndarray


@dataclass(frozen=True, eq=False)
class SideChainGeometry:
    """Mean geometry, float32 [21, 14] each; 0 for slots without a side-chain atom.

    Attributes
    ----------
    length : nm
        Bond length c-atom.
    angle : radians
        Angle b-c-atom.
    torsion : radians
        Torsion a-b-c-atom; for atoms that rotate with a chi, the offset from it.
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
            # Axes are in the order chi1, chi2, ...; later ones are in rings or planar groups (the
            # guanidinium of Arg).
            axis = axes.index((b, above))
            chi[row, slot] = axis if axis < len(CHI_ATOMS.get(letter, ())) else -1
    return SideChainTree(present, reference, chi, leader & (chi >= 0))


TREE = _tree()


def measure_geometry(chains: Iterable[tuple[np.ndarray, np.ndarray]]) -> SideChainGeometry:
    """Measure the mean geometry of side chains, without outliers (over 5 median deviations).

    Parameters
    ----------
    chains : iterable of (atom14 [L, 14, 3], amino_acids int [L])
        nm; NaN where absent.

    Raises
    ------
    ValueError
        An atom of an amino acid is missing in all chains.
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
        leader = np.flatnonzero(TREE.leader[row] & (TREE.chi[row] == TREE.chi[row, slot]))
        if len(leader):
            torsion = torsion - dihedral(a, b, c, x[:, leader[0]])
        length = np.linalg.norm(v, axis=-1)
        complete = np.isfinite(length + angle + torsion)
        if not complete.any():
            letter = (AMINO_ACIDS + "X")[row]
            raise ValueError(
                f"no {ATOM14[letter][slot]} of {letter} in the training chains; "
                "add structures that have side chains"
            )
        centre = np.angle(np.exp(1j * torsion[complete]).mean())
        centred = np.angle(np.exp(1j * (torsion[complete] - centre)))
        means = (_trimmed_mean(x) for x in (length[complete], angle[complete], centred))
        out[:, row, slot] = list(means)
        out[2, row, slot] += centre
    return SideChainGeometry(*out.astype(np.float32))


def _trimmed_mean(values: np.ndarray) -> float:
    deviation = np.abs(values - np.median(values))
    return float(values[deviation <= 5 * np.median(deviation) + 1e-9].mean())
