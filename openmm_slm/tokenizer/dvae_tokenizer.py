"""A trained dVAE behind the `StructureTokenizer` interface."""

from __future__ import annotations

import os

import numpy as np
import torch

from ..networks.out_of_memory import in_halves
from ..networks.storage import load_module
from .dvae import DVAE
from .holding import keep_atoms
from .interface import StructureTokenizer
from .starts import Start


class DVAETokenizer(StructureTokenizer):
    """Tokens of a `DVAE`.

    Parameters
    ----------
    model : DVAE
    device : str
    """

    def __init__(self, model: DVAE, device: str = "cpu") -> None:
        self.model = model.to(device).eval()
        self.device = torch.device(device)
        self.vocabulary = model.quantizer.size

    @classmethod
    def load(cls, directory: str | os.PathLike, device: str = "cpu") -> DVAETokenizer:
        """Read a model directory."""
        return cls(load_module(directory, DVAE), device)

    @torch.inference_mode()
    def encode_backbone(
        self,
        backbone: np.ndarray,
        mask: np.ndarray,
        index: np.ndarray,
        *,
        sample: bool = False,
        seed: int = 0,
    ) -> np.ndarray:
        frames, length = mask.shape
        tokens = np.empty((frames, length), np.int64)
        rng = np.random.default_rng(seed)
        size = max(1, 2048 // length)
        positions = torch.as_tensor(np.asarray(index, np.int64), device=self.device)
        for start in range(0, frames, size):
            part = slice(start, start + size)
            here = np.asarray(mask[part])
            # Centred before float32 arithmetic: a box corner far away would cost digits.
            atoms = np.where(here[..., None, None], np.nan_to_num(backbone[part]), 0)
            count = np.maximum(here.sum(1), 1)[:, None, None, None]
            centre = atoms[:, :, 1:2].sum(1, keepdims=True) / count
            atoms = np.where(here[..., None, None], atoms - centre, 0).astype(np.float32)
            uniform = None
            if sample:
                draws = rng.random((int(here.sum()), self.model.quantizer.draws))
                uniform = torch.as_tensor(draws, dtype=torch.float32, device=self.device)
            tokens[part] = (
                self.model.tokenize(
                    torch.as_tensor(atoms, device=self.device),
                    torch.as_tensor(here, device=self.device),
                    positions.expand(len(here), -1),
                    uniform,
                )
                .cpu()
                .numpy()
            )
        return tokens

    @torch.inference_mode()
    def decode_with_confidence(
        self,
        tokens: np.ndarray,
        amino_acids: np.ndarray,
        index: np.ndarray,
        start: np.ndarray | None = None,
        level: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        frames, length = tokens.shape
        backbone = np.empty((frames, length, 4, 3), np.float32)
        confidence = np.empty((frames, length), np.float32)
        # The pair tensor is what fills memory: B x L x L x channels.
        size = min(64, max(1, 2**18 // length**2))

        def row(values: np.ndarray) -> torch.Tensor:
            return torch.as_tensor(np.asarray(values)[None], device=self.device)

        mask = row(np.ones(length, bool))
        letters, positions = (row(np.asarray(v, np.int64)) for v in (amino_acids, index))
        if start is not None:
            start = np.broadcast_to(np.asarray(start, np.float32), (frames, length, 4, 3))
            level = np.broadcast_to(np.asarray(level, np.float32), (frames, length))

        def some(part: slice) -> None:
            batch = np.asarray(tokens[part], np.int64)
            b = len(batch)
            begun = None
            if start is not None:
                begun = Start.from_backbone(
                    torch.as_tensor(np.array(start[part]), device=self.device),
                    torch.as_tensor(np.array(level[part]), device=self.device),
                )
            decoded = self.model.reconstruct(
                torch.as_tensor(batch, device=self.device),
                letters.expand(b, -1),
                mask.expand(b, -1),
                positions.expand(b, -1),
                begun,
            )
            backbone[part] = decoded.backbones[-1].cpu().numpy()
            confidence[part] = decoded.predicted_lddt().cpu().numpy()

        for first in range(0, frames, size):
            in_halves(some, min(size, frames - first), first)
        if start is not None:
            keep_atoms(backbone, start, level, np.asarray(index))
        return backbone, confidence
