"""Build backbones from CA traces, such as frames of coarse-grained models."""

from __future__ import annotations

import logging
import os
from dataclasses import replace

import numpy as np
import torch

from ..networks.storage import load_module
from ..projection.close_peptides import close_peptide_bonds
from ..protein.ca_trace import lone_ca, trace_breaks
from ..protein.geometry import C_O, CA_C, CA_C_O_ANGLE, N_CA, N_CA_C_ANGLE
from ..protein.protein import Protein
from ..protein.sequence import encode_sequence
from ..protein.structure import ProteinStructure, residue_index
from .backmapping_network import BackmappingNetwork, find_peptides, to_space
from .builder import place_atom

logger = logging.getLogger(__name__)

_DISTANCES = 4_000_000  # CA-CA distances in memory at once
_PSI, _PHI = np.radians(140.0), np.radians(-120.0)  # of the two ends of a chain


class Backmapper:
    """Build N, C and O of residues that have a CA alone.

    Parameters
    ----------
    network : BackmappingNetwork
    device : str
        Torch device.
    """

    def __init__(self, network: BackmappingNetwork, device: str = "cpu") -> None:
        self.network = network.to(device).eval()
        self.device = torch.device(device)

    @classmethod
    def load(cls, directory: str | os.PathLike, device: str = "cpu") -> Backmapper:
        """Load a model directory."""
        return cls(load_module(directory, BackmappingNetwork), device)

    def complete(self, structure: ProteinStructure) -> ProteinStructure:
        """Structure with backbones for all residues that have a CA alone (see `lone_ca`).

        Peptide bonds are closed, for which CA move a little. Other atoms of these residues are
        left out; all other residues keep their atoms.

        Raises
        ------
        StructureError
            No chain can have these CA (see `openmm_slm.protein.ca_trace.trace_breaks`).
        """
        lone = lone_ca(structure)
        if not lone.any():
            return structure
        breaks = trace_breaks(structure, lone)
        index = residue_index(structure.chain_index, structure.residue_number, breaks)
        backbone = structure.backbone.copy()
        built = self.backbones(backbone[:, :, 1], structure.sequence, index)
        backbone[:, lone] = built[:, lone]
        protein = Protein(structure.sequence, breaks, index)
        backbone, _ = close_peptide_bonds(backbone, protein, lone.astype(float))
        atom14 = structure.atom14.copy()
        atom14[:, lone] = np.nan
        atom14[:, :, :4] = np.where(lone[:, None, None], backbone, atom14[:, :, :4])
        return replace(structure, atom14=atom14, chain_break=breaks)

    @torch.inference_mode()
    def backbones(self, ca: np.ndarray, sequence: str, index: np.ndarray) -> np.ndarray:
        """Backbones as the network predicts them, before peptide bonds are closed.

        Parameters
        ----------
        ca : ndarray [F, L, 3]
            nm; NaN where absent.
        sequence : str
            L letters.
        index : ndarray, int [L]
            Residue index: steps of 1 between bonded residues.

        Returns
        -------
        ndarray, float32 [F, L, 4, 3]
            NaN for residues without a bonded neighbour.
        """
        frames, length = ca.shape[:2]
        size = max(1, _DISTANCES // length**2)
        parts = [self._batch(ca[i : i + size], sequence, index) for i in range(0, frames, size)]
        return np.concatenate(parts) if parts else np.empty((0, length, 4, 3), np.float32)

    def _batch(self, ca: np.ndarray, sequence: str, index: np.ndarray) -> np.ndarray:
        frames, length = ca.shape[:2]
        mask = np.isfinite(ca).all(-1)
        middle = np.nanmean(ca, 1, keepdims=True)
        ca = np.where(mask[..., None], ca - middle, 0).astype(np.float32)

        def rows(values: np.ndarray) -> torch.Tensor:
            return torch.as_tensor(values, dtype=torch.long, device=self.device).expand(frames, -1)

        x = torch.as_tensor(ca, device=self.device)
        found = find_peptides(
            x,
            rows(encode_sequence(sequence)),
            torch.as_tensor(mask, device=self.device),
            rows(index),
            self.network.config.near,
        )
        row, first = found.where
        c, o, n = to_space(found, self.network(found)).unbind(1)
        out = x.new_full((frames, length, 4, 3), torch.nan)
        out[:, :, 1] = torch.where(rows(mask).bool().unsqueeze(-1), x, torch.nan)
        out[row, first, 2], out[row, first, 3], out[row, first + 1, 0] = c, o, n
        _place_ends(out)
        return out.cpu().numpy() + middle[:, :, None].astype(np.float32)


def _place_ends(backbone: torch.Tensor) -> None:
    """Place N at the start, and C and O at the end of each piece, in place [F, L, 4, 3]."""
    n, ca, c, o = backbone.unbind(2)
    there = torch.isfinite(backbone).all(-1)
    start, end = there[..., 2] & ~there[..., 0], there[..., 0] & ~there[..., 2]
    # O-C-CA-N and N-CA-C-O are psi + 180 degrees.
    n[start] = _placed(o[start], c[start], ca[start], N_CA, N_CA_C_ANGLE, _PSI + np.pi)
    row, last = end.nonzero(as_tuple=True)
    c[end] = _placed(c[row, last - 1], n[end], ca[end], CA_C, N_CA_C_ANGLE, _PHI)
    o[end] = _placed(n[end], ca[end], c[end], C_O, CA_C_O_ANGLE, _PSI + np.pi)


def _placed(
    a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, length: float, angle: float, torsion: float
) -> torch.Tensor:
    """`place_atom` with equal internal coordinates for all rows."""
    values = (a.new_full(a.shape[:-1], value) for value in (length, angle, torsion))
    return place_atom(a, b, c, *values)
