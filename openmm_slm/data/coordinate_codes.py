"""Encode backbone coordinates as small integers, with a bound on the error of every atom.

Each atom is placed from three earlier atoms (N from N, CA, C of the previous residue; then CA and
C; O from CA, C and the next N) in cylindrical coordinates: height along the last bond, distance
from its axis, and torsion. Height and distance are rounded to a multiple of `step`, the torsion to
an arc of at most `step`, so no atom moves by more than sqrt(3)/2 `step`. The reference atoms are
the decoded ones, so errors do not accumulate along the chain. Bond lengths and angles hardly vary,
so the codes compress to 31 bits per residue at 0.005 nm, instead of 384.

After a chain break, or at a distorted or straight residue, N, CA and C are stored as coordinates
(an anchor). Residues of a chain are coded one after the other, all chains in parallel.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

BOND = 0.2  # nm, longest bond that is encoded
_N, _CA, _C, _O = range(4)


@dataclass(frozen=True, eq=False)
class BackboneCodes:
    """Codes of R residues that have all of N, CA, C and O.

    Attributes
    ----------
    anchor : ndarray, bool [R]
        Residues that are not placed from the previous one.
    start : ndarray, int32 [anchors, 3, 3]
        N, CA and C of the anchors in steps; N and C relative to CA.
    bonds : ndarray, int8 [R, 4, 2]
        Height along the last bond and distance from its axis, in steps, of N, CA, C (0 in anchors)
        and O.
    torsions : ndarray, int8 [R, 4]
        Torsion from trans, in arcs whose angle depends on the distance from the axis.
    """

    anchor: np.ndarray
    start: np.ndarray
    bonds: np.ndarray
    torsions: np.ndarray


def step_of(error: float) -> float:
    """Step (nm) that keeps every atom within `error` nm.

    Raises
    ------
    ValueError
        `error` is below 0.005: the codes would not fit in a byte.
    """
    if not error >= 0.005:
        raise ValueError(f"error is {error!r} nm; give at least 0.005")
    return 0.999 * 2 / np.sqrt(3) * error  # margin for float32 rounding


def codable(backbone: np.ndarray) -> np.ndarray:
    """Mask [R] of residues [R, 4, 3] that are complete, bonded and not straight."""
    n, ca, c, o = (backbone[:, atom].T for atom in range(4))
    bonded = _near(n, ca) & _near(ca, c) & _near(c, o)  # False for NaN
    return bonded & _bent(n, ca, c)


def encode_backbone(backbone: np.ndarray, first: np.ndarray, step: float) -> BackboneCodes:
    """Encode residues [R, 4, 3] in nm, all `codable`; `first` [R] marks the first of a chain."""
    n, ca, c, _ = (backbone[:, atom].T for atom in range(4))
    before = [np.roll(x, 1, axis=1) for x in (ca, c)]
    linked = _near(before[1], n) & _bent(*before, n) & _bent(before[1], n, ca)
    anchor = first | ~linked
    start = np.rint(backbone[anchor, :3] / step).astype(np.int32)
    start[:, [_N, _C]] -= start[:, [_CA]]
    codes = BackboneCodes(
        anchor,
        start,
        np.zeros((len(backbone), 4, 2), np.int8),
        np.zeros((len(backbone), 4), np.int8),
    )
    _walk(codes, step, np.asarray(backbone, np.float64))
    return codes


def decode_backbone(codes: BackboneCodes, step: float) -> np.ndarray:
    """Coordinates float32 [R, 4, 3] in nm."""
    return _walk(codes, step)


def to_local(atoms: np.ndarray, backbone: np.ndarray) -> np.ndarray:
    """Atoms [R, A, 3] in the local frames (N, CA, C) of their residues (`backbone` [R, 4, 3])."""
    return np.einsum("rax,rkx->rak", atoms - backbone[:, [_CA]], _axes(backbone))


def from_local(relative: np.ndarray, backbone: np.ndarray) -> np.ndarray:
    """Inverse of `to_local`."""
    return np.einsum("rak,rkx->rax", relative, _axes(backbone)) + backbone[:, [_CA]]


def _axes(backbone: np.ndarray) -> np.ndarray:
    n, ca, c = (backbone[:, atom].T.astype(np.float64) for atom in range(3))
    return np.stack(_frame(n, ca, c)).transpose(2, 0, 1)


# Points below are [3, n]: three times faster in NumPy than [n, 3].


def _near(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return ((a - b) ** 2).sum(0) < BOND**2


def _bent(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Whether the angle at b is far enough from 0 and 180 degrees for a, b, c to span a plane."""
    u, v = a - b, c - b
    return (_cross(u, v) ** 2).sum(0) > 0.04 * (u * u).sum(0) * (v * v).sum(0)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.stack(
        (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
    )


def _frame(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, ...]:
    """Axes at c: along b-c; in the plane of a, b, c and pointing away from a; normal to it."""
    along = c - b
    along /= np.sqrt((along * along).sum(0))
    normal = _cross(along, b - a)
    normal /= np.sqrt((normal * normal).sum(0))
    return along, _cross(normal, along), normal


def _arcs(away: np.ndarray) -> np.ndarray:
    """Number of arcs of a full turn at `away` steps from the axis; none is longer than a step."""
    return np.ceil(2 * np.pi * (away + 0.5))


def _walk(codes: BackboneCodes, step: float, truth: np.ndarray | None = None) -> np.ndarray:
    """Place all atoms from their codes; with `truth` [R, 4, 3], compute each code first."""
    built = np.empty((len(codes.anchor), 4, 3), np.float32)
    begin = np.flatnonzero(codes.anchor)
    length = np.diff(np.append(begin, len(codes.anchor)))
    start = codes.start * step
    start[:, [_N, _C]] += start[:, [_CA]]
    built[begin, :3] = start
    order = np.argsort(-length, kind="stable")

    def place(rows: np.ndarray, atom: int, *before: np.ndarray) -> np.ndarray:
        along, up, normal = _frame(*before)
        if truth is not None:
            off = truth[rows, atom].T - before[2]
            x, y, z = ((off * axis).sum(0) for axis in (along, up, normal))
            away = np.rint(np.hypot(y, z) / step)
            codes.bonds[rows, atom] = np.stack([np.rint(x / step), away], -1)
            codes.torsions[rows, atom] = np.rint(np.arctan2(z, y) / (2 * np.pi) * _arcs(away))
        x, away = codes.bonds[rows, atom].T * step
        angle = 2 * np.pi / _arcs(away / step) * codes.torsions[rows, atom]
        new = before[2] + x * along + away * (np.cos(angle) * up + np.sin(angle) * normal)
        built[rows, atom] = new.T
        return new

    def walk(chosen: np.ndarray) -> None:
        """Place chains in parallel, longest first: the unfinished ones stay a leading slice."""
        first, last = begin[chosen], begin[chosen] + length[chosen] - 1
        n, ca, c = start[chosen].transpose(1, 2, 0)
        for number in range(1, length[chosen[0]]):
            here = first[: np.count_nonzero(length[chosen] > number)] + number
            n, ca, c = (x[:, : len(here)] for x in (n, ca, c))
            new_n = place(here, _N, n, ca, c)
            place(here - 1, _O, new_n, ca, c)
            new_ca = place(here, _CA, ca, c, new_n)
            n, ca, c = new_n, new_ca, place(here, _C, c, new_n, new_ca)
        place(last, _O, *built[last, :3].transpose(1, 2, 0).astype(np.float64))

    threads = min(16, os.cpu_count() or 1, len(order))
    with ThreadPoolExecutor(max(1, threads)) as pool:
        list(pool.map(walk, [order[number::threads] for number in range(threads)]))
    return built
