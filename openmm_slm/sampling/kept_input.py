"""What the input of `complete` has besides protein, and where it is in each of its frames."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..allatom.kept_hydrogens import with_hydrogens
from ..protein.keep_selection import check_keep, kept_residues, other_residues
from ..protein.kept_groups import KeptGroups
from ..protein.kept_images import NearestImages, beside_protein
from ..protein.structure import ProteinStructure
from .kept_template import may_keep, read_kept

if TYPE_CHECKING:
    import mdtraj

    from ..files.frame_reader import StructureReader


@dataclass(frozen=True, eq=False)
class KeptInput:
    """Groups that stay in completed frames.

    Attributes
    ----------
    given : KeptGroups
        As the first frame of the input has them.
    groups : KeptGroups
        With the hydrogens that waters and nucleotides lack, if hydrogens are wanted.
    """

    given: KeptGroups
    groups: KeptGroups

    def completed(self, xyz: np.ndarray) -> np.ndarray:
        """Positions [F, K, 3] of `groups` for those of `given`."""
        if self.groups is self.given:
            return xyz
        return with_hydrogens(replace(self.given, xyz=xyz)).xyz


class KeptPositions:
    """Kept groups of an input that is read in blocks, without a second pass over its frames.

    Parameters
    ----------
    source, top
        As for `openmm_slm.files.frame_reader.StructureReader`.
    reader : StructureReader
        Of this source.
    keep : str
        See `openmm_slm.protein.keep_selection.kept_residues`; the first frame decides.
    first : ProteinStructure
        The first block.
    frames : mdtraj.Trajectory, optional
        The same frames with all atoms, of trajectories.
    hydrogens : bool

    Attributes
    ----------
    kept : KeptInput or None
        None if nothing but protein stays.

    Raises
    ------
    StructureError
        `keep` selects nothing, or protein; or models of a file differ in what is not protein.
    """

    def __init__(
        self,
        source: object,
        top: object,
        reader: StructureReader,
        keep: str,
        first: ProteinStructure,
        frames: mdtraj.Trajectory | None,
        hydrogens: bool,
    ) -> None:
        self._xyz = self._images = None
        groups = None
        if not may_keep(source, keep := check_keep(keep)):
            pass
        elif frames is None:
            rows, whole = np.arange(first.n_residues), reader.load()
            groups = read_kept(source, top, keep, rows, first.sequence, whole.atom14)
            if groups:
                self._xyz = groups.xyz
                groups = replace(groups, xyz=groups.xyz[:1], atom14=groups.atom14[:1])
        else:
            name = source if isinstance(source, (str, os.PathLike)) else "the trajectory"
            one = beside_protein(
                frames[:1], [r for r in other_residues(frames.topology) if not r.is_water]
            )
            residues = kept_residues(one, keep, name)
            if residues:
                self._images = NearestImages(frames.topology, residues)
                one = beside_protein(one, residues)
                rows = np.arange(first.n_residues)
                groups = KeptGroups.of_residues(
                    one, residues, rows, first.sequence, first.atom14[:1], name
                )
        self.kept = None
        if groups:
            self.kept = KeptInput(groups, with_hydrogens(groups) if hydrogens else groups)

    def of_block(
        self, start: int, size: int, frames: mdtraj.Trajectory | None
    ) -> np.ndarray | None:
        """Positions [F, K, 3] of `KeptInput.given` in `size` frames from `start` on, or None."""
        if self._images:
            return self._images.xyz(frames)
        return None if self._xyz is None else self._xyz[start : start + size]
