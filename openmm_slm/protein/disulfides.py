"""Disulfide bonds, decided once for an ensemble so that all frames share one topology."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from numbers import Integral

import numpy as np

from ..errors import StructureError
from .atoms import ATOM14
from .geometry import cb_position
from .sequence import THREE_LETTER

CB_CB = 0.5  # nm; 0.33 to 0.46 in disulfides of crystal structures
CB_CB_NEIGHBOURS = 0.45  # nm; unbonded residues i and i + 1 have CB-CB of 0.45 to 0.6 nm
SG_SG = (0.18, 0.25)  # nm; the bond length is 0.205 nm
_CB, _SG = ATOM14["C"].index("CB"), ATOM14["C"].index("SG")

Pairs = tuple[tuple[int, int], ...]


def find_disulfides(atom14: np.ndarray, sequence: str, share: float = 0.5) -> Pairs:
    """Pairs of cysteines that are close enough to be bonded in more than `share` of the frames.

    The SG-SG distance decides (at most 0.25 nm) if every frame with both residues has both SG.
    Otherwise the CB-CB distance decides (at most 0.5 nm; 0.45 nm for residues i and i + 1); a
    missing CB is placed at its ideal L position. Each cysteine is in at most one pair, the one
    with the smallest median distance relative to its limit.

    Parameters
    ----------
    atom14 : ndarray [F, L, 14, 3]
        nm, NaN where absent. Frames that lack either residue are ignored for that pair.
    sequence : str
        L letters.
    share : float
        In [0, 1).

    Returns
    -------
    tuple of (int, int)
        Residue rows i < j, sorted.
    """
    atom14 = np.asarray(atom14)
    found = []
    for i, j in combinations([i for i, letter in enumerate(sequence) if letter == "C"], 2):
        a, b = atom14[:, i], atom14[:, j]
        distance = np.linalg.norm(_cb(a) - _cb(b), axis=-1)
        counted = np.isfinite(distance)
        limit = CB_CB_NEIGHBOURS if j == i + 1 else CB_CB
        sulfurs = np.linalg.norm(a[:, _SG] - b[:, _SG], axis=-1)
        if np.isfinite(sulfurs[counted]).all():
            distance, limit = sulfurs, SG_SG[1]
        distance = distance[counted]
        if len(distance) and (distance <= limit).mean() > share:
            found.append((float(np.median(distance)) / limit, i, j))
    pairs: list[tuple[int, int]] = []
    for _, i, j in sorted(found):
        if not any({i, j} & {*pair} for pair in pairs):
            pairs.append((i, j))
    return tuple(sorted(pairs))


def _cb(residue: np.ndarray) -> np.ndarray:
    """CB [F, 3] of residues [F, 14, 3]; a missing CB gets its ideal L position."""
    cb = residue[:, _CB]
    return np.where(np.isfinite(cb), cb, cb_position(residue[:, :3]))


def parse_disulfides(
    value: str | Iterable[tuple[int, int]] | None, atom14: np.ndarray, sequence: str
) -> Pairs:
    """Cysteine pairs from the user's `disulfides` argument.

    Parameters
    ----------
    value : "auto", "none", None or iterable of (int, int)
        "auto" calls `find_disulfides`; pairs are residue rows from 0, as in MDTraj's
        ``residue.index``.
    atom14 : ndarray [F, L, 14, 3]
        nm; used for "auto" only.
    sequence : str
        L letters.

    Returns
    -------
    tuple of (int, int)
        Residue rows i < j, sorted.

    Raises
    ------
    StructureError
        A pair is not two different cysteines of the sequence, or a cysteine is in two pairs.
    """
    if isinstance(value, str) and value == "auto":
        return find_disulfides(atom14, sequence)
    if value is None or (isinstance(value, str) and value == "none"):
        return ()
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise StructureError(
            f"disulfides is {value!r}; give 'auto', 'none' or pairs of residue rows: [(4, 54)]"
        )
    pairs: list[tuple[int, int]] = []
    for number, pair in enumerate(value):
        rows = _rows(pair, f"disulfides[{number}]", sequence)
        for row in rows:
            if any(row in other for other in pairs):
                raise StructureError(
                    f"disulfides[{number}] is {rows}: residue {row} is in another pair already; "
                    "remove one of the two pairs"
                )
        pairs.append((min(rows), max(rows)))
    return tuple(sorted(pairs))


def _rows(pair: object, place: str, sequence: str) -> tuple[int, int]:
    """Check that `pair` is two different cysteines; the error names `place`."""
    items = list(pair) if isinstance(pair, Iterable) and not isinstance(pair, str) else []
    if len(items) != 2 or not all(
        isinstance(row, Integral) and not isinstance(row, bool) for row in items
    ):
        raise StructureError(f"{place} is {pair!r}; give two residue rows (from 0), as in (4, 54)")
    rows = int(items[0]), int(items[1])
    if rows[0] == rows[1]:
        raise StructureError(f"{place} is {rows}: a residue paired with itself; name two cysteines")
    for row in rows:
        if not 0 <= row < len(sequence):
            raise StructureError(
                f"{place} is {rows}: no residue {row} among {len(sequence)}; rows count from 0 "
                "over all chains"
            )
        if sequence[row] != "C":
            name = THREE_LETTER.get(sequence[row], sequence[row])
            cysteines = [i for i, letter in enumerate(sequence) if letter == "C"]
            raise StructureError(
                f"{place} is {rows}: residue {row} is {name}, not CYS; rows count from 0, and the "
                f"cysteines are {', '.join(map(str, cysteines)) or 'none'}"
            )
    return rows


def disulfide_formed(atom14: np.ndarray, pairs: Pairs) -> np.ndarray:
    """bool [F, P]: the SG-SG distance is 0.18 to 0.25 nm; False where an SG is absent."""
    atom14 = np.asarray(atom14)
    rows = np.array(pairs, np.int64).reshape(-1, 2)
    distance = np.linalg.norm(atom14[:, rows[:, 0], _SG] - atom14[:, rows[:, 1], _SG], axis=-1)
    return (distance >= SG_SG[0]) & (distance <= SG_SG[1])
