"""Heavy atoms that are too close, and bonds that go through rings.

An atom has the number 15 * residue + slot: slots 0 to 13 are those of `ATOM14`, 14 is OXT. What is
bonded is known from the sequence, never guessed from distances, so that a clash cannot pass for a
bond. NumPy; SciPy's k-d tree finds the pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..errors import StructureError, require
from ..protein.structure import ATOM14, sidechain_bonds

SLOTS = 15
OXT = 14
_BACKBONE = (("N", "CA"), ("CA", "C"), ("C", "O"))
_RINGS = {
    "F": ("CG CD1 CE1 CZ CE2 CD2",),
    "Y": ("CG CD1 CE1 CZ CE2 CD2",),
    "W": ("CG CD1 NE1 CE2 CD2", "CD2 CE2 CZ2 CH2 CZ3 CE3"),
    "H": ("CG ND1 CE1 NE2 CD2",),
    "P": ("N CA CB CG CD",),
}


@dataclass(frozen=True, eq=False)
class Bonding:
    """Which atoms of a protein of L residues are bonded.

    Attributes
    ----------
    bonds : ndarray, int64 [B, 2]
        Numbers of atoms, whether or not a frame has them.
    excluded : ndarray, int64 [K]
        Pairs one or two bonds apart, ascending: 15 * L * first + second, first < second.
    rings : ndarray, int64 [R, 6]
        Atoms in the order of the ring; rings of five repeat the last.
    """

    bonds: np.ndarray
    excluded: np.ndarray
    rings: np.ndarray


def bonding(
    sequence: str, chain_break: np.ndarray, disulfides: Iterable[tuple[int, int]] = ()
) -> Bonding:
    """Bonds inside residues, of the peptides, to OXT, and of disulfides.

    Parameters
    ----------
    sequence : str
        L letters, chains concatenated.
    chain_break : ndarray, bool [L]
        True where residue i is not bonded to residue i - 1.
    disulfides : iterable of (int, int)
        Cysteines (rows from 0) whose SG are bonded.

    Raises
    ------
    StructureError
        A letter without atoms.
    """
    bonds, rings, sulfur = [], [], ATOM14["C"].index("SG")
    for i, letter in enumerate(sequence):
        if letter not in ATOM14:
            raise StructureError(f"the sequence has {letter!r} at {i + 1}; use the 20 letters or X")
        number = {name: SLOTS * i + slot for slot, name in enumerate(ATOM14[letter])}
        bonds += [(number[a], number[b]) for a, b in (*_BACKBONE, *sidechain_bonds(letter))]
        bonds.append((number["C"], SLOTS * i + OXT))
        if i and not chain_break[i]:
            bonds.append((SLOTS * (i - 1) + 2, number["N"]))
        for names in _RINGS.get(letter, ()):
            ring = [number[name] for name in names.split()]
            rings.append(ring + ring[-1:] * (6 - len(ring)))
    bonds += [(SLOTS * i + sulfur, SLOTS * j + sulfur) for i, j in disulfides]
    bonds = np.sort(np.array(bonds, np.int64), 1)
    return Bonding(
        bonds, _two_bonds_apart(bonds, SLOTS * len(sequence)), np.array(rings, int).reshape(-1, 6)
    )


def _two_bonds_apart(bonds: np.ndarray, atoms: int) -> np.ndarray:
    """`Bonding.excluded` of bonds [B, 2]."""
    partners: dict[int, list[int]] = {}
    for a, b in bonds.tolist():
        partners.setdefault(a, []).append(b)
        partners.setdefault(b, []).append(a)
    pairs = [pair for around in partners.values() for pair in combinations(sorted(around), 2)]
    pairs = np.concatenate([bonds, np.array(pairs, np.int64).reshape(-1, 2)])
    return np.unique(pairs[:, 0] * atoms + pairs[:, 1])


def heavy_contacts(
    atoms: np.ndarray, bonding: Bonding, cutoff: float
) -> tuple[np.ndarray, np.ndarray]:
    """Closest pair of atoms more than two bonds apart, and the number of pairs under a cutoff.

    Parameters
    ----------
    atoms : ndarray [F, 15 * L, 3]
        nm; what is not finite is absent.
    bonding : Bonding
    cutoff : float
        nm.

    Returns
    -------
    closest : ndarray, float64 [F]
        nm; inf where there is no pair.
    count : ndarray, int64 [F]
    """
    closest, count = np.full(len(atoms), np.inf), np.zeros(len(atoms), np.int64)
    for frame, x in enumerate(np.asarray(atoms, np.float64)):
        number = np.flatnonzero(np.isfinite(x).all(-1))
        if len(number) < 2:
            continue
        x = x[number]
        extent = np.linalg.norm(np.ptp(x, axis=0))
        reach = 1.2 * cutoff  # rarely is there no pair as close as that
        while True:
            for distance in _distances_within(x, number, bonding.excluded, len(atoms[0]), reach):
                closest[frame] = min(closest[frame], distance.min(initial=np.inf))
                count[frame] += (distance < cutoff).sum()
            if np.isfinite(closest[frame]) or reach > extent:
                break
            reach *= 2
    return closest, count


def _distances_within(
    x: np.ndarray, number: np.ndarray, excluded: np.ndarray, atoms: int, reach: float
) -> Iterator[np.ndarray]:
    """Distances of pairs of points [N, 3] within `reach` that are not excluded, in blocks.

    Blocks of points bound the memory of a frame whose atoms all lie in one place.
    """
    tree_type = require("scipy.spatial").cKDTree
    tree = tree_type(x)
    for start in range(0, len(x), 512):
        block = tree_type(x[start : start + 512])
        found = block.sparse_distance_matrix(tree, reach, output_type="ndarray")
        i, j = found["i"] + start, found["j"]
        once = i < j
        key = number[i[once]] * atoms + number[j[once]]
        place = np.minimum(np.searchsorted(excluded, key), len(excluded) - 1)
        yield found["v"][once][excluded[place] != key]


def pierced_rings(atoms: np.ndarray, bonding: Bonding) -> np.ndarray:
    """Number of rings with a bond through them, int64 [F].

    A ring is the fan of triangles between its atoms and their mean, which also serves the puckered
    ring of proline; a bond pierces it where its segment meets one of them (Möller & Trumbore,
    1997). Bonds that share an atom with the ring are left out.

    Parameters
    ----------
    atoms : ndarray [F, 15 * L, 3]
        nm; rings and bonds with an atom that is not finite are left out.
    bonding : Bonding
    """
    x = np.asarray(atoms, np.float64)
    rings, bonds = bonding.rings, bonding.bonds
    with np.errstate(invalid="ignore", over="ignore"):
        corner = x[:, rings]  # [F, R, 6, 3]
        centre = corner.mean(2)
        ring_radius = np.linalg.norm(corner - centre[:, :, None], axis=-1).max(-1)
        start, end = x[:, bonds[:, 0]], x[:, bonds[:, 1]]
        middle, half = (start + end) / 2, np.linalg.norm(end - start, axis=-1) / 2
        near = _distance(centre, middle) < ring_radius[:, :, None] + half[:, None]
    frame, ring, bond = np.nonzero(near)
    apart = (rings[ring][:, :, None] != bonds[bond][:, None]).all((1, 2))
    frame, ring, bond = frame[apart], ring[apart], bond[apart]
    pierced = np.zeros((len(x), len(rings)), bool)
    for first in range(0, len(frame), 50_000):  # few but for frames that have come apart
        f, r, b = (index[first : first + 50_000] for index in (frame, ring, bond))
        reaches = _distance_to(start[f, b], end[f, b], centre[f, r]) <= ring_radius[f, r]
        f, r, b = f[reaches], r[reaches], b[reaches]
        through = _meets_fan(start[f, b], end[f, b], corner[f, r], centre[f, r])
        pierced[f[through], r[through]] = True
    return pierced.sum(1)


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distances [F, R, B] of points [F, R, 3] and [F, B, 3], one axis at a time."""
    square = sum((a[:, :, None, k] - b[:, None, :, k]) ** 2 for k in range(3))
    return np.sqrt(square)


