"""Springs between the residues of a structure, from arrays to arrays."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial import cKDTree

from ..errors import StructureError, counted
from ..networks.storage import load_module, read_config
from ..protein.sequence import encode_sequence
from .network_covariance import mean_square, network_covariance
from .residue_graph import CUTOFF, ResidueGraph, residue_graph
from .spring_network import SpringNetwork

#: Predicted RMSF that one unit of amplitude stands for. The springs learned their amplitude from
#: half a microsecond of MD at 300 K; the RMSF of B-factors, and of short MD, is so much of it
#: (median over validation and left-out training chains; `tools/measure_amplitudes.py`).
NEAR = 0.61
#: Share of the learned covariance in the soft modes of `ThermalMotion`; the rest is by distance.
LEARNED_SHARE = 0.5
_SAME = 1e-3  # nm: CA that are closer coincide


class SpringMotions(NamedTuple):
    """Motions of the CA of a structure at 300 K.

    Attributes
    ----------
    stiffness : ndarray, float64 [2, L, L]
        As in `Springs.stiffness`.
    covariance : ndarray, float64 [L, 3, L, 3]
        nm^2, without rigid-body motions.
    crystal : ndarray, float64 [L]
        Mean squares (nm^2) whose profile is that of B-factors in crystals, in which large motions
        count less. Their mean is that of the covariance.
    """

    stiffness: np.ndarray
    covariance: np.ndarray
    crystal: np.ndarray


class Springs:
    """Elastic networks of structures whose springs a trained network chooses.

    Parameters
    ----------
    network : SpringNetwork
    device : str
        Torch device.
    near : float
        Share of the predicted RMSF that one unit of displacement stands for (`ThermalMotion`).
    learned_share : float
        Weight of these springs, against springs by distance, in the soft modes of `ThermalMotion`.
    """

    def __init__(
        self,
        network: SpringNetwork,
        device: str = "cpu",
        near: float = NEAR,
        learned_share: float = LEARNED_SHARE,
    ) -> None:
        self.network = network.to(device).eval()
        self.near, self.learned_share = near, learned_share
        self.device = torch.device(device)

    @classmethod
    def load(cls, directory: str | os.PathLike, device: str = "cpu") -> Springs:
        """Load a model directory; its config.json may have ``near`` and ``learned_share``."""
        found = read_config(directory)
        return cls(
            load_module(directory, SpringNetwork),
            device,
            float(found.get("near", NEAR)),
            float(found.get("learned_share", LEARNED_SHARE)),
        )

    @torch.inference_mode()
    def stiffness(self, backbone: np.ndarray, sequence: str, index: np.ndarray) -> np.ndarray:
        """Stiffness of all springs in kT / nm^2 at 300 K.

        Parameters
        ----------
        backbone : ndarray [L, 4, 3]
            N, CA, C, O; nm, finite.
        sequence : str
            L letters.
        index : ndarray, int [L]
            Residue index: steps of 1 between bonded residues.

        Returns
        -------
        ndarray, float64 [2, L, L]
            Along the line between two CA, and across it. Symmetric; 0 between residues whose CA are
            1.5 nm or further apart.
        """
        return self.network(self._graph(backbone, sequence, index)).cpu().numpy()

    @torch.inference_mode()
    def covariance(self, backbone: np.ndarray, sequence: str, index: np.ndarray) -> np.ndarray:
        """Covariance [L, 3, L, 3] (nm^2) of CA at 300 K, as in `motions`."""
        graph = self._graph(backbone, sequence, index)
        covariance = network_covariance(graph.ca, self.network(graph))
        return covariance.view(len(sequence), 3, len(sequence), 3).cpu().numpy()

    @torch.inference_mode()
    def motions(self, backbone: np.ndarray, sequence: str, index: np.ndarray) -> SpringMotions:
        """Motions of CA at 300 K, for arguments as above."""
        graph = self._graph(backbone, sequence, index)
        stiffness = self.network(graph)
        covariance, size = network_covariance(graph.ca, stiffness), len(sequence)
        crystal = self.network.crystal(graph, mean_square(covariance))
        covariance = covariance.view(size, 3, size, 3)
        return SpringMotions(*(x.cpu().numpy() for x in (stiffness, covariance, crystal)))

    def _graph(self, backbone, sequence, index) -> ResidueGraph:
        check_apart(np.asarray(backbone)[:, 1])
        return residue_graph(
            torch.as_tensor(np.asarray(backbone), device=self.device),
            torch.as_tensor(encode_sequence(sequence), dtype=torch.long, device=self.device),
            torch.as_tensor(np.asarray(index), dtype=torch.long, device=self.device),
        )


def unconnected(ca: np.ndarray) -> np.ndarray:
    """Number [L] of the piece of each residue: pieces are further apart than springs reach.

    CA [L, 3] in nm. The piece of the first residue is 0.
    """
    near = ((ca[:, None] - ca[None]) ** 2).sum(-1) < CUTOFF**2
    piece = np.full(len(ca), -1)
    while (piece < 0).any():
        front = np.zeros(len(ca), bool)
        front[np.argmax(piece < 0)] = True
        reached = front
        while front.any():
            front = near[front].any(0) & ~reached
            reached = reached | front
        piece[reached] = piece.max() + 1
    return piece


def check_apart(ca: np.ndarray) -> None:
    """Raise StructureError if two CA [L, 3] (nm) coincide, as in a damaged file."""
    pairs = cKDTree(ca).query_pairs(_SAME, output_type="ndarray")
    if len(pairs):
        i, j = min(map(tuple, pairs.tolist()))
        raise StructureError(f"CA atoms of residues {i} and {j} coincide; correct the structure")


def check_connected(ca: np.ndarray, names: list[str]) -> None:
    """Raise StructureError if no spring joins two parts of a structure, whose residues it names."""
    if len(ca) < 4:
        raise StructureError(
            f"{counted(len(ca), 'residue')} with CA; the motions of a structure need 4 or more"
        )
    piece = unconnected(ca)
    if piece.any():
        other = np.flatnonzero(piece)
        gap = np.sqrt(((ca[piece == 0][:, None] - ca[other][None]) ** 2).sum(-1)).min()
        raise StructureError(
            f"{piece.max() + 1} parts touch nowhere: {names[other[0]]} and "
            f"{counted(len(other) - 1, 'other residue')} are {gap:.2f} nm or more from the part of "
            f"{names[0]} (springs reach "
            f"{CUTOFF:g} nm), so that their motion relative to each other is unknown; give the "
            "parts one by one, or check for chains in different images of a periodic box"
        )
