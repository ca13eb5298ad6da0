"""Pack side chains on backbones: packer network, disulfides, and removal of clashes."""

from __future__ import annotations

import os

import numpy as np
import torch

from ..networks.half_precision import fast_products
from ..networks.storage import load_module
from ..protein.disulfides import CB_CB, Pairs
from ..protein.obstacles import Obstacles
from .clashes import relieve_clashes
from .packer_network import ABSENT, GUESSED, KNOWN, PackerNetwork
from .packing_obstacles import PackingObstacles
from .sulfurs import bond_sulfurs

RESIDUES = 1024  # residues in a batch


class SideChainPacker:
    """Pack side chains with a `PackerNetwork`.

    Parameters
    ----------
    network : PackerNetwork
    device : str
        Torch device.
    """

    def __init__(self, network: PackerNetwork, device: str = "cpu") -> None:
        self.network = network.to(device).eval()
        self.device = torch.device(device)

    @classmethod
    def load(cls, directory: str | os.PathLike, device: str = "cpu") -> SideChainPacker:
        """Load a model directory."""
        return cls(load_module(directory, PackerNetwork), device)

    @torch.inference_mode()
    def pack(
        self,
        atom14: np.ndarray,
        amino_acids: np.ndarray,
        index: np.ndarray,
        *,
        disulfides: Pairs = (),
        passes: int = 3,
        clash_passes: int = 8,
        seed: int | None = None,
        obstacles: Obstacles | None = None,
    ) -> np.ndarray:
        """Build all heavy atoms of frames.

        Parameters
        ----------
        atom14 : ndarray, float32 [F, L, 4 or 14, 3]
            nm; NaN where absent. N, CA, C, O and the side-chain atoms present are kept, except
            atoms beyond a gap in the side chain, which are rebuilt.
        amino_acids : ndarray, int [L]
            Rows of `AMINO_ACIDS`; X (20) gets a CB.
        index : ndarray, int [L]
            See `openmm_slm.protein.structure.residue_index`.
        disulfides : tuple of (int, int)
            Cysteine pairs whose SG are placed at bond distance if their CB are close enough.
        passes : int
            Applications of the network; each after the first sees the previous side chains.
        clash_passes : int
            Passes in which clashing side chains may change their rotamers.
        seed : int, optional
            Sample side chains from the network's distribution. Default: the most probable ones.

        Returns
        -------
        ndarray, float32 [F, L, 14, 3]
            NaN where the residue has no atom, and for frames with non-finite N, CA, C or O. The
            other frames of the batch change only the last digits.
        """
        frames, length = atom14.shape[:2]
        out = np.full((frames, length, 14, 3), np.nan, np.float32)
        good = np.flatnonzero(np.isfinite(atom14[:, :, :4]).all((1, 2, 3)))
        size = max(1, RESIDUES // length)
        for start in range(0, len(good), size):
            rows = good[start : start + size]
            uniform = None
            if seed is not None:
                draws = [np.random.default_rng([seed, row]).random((length, 4)) for row in rows]
                uniform = torch.as_tensor(np.array(draws, np.float32), device=self.device)
                uniform = uniform.view(-1, 4)
            out[rows] = self._batch(
                atom14[rows], amino_acids, index, disulfides, passes, clash_passes, uniform,
                None if obstacles is None else obstacles.take(rows),
            )  # fmt: skip
        return out

    def _batch(
        self, atom14, amino_acids, index, disulfides, passes, clash_passes, uniform, obstacles
    ):
        network, device = self.network, self.device
        b, length = atom14.shape[:2]
        source = np.full((b, length, 14, 3), np.nan, np.float32)
        source[:, :, : atom14.shape[2]] = atom14
        centre = source[:, :, 1].mean(1)[:, None, None]

        def rows(values: np.ndarray) -> torch.Tensor:
            return torch.as_tensor(np.asarray(values)).to(device).expand(b, length)

        aa = rows(amino_acids)
        given = torch.as_tensor(source - centre, device=device)
        given = network.builder.without_gaps(given, aa)
        given = bond_sulfurs(given, disulfides, network.builder, CB_CB)
        mask = torch.ones_like(aa, dtype=torch.bool)
        encoded = network.encode(given[:, :, :4], aa, mask, rows(index))
        with fast_products(device):
            aa, given = encoded.amino_acids, given.flatten(0, 1)
            present = network.builder.present[aa]
            # Glycine has no side chain and does not count as known.
            complete = (torch.isfinite(given).all(-1) | ~present).all(-1) & present[:, 4]
            chi_given = network.builder.known_chi(given, aa)
            chi, atoms = torch.nan_to_num(chi_given), torch.nan_to_num(given)
            state = torch.where(complete, KNOWN, ABSENT)
            any_known = bool(complete.any())
            for number in range(passes):
                # The first pass has no side chains as input unless some are known.
                side_chains = (chi, atoms) if any_known or number else None
                nodes = network.environments(encoded, side_chains, state)
                chosen, _ = network.choose(nodes, uniform if number == passes - 1 else None)
                chi = torch.where(torch.isfinite(chi_given), chi_given, chosen)
                atoms = network.builder(encoded.atoms, aa, chi, given)
                state = torch.where(complete, KNOWN, GUESSED)
        if clash_passes:
            atoms = relieve_clashes(
                network, encoded, nodes, atoms, given, chi_given, ~complete, b, clash_passes,
                PackingObstacles.of(obstacles, centre, device),
            )  # fmt: skip
        atoms = torch.where(present.unsqueeze(-1), atoms, torch.nan).view(b, length, 14, 3)
        built = atoms.cpu().numpy() + centre
        # Return the given atoms bit for bit.
        kept = torch.isfinite(given).view(b, length, 14, 3).cpu().numpy()
        return np.where(kept & np.isfinite(source), source, built)