def _distance_to(start: np.ndarray, end: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Distances [P] of points from segments, all [P, 3]."""
    along = end - start
    square = np.maximum((along**2).sum(-1), 1e-30)
    share = np.clip(((point - start) * along).sum(-1) / square, 0, 1)
    return np.linalg.norm(start + share[:, None] * along - point, axis=-1)


def _meets_fan(
    start: np.ndarray, end: np.ndarray, corner: np.ndarray, centre: np.ndarray
) -> np.ndarray:
    """Whether segments [P, 3] meet a triangle of the fans of corners [P, 6, 3] and centres."""
    u = corner - centre[:, None]
    v = np.roll(corner, -1, axis=1) - centre[:, None]
    along = (end - start)[:, None]
    across = np.cross(along, v)
    volume = (u * across).sum(-1)
    from_centre = (start - centre)[:, None]
    twist = np.cross(from_centre, u)
    with np.errstate(divide="ignore", invalid="ignore"):
        a = (from_centre * across).sum(-1) / volume
        b = (along * twist).sum(-1) / volume
        t = (v * twist).sum(-1) / volume
        inside = (a >= 0) & (b >= 0) & (a + b <= 1) & (t >= 0) & (t <= 1)
    return (inside & (np.abs(volume) > 1e-12)).any(1)  # nm^3; 0: the repeat of a ring of five
