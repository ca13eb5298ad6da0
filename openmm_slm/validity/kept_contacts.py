"""Close contacts of the protein with what is kept beside it: ligands, ions, waters."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..errors import require
from ..protein.atoms import ATOM14
from ..protein.bonding import OXT, SLOTS
from ..protein.keep_selection import COORDINATION, is_metal
from ..protein.obstacles import Obstacles
from .criteria import CLASH, METAL_CARBON_CLASH, METAL_CLASH

_REACH = 0.5  # nm; the closest pair is looked for up to here


def kept_report(
    atoms: np.ndarray, sequence: str, obstacles: Obstacles, rigid: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Contacts of heavy atoms of the protein with those kept.

    Parameters
    ----------
    atoms : ndarray [F, L, 14 or 15, 3]
        nm, NaN where absent; slot 14 is OXT.
    sequence : str
        L letters.
    obstacles : Obstacles
    rigid : ndarray, int [L] or [F, L], optional
        Rigid part of each residue; contacts with a group of the same part do not count.

    Returns
    -------
    dict of ndarray [F]
        ``closest_kept_nm``, and ``kept_clashes``: pairs under 0.25 nm; or 0.16 nm for a metal and
        N, O or S, and 0.2 nm for a metal and carbons of a residue that binds it. Atoms one or two
        bonds apart do not count. Pairs with a lower limit are no contacts of ``closest_kept_nm``,
        which is at most 0.5.
    """
    closest, count = np.full(len(atoms), _REACH), np.zeros(len(atoms), np.int64)
    for frame, row, _, k, distance, limit in _pairs(atoms, sequence, obstacles, _REACH):
        free = np.ones(len(row), bool)
        if rigid is not None and obstacles.part is not None:
            part = np.broadcast_to(rigid, (len(atoms), len(sequence)))[frame][row]
            free = (part < 0) | (part != obstacles.part[k])
        count[frame] = (free & (distance < limit)).sum()
        usual = free & (limit == CLASH)
        closest[frame] = distance[usual].min(initial=_REACH)
    return {"closest_kept_nm": closest, "kept_clashes": count}


def residues_at_obstacles(atoms: np.ndarray, sequence: str, obstacles: Obstacles) -> np.ndarray:
    """Residues [F, L] that clash with an obstacle; the arguments are those of `kept_report`."""
    out = np.zeros(atoms.shape[:2], bool)
    for frame, row, _, _, distance, limit in _pairs(atoms, sequence, obstacles, CLASH):
        out[frame, row[distance < limit]] = True
    return out


def _pairs(
    atoms: np.ndarray, sequence: str, obstacles: Obstacles, reach: float
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Frame, rows, slots, obstacles, distances (nm) and clash distances of the pairs in reach."""
    tree_type = require("scipy.spatial").cKDTree
    elements = _elements(sequence)[:, : atoms.shape[2]]
    metal = np.array([is_metal(symbol) for symbol in obstacles.elements], bool)
    size = len(obstacles.elements)
    bonded = obstacles.bonded[:, 1] * size + obstacles.bonded[:, 0]
    for frame, (x, points) in enumerate(zip(atoms, obstacles.xyz, strict=True)):
        number = np.argwhere(np.isfinite(x).all(-1) & (elements != ""))
        there = np.flatnonzero(np.isfinite(points).all(-1))
        if not len(number) or not len(there):
            continue
        one = tree_type(x[number[:, 0], number[:, 1]].astype(np.float64))
        other = tree_type(points[there].astype(np.float64))
        found = one.sparse_distance_matrix(other, reach, output_type="ndarray")
        row, slot = number[found["i"]].T
        k = there[found["j"]]
        free = ~np.isin((row * SLOTS + slot) * size + k, bonded)
        row, slot, k, distance = row[free], slot[free], k[free], found["v"][free]
        limit = np.full(len(k), CLASH)
        polar = elements[row, slot] != "C"
        limit[metal[k] & polar] = METAL_CLASH
        # Carbons of residues that bind a metal are two bonds from it, as in a carboxylate.
        site = row * size + k
        bound = site[metal[k] & polar & (distance < COORDINATION)]
        limit[metal[k] & ~polar & np.isin(site, bound)] = METAL_CARBON_CLASH
        yield frame, row, slot, k, distance, limit


def _elements(sequence: str) -> np.ndarray:
    """Element of each atom [L, 15]; empty where there is none."""
    out = np.full((len(sequence), SLOTS), "", "<U1")
    for row, letter in enumerate(sequence):
        names = ATOM14[letter]
        out[row, : len(names)] = [name[0] for name in names]
    out[:, OXT] = "O"
    return out
