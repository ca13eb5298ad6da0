"""What every structure tokenizer offers."""

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
    """Backbones <-> one token per residue.

    `encode` and `decode` speak Trajectories; subclasses implement the two array methods. Arrays:
    backbones float32 [F, L, 4, 3] (N, CA, C, O; nm), tokens int64 [F, L] in 0..V-1, -1 where a
    residue has no token, residue index int [L] (1 apart where residues are bonded, 33 or more
    apart where unrelated).
    """

    #: V, the number of codes.
    vocabulary: int

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
        """Tokens [F, L] of backbones whose residues are present where `mask` [F, L]."""

    @abstractmethod
    def decode_with_confidence(
        self,
        tokens: np.ndarray,
        amino_acids: np.ndarray,
        index: np.ndarray,
        start: np.ndarray | None = None,
        level: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Backbones [F, L, 4, 3] of tokens [F, L] and the predicted lDDT (CA) of each residue.

        Parameters
        ----------
        tokens : ndarray, int [F, L]
        amino_acids, index : ndarray, int [L]
            20: unknown.
        start : ndarray, float32 [F or 1, L, 4, 3], optional
            Starting frames, nm; NaN where absent. The answer lies in their coordinates.
        level : ndarray [F or 1, L]
            How far CA may be from where the answer has it (nm): 0 keeps N, CA, C and O, except O
            before a residue that moves; infinite: absent.

        Returns
        -------
        backbones : ndarray, float32 [F, L, 4, 3]
        predicted_lddt : ndarray, float32 [F, L]
            0 to 1: how well the tokens' own structure is given back, by the decoder's estimate. It
            says nothing of whether that structure is one the protein has.
        """

    def decode_tokens(
        self,
        tokens: np.ndarray,
        amino_acids: np.ndarray,
        index: np.ndarray,
        start: np.ndarray | None = None,
        level: np.ndarray | None = None,
    ) -> np.ndarray:
        """The backbones of `decode_with_confidence`."""
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
            Draw from the posterior q(z|x) instead of taking its mode.
        seed : int
            For `sample`.

        Returns
        -------
        ndarray, int64 [F, L]
            -1 for a residue whose N, CA or C is absent.
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
        """Trajectory (N, CA, C, O) of tokens [F, L] or [L].

        Parameters
        ----------
        tokens : ndarray, int
        sequence : str
            L letters, ``:`` between chains.
        start : Trajectory, structure or path, optional
            Frames that the decoder starts from, one or as many as there are tokens: residues that
            it lacks atoms of are placed from the tokens alone.
        level : float or ndarray [L]
            How far each CA of `start` may be from where it belongs (nm). 0 keeps a residue where
            it is; infinite ignores it.

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
                f"{tokens.shape[1]} tokens a frame for a sequence of {len(index)} residues; "
                "they must be as many"
            )
        if tokens.size and (tokens.min() < 0 or tokens.max() >= self.vocabulary):
            raise SequenceError(
                f"tokens run from {tokens.min()} to {tokens.max()}, expected 0.."
                f"{self.vocabulary - 1}; residues without a token must be sampled first"
            )
        begun = (None, None) if start is None else _start(start, level, *tokens.shape)
        backbone = self.decode_tokens(tokens, amino_acids, index, *begun)
        return backbone_trajectory(backbone, ":".join(chains))


def _start(
    start: mdtraj.Trajectory | ProteinStructure | str | os.PathLike,
    level: float | np.ndarray,
    frames: int,
    length: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates [F or 1, L, 4, 3] and levels [1, L], checked."""
    backbone = load_structure(start).backbone
    if len(backbone) not in (1, frames) or backbone.shape[1] != length:
        raise StructureError(
            f"start has {len(backbone)} frames of {backbone.shape[1]} residues, the tokens "
            f"{frames} of {length}; give one frame or as many, of the same residues"
        )
    level = np.asarray(level, np.float32)
    if level.ndim > 1 or level.size not in (1, length):
        raise StructureError(f"level has shape {level.shape}; give one number or {length} of them")
    if not (level >= 0).all():
        raise StructureError(
            f"level is {level[~(level >= 0)][0]:g} nm somewhere; it must be 0 (fixed) or more"
        )
    return backbone, np.broadcast_to(level, (1, length))
