"""Interface of structure tokenizers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SequenceError, StructureError
from ..protein.loading import load_structure
from ..protein.sequence import parse_sequence, sequence_layout
from ..protein.structure import ProteinStructure
from ..protein.trajectory import backbone_trajectory

if TYPE_CHECKING:
    import os

    import mdtraj


class StructureTokenizer(ABC):
    """Map backbones to one token per residue, and back.

    `encode` and `decode` work on Trajectories. Subclasses implement `encode_backbone` and
    `decode_with_confidence`, which work on arrays:

    - backbones float32 [F, L, 4, 3]: N, CA, C, O in nm;
    - tokens int64 [F, L]: 0..V-1, or -1 for a residue without a token;
    - residue index int [L]: steps of 1 between bonded residues, of 33 or more between chains.
    """

    #: V, the number of codes.
    vocabulary: int
    #: Whether the decoder sees starting frames; if not, decoded backbones are fitted to them.
    sees_frames: bool = True

    @abstractmethod
    def encode_backbone(
        self,
        backbone: np.ndarray,
        mask: np.ndarray,
        index: np.ndarray,
        *,
        sample: bool = False,
        seed: int = 0,
    ) -> np.ndarray:
        """Tokens [F, L] of backbones; -1 where `mask` [F, L] is False (residue absent)."""

    @abstractmethod
    def decode_with_confidence(
        self,
        tokens: np.ndarray,
        amino_acids: np.ndarray,
        index: np.ndarray,
        start: np.ndarray | None = None,
        level: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Decode tokens to backbones and the predicted lDDT (CA) of each residue.

        Parameters
        ----------
        tokens : ndarray, int [F, L]
        amino_acids : ndarray, int [L]
            Amino acid numbers; 20 is unknown.
        index : ndarray, int [L]
            Residue index.
        start : ndarray, float32 [F or 1, L, 4, 3], optional
            Starting frames, nm; NaN where absent. The result is in their coordinate system.
        level : ndarray [F or 1, L]
            Expected displacement of CA from its starting frame (nm). 0 keeps N, CA, C and O,
            except the O before a residue that moves. Infinite: absent.

        Returns
        -------
        backbones : ndarray, float32 [F, L, 4, 3]
        predicted_lddt : ndarray, float32 [F, L]
            0 to 1: the decoder's estimate of how well it reconstructs the structure that the
            tokens encode, not of whether the protein adopts that structure.
        """

    def decode_tokens(
        self,
        tokens: np.ndarray,
        amino_acids: np.ndarray,
        index: np.ndarray,
        start: np.ndarray | None = None,
        level: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return only the backbones of `decode_with_confidence`."""
        return self.decode_with_confidence(tokens, amino_acids, index, start, level)[0]

    def encode(
        self,
        structure: mdtraj.Trajectory | ProteinStructure | str | os.PathLike,
        *,
        sample: bool = False,
        seed: int = 0,
    ) -> np.ndarray:
        """Tokens of a Trajectory, a structure or a file.

        Parameters
        ----------
        structure : Trajectory, ProteinStructure or path
        sample : bool
            Sample the posterior q(z|x) instead of taking its mode.
        seed : int
            Random seed of `sample`.

        Returns
        -------
        ndarray, int64 [F, L]
            -1 for a residue without N, CA or C.
        """
        structure = load_structure(structure)
        return self.encode_backbone(
            structure.backbone,
            structure.backbone_mask,
            structure.residue_index,
            sample=sample,
            seed=seed,
        )

    def decode(
        self,
        tokens: np.ndarray,
        sequence: str,
        *,
        start: mdtraj.Trajectory | ProteinStructure | str | os.PathLike | None = None,
        level: float | np.ndarray = 0.1,
    ) -> mdtraj.Trajectory:
        """Decode tokens [F, L] or [L].

        Parameters
        ----------
        tokens : ndarray, int
        sequence : str
            L letters, ``:`` between chains.
        start : Trajectory, structure or path, optional
            Structure that decoding starts from: one frame, or F. A residue without N, CA or C
            there is placed from the tokens alone.
        level : float or ndarray [L]
            Expected displacement of each CA from `start` (nm). 0 keeps the residue in place;
            infinite ignores it.

        Returns
        -------
        Trajectory
            Atoms N, CA, C and O.

        Raises
        ------
        ValueError
            Lengths differ, a token is outside 0..V-1, or a level is negative or NaN.
        """
        chains = parse_sequence(sequence)
        amino_acids, _, index = sequence_layout(chains)
        tokens = np.atleast_2d(np.asarray(tokens))
        if tokens.shape[1] != len(index):
            raise SequenceError(
                f"{tokens.shape[1]} tokens per frame for a sequence of {len(index)} residues; "
                "give one token per residue"
            )
        if tokens.size and (tokens.min() < 0 or tokens.max() >= self.vocabulary):
            raise SequenceError(
                f"tokens range from {tokens.min()} to {tokens.max()}, expected 0.."
                f"{self.vocabulary - 1}; sample the tokens of residues that have none (-1) first"
            )
        starting = (None, None) if start is None else _start_arrays(start, level, *tokens.shape)
        backbone = self.decode_tokens(tokens, amino_acids, index, *starting)
        return backbone_trajectory(backbone, ":".join(chains))


def _start_arrays(
    start: mdtraj.Trajectory | ProteinStructure | str | os.PathLike,
    level: float | np.ndarray,
    frames: int,
    length: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates [F or 1, L, 4, 3] and levels [1, L], after validation."""
    backbone = load_structure(start).backbone
    if len(backbone) not in (1, frames) or backbone.shape[1] != length:
        raise StructureError(
            f"start has {len(backbone)} frames of {backbone.shape[1]} residues, but the tokens "
            f"have {frames} of {length}; give 1 or {frames} frames of {length} residues"
        )
    level = np.asarray(level, np.float32)
    if level.ndim > 1 or level.size not in (1, length):
        raise StructureError(f"level has shape {level.shape}; give one number or {length} numbers")
    if not (level >= 0).all():
        raise StructureError(
            f"level contains {level[~(level >= 0)][0]:g} nm; give 0 (fixed) or more"
        )
    return backbone, np.broadcast_to(level, (1, length))
