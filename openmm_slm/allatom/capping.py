"""Caps of chain ends in an all-atom topology: extra rows behind those of the residues."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..errors import StructureError
from ..protein.caps import CAP_ATOMS, Cap
from ..protein.structure import ProteinStructure


def bonded_caps(structure: ProteinStructure) -> list[Cap]:
    """Caps that are bonded to a residue; cap k has row L + k."""
    return [cap for cap in structure.caps if cap.row >= 0]


def free_ends(structure: ProteinStructure) -> tuple[np.ndarray, np.ndarray]:
    """Residues that begin and that end a chain and have no cap there: two masks bool [L]."""
    first = structure.chain_break.copy()
    last = np.append(structure.chain_break[1:], True)
    for cap in bonded_caps(structure):
        (first if cap.before else last)[cap.row] = False
    return first, last


def rows_in_order(structure: ProteinStructure) -> list[int]:
    """Rows of residues and caps in the order of the topology."""
    length, around = structure.n_residues, {}
    for k, cap in enumerate(bonded_caps(structure)):
        around.setdefault((cap.row, cap.before), []).append(length + k)
    return [
        each
        for row in range(length)
        for each in (*around.get((row, True), ()), row, *around.get((row, False), ()))
    ]


def with_cap_rows(atom14: np.ndarray, caps: Iterable[Cap]) -> np.ndarray:
    """Frames [F, L + C, 14, 3] of residues [F, L, 14, 3] and C caps; nm."""
    parts = [atom14]
    for cap in caps:
        part = np.full((len(atom14), 1, *atom14.shape[2:]), np.nan, np.float32)
        part[:, 0, : len(CAP_ATOMS[cap.kind])] = cap.xyz
        parts.append(part)
    return np.concatenate(parts, 1) if len(parts) > 1 else atom14


def same_caps(caps: Iterable[Cap], expected: list[Cap]) -> list[Cap]:
    """The caps with a row, which have to be those expected.

    Raises
    ------
    StructureError
        A cap is bonded elsewhere than in the first frames.
    """
    found = {(cap.kind, cap.row): cap for cap in caps}
    for cap in expected:
        if (cap.kind, cap.row) not in found:
            raise StructureError(
                f"{cap} is bonded to a residue in the first frames only; make molecules whole, or "
                "remove the cap"
            )
    return [found[cap.kind, cap.row] for cap in expected]
