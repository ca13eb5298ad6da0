"""`StructureTokenizer` of a trained dVAE."""

from __future__ import annotations

import os

import numpy as np
import torch

from ..networks.half_precision import fast_products
from ..networks.out_of_memory import in_halves
from ..networks.storage import load_module
from .dvae import DVAE
from .interface import StructureTokenizer
from .known_frames import restore_fixed_atoms
from .starts import Start


class DVAETokenizer(StructureTokenizer):
    """Structure tokenizer of a trained `DVAE`.

    Parameters
    ----------
    model : DVAE
    device : str
        Torch device.
    """

    def __init__(self, model: DVAE, device: str = "cpu") -> None:
        self.model = model.to(device).eval()
        self.device = torch.device(device)
        self.vocabulary = model.quantizer.size

    @classmethod
    def load(cls, directory: str | os.PathLike, device: str = "cpu") -> DVAETokenizer:
        """Load a model directory."""
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
            present = np.asarray(mask[part])
            # Centre before conversion to float32: far from the origin, precision would be lost.
            atoms = np.where(present[..., None, None], np.nan_to_num(backbone[part]), 0)
            count = np.maximum(present.sum(1), 1)[:, None, None, None]
            centre = atoms[:, :, 1:2].sum(1, keepdims=True) / count
            atoms = np.where(present[..., None, None], atoms - centre, 0).astype(np.float32)
            uniform = None
            if sample:
                draws = rng.random((int(present.sum()), self.model.quantizer.draws))
                uniform = torch.as_tensor(draws, dtype=torch.float32, device=self.device)
            tokens[part] = (
                self.model.tokenize(
                    torch.as_tensor(atoms, device=self.device),
                    torch.as_tensor(present, device=self.device),
                    positions.expand(len(present), -1),
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
        # The pair tensor, B x L x L x channels, limits the batch size.
        size = min(64, max(1, 2**18 // length**2))

        def row(values: np.ndarray) -> torch.Tensor:
            return torch.as_tensor(np.asarray(values)[None], device=self.device)

        mask = row(np.ones(length, bool))
        letters, positions = (row(np.asarray(v, np.int64)) for v in (amino_acids, index))
        if start is not None:
            start = np.broadcast_to(np.asarray(start, np.float32), (frames, length, 4, 3))
            level = np.broadcast_to(np.asarray(level, np.float32), (frames, length))

        def decode_part(part: slice) -> None:
            batch = np.asarray(tokens[part], np.int64)
            b = len(batch)
            starting_frames = None
            if start is not None:
                starting_frames = Start.from_backbone(
                    torch.as_tensor(np.array(start[part]), device=self.device),
                    torch.as_tensor(np.array(level[part]), device=self.device),
                )
            with fast_products(self.device):
                decoded = self.model.reconstruct(
                    torch.as_tensor(batch, device=self.device),
                    letters.expand(b, -1),
                    mask.expand(b, -1),
                    positions.expand(b, -1),
                    starting_frames,
                )
            backbone[part] = decoded.backbones[-1].cpu().numpy()
            confidence[part] = decoded.predicted_lddt().float().cpu().numpy()

        for first in range(0, frames, size):
            in_halves(decode_part, min(size, frames - first), first)
        if start is not None:
            restore_fixed_atoms(backbone, start, level, np.asarray(index))
        return backbone, confidence
