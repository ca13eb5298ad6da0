"""Rank samples of a segment with a network, from arrays to arrays."""

from __future__ import annotations

import os

import numpy as np
import torch

from ..networks.storage import load_module
from .segment_network import SegmentNetwork

#: Samples computed together. There are always so many, so that a sample does not depend on others.
_TOGETHER = 32
#: Residues around a segment that the network sees.
SEEN = 44


class SegmentRanker:
    """Tells how far samples of a segment are from the true structure.

    Parameters
    ----------
    network : SegmentNetwork
    device : str
        Torch device.
    """

    def __init__(self, network: SegmentNetwork, device: str = "cpu") -> None:
        self.network = network.to(device).eval()
        self.device = torch.device(device)

    @classmethod
    def load(cls, directory: str | os.PathLike, device: str = "cpu") -> SegmentRanker:
        """Load a model directory."""
        return cls(load_module(directory, SegmentNetwork), device)

    @torch.inference_mode()
    def expected(
        self,
        backbone: np.ndarray,
        letters: np.ndarray,
        index: np.ndarray,
        rows: np.ndarray,
        strain: np.ndarray,
        sidechains: np.ndarray,
    ) -> np.ndarray:
        """Expected ln(RMSD + 0.03 nm) of samples of a segment, float64 [F].

        Parameters
        ----------
        backbone : ndarray [F, M, 4, 3]
            N, CA, C and O of the segment and of residues near it; nm, finite.
        letters, index : ndarray, int [M]
            Amino acid numbers, and residue index: steps of 1 between bonded residues.
        rows : ndarray, int [K]
            Which of the M residues are the segment.
        strain : ndarray [F, 2]
            How far the closure of the chain moved an atom (nm), and clashing pairs of atoms.
        sidechains : ndarray [M, 10, 3]
            Heavy atoms of side chains; nm, NaN where absent and for the segment.
        """
        out = np.empty(len(backbone))
        given = [letters, index, rows]
        fixed = [
            torch.as_tensor(each.astype(np.int64), device=self.device).expand(_TOGETHER, -1)
            for each in given
        ]
        around = torch.as_tensor(np.asarray(sidechains, np.float32), device=self.device)
        around = around.expand(_TOGETHER, -1, -1, -1)
        for first in range(0, len(backbone), _TOGETHER):
            part = slice(first, first + _TOGETHER)
            x, s = (np.asarray(each[part], np.float32) for each in (backbone, strain))
            padding = [(0, _TOGETHER - len(x))]
            x = np.pad(x, padding + 3 * [(0, 0)], mode="edge")
            s = np.pad(s, [*padding, (0, 0)], mode="edge")
            x, s = (torch.as_tensor(each, device=self.device) for each in (x, s))
            _, whole = self.network(x, *fixed, s, around)
            out[part] = whole[: len(out[part])].double().cpu().numpy()
        return out
