"""Energy of backbones: how residues lie to each other, and their torsions (NumPy only).

The energy of two residues is ``-ln(seen / expected)`` (kT), where *seen* counts pairs of these
amino acids that lie so to each other in known structures, and *expected* is their number if all
pairs of amino acids lay alike (quasi-chemical approximation: Miyazawa and Jernigan, 1985). How they
lie is the distance of their CB, which are placed from the backbone, and the direction of each CB in
the axes of the other residue: the nearest vertex of an icosahedron (compare KORP: López-Blanco and
Chacón, Bioinformatics 2019). Pairs are at least five residues apart in the sequence and closer than
1.2 nm. The energy of the torsions of a residue is ``-ln(share)`` relative to even shares of the
squares of 10 by 10 degrees in phi and psi.

``python tools/make_residue_potential.py SHARDS openmm_slm/protein/residue_potential.npz`` made the
tables from 1.9e7 pairs in 12,050 chains of the wwPDB archive, the longest of each training
cluster at 30 % sequence identity.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from .chain_building import residue_axes
from .geometry import backbone_torsions, cb_position
from .protein import Protein
from .ramachandran import grid_cell
from .sequence import AMINO_ACIDS, encode_sequence

#: Upper bounds of the bins of distances (nm).
BOUNDS = np.array([*np.arange(0.4, 0.71, 0.05), *np.arange(0.8, 1.21, 0.1)]).round(2)
APART = 5  # residues of a pair in the sequence, at least
CELLS = 36  # squares of torsions along phi and psi
STEP = 1 / 32  # kT, of stored energies
#: Weight of the torsions of a residue beside its pairs.
TORSIONS = 0.125
_TABLES = Path(__file__).with_name("residue_potential.npz")
_GOLDEN = (1 + np.sqrt(5)) / 2
_THREE = np.array([(0, a, b * _GOLDEN) for a in (1, -1) for b in (1, -1)])
#: Directions: unit vectors to the vertices of an icosahedron.
VERTICES = np.concatenate([np.roll(_THREE, turn, 1) for turn in range(3)])
VERTICES /= np.linalg.norm(VERTICES[0])
#: Size of the table of pairs: amino acids, distance, directions from the first and the second.
SHAPE = (len(AMINO_ACIDS),) * 2 + (len(BOUNDS), len(VERTICES), len(VERTICES))


def pair_bins(
    axes: np.ndarray, cb: np.ndarray, first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bins of the distance and of the two directions of P pairs closer than 1.2 nm, int [P] each.

    Parameters
    ----------
    axes : ndarray [L, 3, 3]
        As columns (`residue_axes`).
    cb : ndarray [L, 3]
        nm.
    first, second : ndarray, int [P]
        Rows of the residues.
    """
    apart = cb[second] - cb[first]
    distance = np.linalg.norm(apart, axis=-1)
    there = np.einsum("px,pxy->py", apart, axes[first]) @ VERTICES.T
    back = np.einsum("px,pxy->py", -apart, axes[second]) @ VERTICES.T
    return np.searchsorted(BOUNDS, distance, side="right"), there.argmax(1), back.argmax(1)


@lru_cache(maxsize=1)
def tables() -> tuple[np.ndarray, np.ndarray]:
    """Energies (kT) of pairs, float32 `SHAPE`, and of torsions, float32 [20, 36, 36]."""
    with np.load(_TABLES, allow_pickle=False) as archive:
        half, torsions = (archive[name].astype(np.float32) * STEP for name in ("pairs", "torsions"))
    rows, columns = np.triu_indices(len(AMINO_ACIDS))
    pairs = np.empty(SHAPE, np.float32)
    pairs[columns, rows] = half.swapaxes(2, 3)
    pairs[rows, columns] = half
    return pairs, torsions


def residue_energy(backbone: np.ndarray, protein: Protein, rows: np.ndarray) -> np.ndarray:
    """Energy of some residues, with each other and with all others.

    Parameters
    ----------
    backbone : ndarray [F, L, 4, 3]
        N, CA, C and O, nm; residues with NaN have no energy.
    protein : Protein
        Residues X have no energy.
    rows : ndarray, int [K]

    Returns
    -------
    ndarray, float64 [F]
        kT: the sum over pairs, plus 1/8 of the sum over the torsions of the residues.
    """
    backbone = np.asarray(backbone, np.float64)
    letters = encode_sequence(protein.sequence)
    pairs, torsions = tables()
    place, known = np.arange(len(letters)), letters < len(AMINO_ACIDS)
    may = known[rows, None] & known & (np.abs(rows[:, None] - place) >= APART)
    # A pair within `rows` counts once.
    may &= ~(np.isin(place, rows) & (place < rows[:, None]))
    out = np.empty(len(backbone))
    axes, cb = residue_axes(backbone), cb_position(backbone)
    for frame, (turn, x) in enumerate(zip(axes, cb, strict=True)):
        square = ((x[rows, None] - x) ** 2).sum(-1)
        mine, second = np.nonzero((square < BOUNDS[-1] ** 2) & may)
        first = rows[mine]
        bins = pair_bins(turn, x, first, second)
        out[frame] = pairs[(letters[first], letters[second], *bins)].sum()
    phi, psi, _ = backbone_torsions(backbone, protein.chain_break)
    phi, psi = phi[:, rows], psi[:, rows]
    defined = np.isfinite(phi) & np.isfinite(psi) & known[rows]
    cells = (grid_cell(np.where(defined, angle, 0), CELLS) for angle in (phi, psi))
    kind = np.where(known, letters, 0)[rows]
    return out + TORSIONS * (torsions[(kind, *cells)] * defined).sum(1)
