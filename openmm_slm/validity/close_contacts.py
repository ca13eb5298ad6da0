"""The search for clashes, with SciPy's k-d tree.

Bonds are known from the sequence (`openmm_slm.protein.bonding`), so a clash is never mistaken for
a bond.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..errors import require
from ..protein.bonding import SLOTS, Bonding
from ..protein.geometry import distance_matrix
from .criteria import CLASH, CLOSEST_CA

BLOCK = 512  # atoms per query; bounds the memory for frames with many coinciding atoms


def close_pairs(
    x: np.ndarray, bonding: Bonding, reach: float
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield, in blocks, the atom pairs of a frame within `reach` and more than two bonds apart.

    Parameters
    ----------
    x : ndarray [15 * L, 3]
        nm; atoms that are not finite are absent.
    bonding : Bonding
    reach : float
        nm.

    Yields
    ------
    first, second : ndarray, int64 [P]
        Atom numbers, first < second.
    distance : ndarray, float64 [P]
        nm.
    """
    number = np.flatnonzero(np.isfinite(x).all(-1))
    if len(number) < 2:
        return
    points = np.asarray(x, np.float64)[number]
    tree_type = require("scipy.spatial").cKDTree
    tree, excluded = tree_type(points), bonding.excluded
    for start in range(0, len(points), BLOCK):
        block = tree_type(points[start : start + BLOCK])
        found = block.sparse_distance_matrix(tree, reach, output_type="ndarray")
        i, j = found["i"] + start, found["j"]
        once = i < j
        first, second = number[i[once]], number[j[once]]
        key = first * len(x) + second
        place = np.minimum(np.searchsorted(excluded, key), len(excluded) - 1)
        free = excluded[place] != key
        yield first[free], second[free], found["v"][once][free]


def close_contacts(
    atoms: np.ndarray, bonding: Bonding, cutoff: float = CLASH, rigid: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Smallest distance of atoms more than two bonds apart, and number of pairs below a cutoff.

    Parameters
    ----------
    atoms : ndarray [F, 15 * L, 3]
        nm; atoms that are not finite are absent.
    bonding : Bonding
    cutoff : float
        nm.
    rigid : ndarray, int [L] or [F, L], optional
        Residues of the same number (0 or more) are a rigid part, whose own pairs do not count.

    Returns
    -------
    closest : ndarray, float64 [F]
        nm; inf for frames without a pair.
    count : ndarray, int64 [F]
    """
    if rigid is not None:
        rigid = np.broadcast_to(rigid, (len(atoms), rigid.shape[-1]))
    closest, count = np.full(len(atoms), np.inf), np.zeros(len(atoms), np.int64)
    for frame, x in enumerate(np.asarray(atoms, np.float64)):
        present = x[np.isfinite(x).all(-1)]
        if len(present) < 2:
            continue
        extent = np.linalg.norm(np.ptp(present, axis=0))
        reach = 1.2 * cutoff  # nearly always contains a pair
        while True:
            for first, second, distance in close_pairs(x, bonding, reach):
                if rigid is not None:
                    part, other = (rigid[frame, atom // SLOTS] for atom in (first, second))
                    distance = distance[(part < 0) | (part != other)]
                closest[frame] = min(closest[frame], distance.min(initial=np.inf))
                count[frame] += (distance < cutoff).sum()
            if np.isfinite(closest[frame]) or reach > extent:
                break
            reach *= 2
    return closest, count


def clashing_residues(atom14: np.ndarray, bonding: Bonding) -> np.ndarray:
    """Residues involved in a clash.

    Parameters
    ----------
    atom14 : ndarray [F, L, 14, 3] or [F, L, 15, 3]
        nm, NaN where absent; slot 14 is OXT.
    bonding : Bonding

    Returns
    -------
    ndarray, bool [F, L]
    """
    frames, length, slots = atom14.shape[:3]
    out = np.zeros((frames, length), bool)
    x = np.full((length, SLOTS, 3), np.nan)
    for frame in range(frames):
        x[:, :slots] = atom14[frame]
        for first, second, distance in close_pairs(x.reshape(-1, 3), bonding, CLASH):
            clash = distance < CLASH
            out[frame, first[clash] // SLOTS] = out[frame, second[clash] // SLOTS] = True
    return out


def ca_clashes(ca: np.ndarray, apart: int = 2, cutoff: float = CLOSEST_CA) -> np.ndarray:
    """Number [...] of CA pairs at least `apart` residues apart and closer than `cutoff` nm."""
    ca = np.asarray(ca)
    far = np.triu(np.ones((ca.shape[-2],) * 2, bool), apart)
    out = np.zeros(ca.shape[:-2], np.int64)
    for frame in np.ndindex(out.shape):
        out[frame] = ((distance_matrix(ca[frame]) < cutoff) & far).sum()
    return out


def closest_ca(ca: np.ndarray, apart: int = 2) -> np.ndarray:
    """Smallest distance (nm) of CA [..., L, 3] at least `apart` residues apart; inf if no pair."""
    ca = np.asarray(ca)
    far = np.triu(np.ones((ca.shape[-2],) * 2, bool), apart)
    out = np.full(ca.shape[:-2], np.inf)
    if far.any():
        for frame in np.ndindex(out.shape):
            out[frame] = distance_matrix(ca[frame])[far].min()
    return out
