"""Contact potential of backbones: how often atoms are so near in known structures (NumPy only).

The energy of two atoms at distance r is ``-ln(seen / expected)`` (kT), where *seen* counts pairs of
these atoms of these amino acids at r in known structures, and *expected* is their number if all
kinds of pairs had the same distribution of distances (quasi-chemical approximation; Miyazawa and
Jernigan, 1985; Samudrala and Moult, 1998). Atoms are N, CA, C, O and CB of the 20 amino acids; CB
is placed from the backbone. Pairs are at least three residues apart in the sequence and closer
than 1.5 nm.

``python tools/make_contact_potential.py SHARDS openmm_slm/protein/contact_potential.npz`` made the
table from 1.0e9 pairs of atoms in 12,050 chains of the wwPDB archive, the longest of each training
cluster at 30 % sequence identity.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from .geometry import cb_position
from .sequence import AMINO_ACIDS, encode_sequence

#: Upper bounds of the bins of distances (nm).
BOUNDS = np.array([*np.arange(0.2, 0.9, 0.05), *np.arange(0.9, 1.51, 0.1)]).round(2)
ATOMS = 5  # a residue
APART = 3  # residues of a pair in the sequence, at least
KINDS = ATOMS * 20
_TABLE = Path(__file__).with_name("contact_potential.npz")


def atoms_and_kinds(backbone: np.ndarray, sequence: str) -> tuple[np.ndarray, np.ndarray]:
    """Atoms [F, 5 L, 3] of backbones [F, L, 4, 3], and their kind int [5 L]; -1 for X."""
    atoms = np.concatenate([backbone, cb_position(backbone)[..., None, :]], -2)
    letters = encode_sequence(sequence)
    kinds = letters[:, None] * ATOMS + np.arange(ATOMS)
    kinds[letters >= len(AMINO_ACIDS)] = -1
    return atoms.reshape(len(atoms), -1, 3), kinds.ravel()


def distance_bins(distance: np.ndarray) -> np.ndarray:
    """Bin of each distance (nm); ``len(BOUNDS)`` for distant pairs and NaN."""
    return np.searchsorted(BOUNDS, distance, side="right")


@lru_cache(maxsize=1)
def table() -> np.ndarray:
    """Energies float32 [100, 100, bins + 1] (kT); 0 for distant pairs."""
    with np.load(_TABLE, allow_pickle=False) as archive:
        half = archive["energy"].astype(np.float32)
    rows, columns = np.triu_indices(KINDS)
    whole = np.zeros((KINDS, KINDS, half.shape[1] + 1), np.float32)
    whole[rows, columns, :-1] = whole[columns, rows, :-1] = half
    return whole


def contact_energy(backbone: np.ndarray, sequence: str, rows: np.ndarray) -> np.ndarray:
    """Energy of some residues with each other and with all others.

    Parameters
    ----------
    backbone : ndarray [F, L, 4, 3]
        N, CA, C and O, nm; residues with NaN have no energy.
    sequence : str
        L letters, without ``:``.
    rows : ndarray, int [K]

    Returns
    -------
    ndarray, float64 [F]
        kT, summed over pairs.
    """
    atoms, kinds = atoms_and_kinds(np.asarray(backbone, np.float32), sequence)
    residue = np.repeat(np.arange(len(sequence)), ATOMS)
    mine = np.flatnonzero(np.isin(residue, rows) & (kinds >= 0))
    others = np.flatnonzero(kinds >= 0)
    apart = np.abs(residue[mine, None] - residue[others]) >= APART
    # A pair within `rows` is met twice.
    weight = apart * np.where(np.isin(residue[others], rows), 0.5, 1.0)
    pairs = kinds[mine, None], kinds[others]
    out = np.empty(len(atoms))
    for frame, x in enumerate(atoms):
        distance = np.sqrt(((x[mine, None] - x[others]) ** 2).sum(-1))
        out[frame] = (table()[(*pairs, distance_bins(distance))] * weight).sum()
    return out
