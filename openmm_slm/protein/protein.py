"""Sequence and connectivity of a protein, built once per run and shared by all its frames."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import StructureError
from .atoms import ATOM14
from .bonding import Bonding, bonding
from .disulfides import Pairs, parse_disulfides
from .structure import UNBONDED_GAP, ProteinStructure


@dataclass(frozen=True, eq=False)
class Protein:
    """Sequence and connectivity of L residues.

    Parameters
    ----------
    sequence : str
        L letters of the 20, or X; chains concatenated.
    chain_break : ndarray, bool [L]
        True where residue i is not bonded to residue i - 1.
    residue_index : ndarray, int [L], optional
        Positions for the networks (`openmm_slm.protein.structure.residue_index`). Default: steps
        of 1 along a chain, of 33 at a chain break.
    disulfides : iterable of (int, int)
        Bonded cysteines, as residue rows from 0.
    cis_allowed : ndarray, bool [L], optional
        Residues other than proline whose preceding peptide bond may be cis.
    d_residues : ndarray, bool [L], optional
        D amino acids.

    Raises
    ------
    StructureError
        An array has another length, the sequence an unknown letter, or a disulfide is impossible.
    """

    sequence: str
    chain_break: np.ndarray
    residue_index: np.ndarray | None = None
    disulfides: Pairs = ()
    cis_allowed: np.ndarray | None = None
    d_residues: np.ndarray | None = None

    def __post_init__(self) -> None:
        length = len(self.sequence)
        for place, letter in enumerate(self.sequence, 1):
            if letter not in ATOM14:
                raise StructureError(
                    f"the sequence has {letter!r} at {place}; use the 20 letters or X"
                )
        broken = np.asarray(self.chain_break, bool)
        step = np.where(broken[1:], UNBONDED_GAP, 1)
        arrays = {
            "chain_break": broken,
            "residue_index": np.concatenate([[0], np.cumsum(step)])
            if self.residue_index is None
            else np.asarray(self.residue_index),
        }
        for name in ("cis_allowed", "d_residues"):
            given = getattr(self, name)
            arrays[name] = np.zeros(length, bool) if given is None else np.asarray(given, bool)
        for name, values in arrays.items():
            if values.shape != (length,):
                raise StructureError(f"{name} has shape {values.shape}, expected ({length},)")
            object.__setattr__(self, name, values)
        pairs = parse_disulfides(self.disulfides, None, self.sequence)
        object.__setattr__(self, "disulfides", pairs)

    @classmethod
    def of(
        cls,
        structure: ProteinStructure,
        disulfides: str | Iterable[tuple[int, int]] | None = "auto",
        cis_allowed: np.ndarray | None = None,
        d_residues: np.ndarray | None = None,
    ) -> Protein:
        """Protein of a structure; `disulfides` "auto" finds them in its frames."""
        pairs = parse_disulfides(disulfides, structure.atom14, structure.sequence)
        return cls(
            structure.sequence, structure.chain_break, structure.residue_index, pairs, cis_allowed,
            d_residues,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.sequence)

    @cached_property
    def bonding(self) -> Bonding:
        """Bonds, pairs one or two bonds apart, and rings."""
        return bonding(self.sequence, self.chain_break, self.disulfides)
