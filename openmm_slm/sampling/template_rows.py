"""Rows of a template in a sequence, and the numbers of residues that it lacks."""

from __future__ import annotations

import numpy as np

from ..errors import StructureError
from ..protein.alignment import align
from ..protein.structure import ProteinStructure
from ..protein.unmodelled import residue_label

# nm; C-N in noisy frames reaches 0.25, and is 0.35 or more where one residue is missing.
OPEN_JOINT = 0.3


def refuse_open_joints(found: ProteinStructure, rows: np.ndarray, ours: list[str]) -> None:
    """Raise StructureError where the sequence joins residues with no bond in the template."""
    start = np.cumsum([0, *map(len, ours)])
    for i in range(1, len(rows)):
        a, b = rows[i - 1], rows[i]
        if i in start or a < 0 or b < 0:
            continue
        gap = found.atom14[:, a, 2] - found.atom14[:, b, 0]
        distance = np.linalg.norm(gap, axis=-1)
        if (distance >= OPEN_JOINT).all():
            raise StructureError(
                f"the sequence joins {residue_label(found, a)} and {residue_label(found, b)}, "
                f"which are not bonded in the template (C-N {distance.min():.2f} nm); give the "
                "full sequence (residues that the template lacks are sampled), or ':' between "
                "the pieces"
            )


def aligned_rows(ours: str, theirs: str, numbers: np.ndarray, chain: str) -> list[tuple[int, int]]:
    """Aligned rows (i, j) of one chain: i in the sequence, j in the template, which has no gap."""
    steps = numbers - numbers[0]
    rising = len(set(numbers.tolist())) == len(numbers) and (np.diff(numbers) > 0).all()
    if rising:  # residue numbers show where residues are missing; letters may be ambiguous
        for first in range(len(ours) - int(steps[-1])):
            if all(ours[first + k] == b or b == "X" for k, b in zip(steps, theirs, strict=True)):
                return [(first + int(k), j) for j, k in enumerate(steps)]
    try:
        places = align(ours, theirs)
    except StructureError as error:
        text = (
            str(error)
            .replace("the samples", "the sequence")
            .replace("the reference", "the template")
        )
        raise StructureError(f"chain {chain} of the template: {text.split(';')[0]}") from None
    if len(places) < len(theirs):
        extra = sorted(set(range(len(theirs))) - {j for _, j in places})[0]
        raise StructureError(
            f"chain {chain} of the template has {theirs[extra]}{numbers[extra]}, which the "
            "sequence lacks; add it to the sequence, or remove it from the template"
        )
    return places


def residue_numbers(numbers: np.ndarray, rows: np.ndarray, lengths: list[int]) -> np.ndarray:
    """Residue numbers int32 [L] from the rows [L] of the template (-1: residue is missing)."""
    out, first = [], 0
    for length in lengths:
        mine = rows[first : first + length]
        there = np.flatnonzero(mine >= 0)
        if not len(there):
            out += range(1, length + 1)
        else:
            place = np.arange(length)
            anchor = there[np.maximum(np.searchsorted(there, place, "right") - 1, 0)]
            out += (numbers[mine[anchor]] + place - anchor).tolist()
        first += length
    return np.array(out, np.int32)
