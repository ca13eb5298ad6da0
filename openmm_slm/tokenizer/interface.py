"""What every structure tokenizer offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SequenceError
from ..sequence import parse_sequence, sequence_layout
from ..structure import ProteinStructure, backbone_trajectory, load_structure

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
    def decode_tokens(
        self, tokens: np.ndarray, amino_acids: np.ndarray, index: np.ndarray
    ) -> np.ndarray:
        """Backbones [F, L, 4, 3] of tokens [F, L]; amino acids int [L] (20: unknown)."""

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

    def decode(self, tokens: np.ndarray, sequence: str) -> mdtraj.Trajectory:
        """Trajectory (N, CA, C, O) of tokens [F, L] or [L].

        Parameters
        ----------
        tokens : ndarray, int
        sequence : str
            L letters, ``:`` between chains.

        Raises
        ------
        ValueError
            Lengths differ, or a token is outside 0..V-1.
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
        backbone = self.decode_tokens(tokens, amino_acids, index)
        return backbone_trajectory(backbone, ":".join(chains))
