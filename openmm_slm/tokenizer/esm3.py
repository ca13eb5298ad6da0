"""`StructureTokenizer` of ESM3's structure encoder and decoder (Hayes et al., 2025)."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn

from ..errors import require
from ..networks.esm3_tokens import BOS, CHAIN_BREAK, CODES, EOS
from ..networks.out_of_memory import in_halves
from ..networks.storage import load_module
from ..protein.geometry import place_oxygen
from ..protein.sequence import UNRELATED
from .interface import StructureTokenizer
from .known_frames import fit_to_frames, restore_fixed_atoms

_ANGSTROM = 10.0  # per nm


@dataclass(frozen=True)
class ESM3TokenizerConfig:
    """Sizes; the defaults are those of the open model (30 M and 619 M parameters)."""

    encoder_width: int = 1024
    encoder_heads: int = 1
    encoder_v_heads: int = 128
    encoder_layers: int = 2
    code_width: int = 128
    decoder_width: int = 1280
    decoder_heads: int = 20
    decoder_layers: int = 30


class ESM3TokenizerNetwork(nn.Module):
    """The encoder and decoder of the ``esm`` package.

    Parameters
    ----------
    config : ESM3TokenizerConfig
    """

    kind = "esm3_tokenizer"
    config_class = ESM3TokenizerConfig

    def __init__(self, config: ESM3TokenizerConfig | None = None) -> None:
        super().__init__()
        vqvae = require("esm.models.vqvae", "esm3")
        self.config = c = config or ESM3TokenizerConfig()
        self.encoder = vqvae.StructureTokenEncoder(
            c.encoder_width,
            c.encoder_heads,
            c.encoder_v_heads,
            c.encoder_layers,
            c.code_width,
            n_codes=CODES,
        )
        self.decoder = vqvae.StructureTokenDecoder(
            c.decoder_width, c.decoder_heads, c.decoder_layers
        )

    def tokenize(self, atoms: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """Codes [B, L] of N, CA, C [B, L, 3, 3] (Å; NaN where absent) and residue index [B, L]."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch deprecation warnings of the package
            return self.encoder.encode(atoms, residue_index=index)[1]

    def reconstruct(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """N, CA, C [B, P, 3, 3] (Å) and predicted lDDT [B, P] of rows of equal length.

        Equals the package's `decode` without its predicted aligned error, a tensor
        [B, P, P, 224]. The decoder ignores its attention mask, so rows must not be padded.
        """
        head = require("esm.models.vqvae", "esm3").CategoricalMixture
        decoder = self.decoder
        x = decoder.decoder_stack(decoder.embed(tokens))[0]
        no_mask = torch.zeros_like(tokens, dtype=torch.bool)
        _, atoms = decoder.affine_output_projection(x, affine=None, affine_mask=no_mask)
        logits = decoder.plddt_head(x)
        return atoms, head(logits, bins=logits.shape[-1]).mean()


class ESM3Tokenizer(StructureTokenizer):
    """Structure tokenizer of ESM3.

    The encoder maps a residue and its 16 neighbours to the nearest code. The posterior is
    deterministic, so a sample is the mode. Chains are 33 or more apart in the residue index, the
    largest offset the encoder distinguishes; the decoder gets a chain-break token between them.
    The decoder takes no starting frames: decoded backbones are fitted to them (`known_frames`).

    Parameters
    ----------
    model : ESM3TokenizerNetwork
    device : str
        Torch device.
    """

    vocabulary = CODES
    sees_frames = False

    def __init__(self, model: ESM3TokenizerNetwork, device: str = "cpu") -> None:
        self.model = model.to(device).eval()
        self.device = torch.device(device)

    @classmethod
    def load(cls, directory: str | os.PathLike, device: str = "cpu") -> ESM3Tokenizer:
        """Load a model directory."""
        return cls(load_module(directory, ESM3TokenizerNetwork), device)

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
        tokens = np.full((frames, length), -1, np.int64)
        positions = torch.as_tensor(np.asarray(index, np.int64), device=self.device)

        def encode_part(part: slice) -> None:
            present = np.asarray(mask[part])
            atoms = np.where(present[..., None, None], np.float64(backbone[part][:, :, :3]), np.nan)
            # Centre before conversion to float32: far from the origin, precision would be lost.
            count = np.maximum(present.sum(1), 1)[:, None, None, None]
            atoms = _ANGSTROM * (atoms - np.nansum(atoms[:, :, 1:2], 1, keepdims=True) / count)
            codes = self.model.tokenize(
                torch.as_tensor(atoms.astype(np.float32), device=self.device),
                positions.expand(len(present), -1),
            )
            tokens[part] = np.where(present, codes.cpu().numpy(), -1)

        size = max(1, 512 // length)  # memory holds 16 neighbours of each residue
        for first in range(0, frames, size):
            in_halves(encode_part, min(size, frames - first), first)
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
        """As in `StructureTokenizer`; this decoder ignores the amino acids."""
        frames, length = tokens.shape
        steps = np.diff(np.asarray(index))
        rows, positions = _rows(np.asarray(tokens, np.int64), steps >= UNRELATED)
        atoms = np.empty((frames, length, 3, 3), np.float32)
        confidence = np.empty((frames, length), np.float32)

        def decode_part(part: slice) -> None:
            batch = torch.as_tensor(rows[part], device=self.device)
            decoded, lddt = (values[:, positions] for values in self.model.reconstruct(batch))
            atoms[part] = decoded.cpu().numpy() / _ANGSTROM
            confidence[part] = lddt.cpu().numpy()

        size = max(1, 1024 // length)
        for first in range(0, frames, size):
            in_halves(decode_part, min(size, frames - first), first)
        if start is not None:
            start = np.broadcast_to(np.asarray(start, np.float32), (frames, length, 4, 3))
            level = np.broadcast_to(np.asarray(level, np.float32), (frames, length))
            atoms = fit_to_frames(atoms, start, level, index)
        oxygen = place_oxygen(atoms, np.append(True, steps != 1))
        backbone = np.concatenate([atoms, oxygen[:, :, None]], 2).astype(np.float32)
        if start is not None:
            restore_fixed_atoms(backbone, start, level, np.asarray(index))
        return backbone, confidence


def _rows(tokens: np.ndarray, breaks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Decoder input [F, P] from residue tokens [F, L], and the positions [L] of the residues."""
    positions = 1 + np.arange(tokens.shape[1]) + np.append(0, np.cumsum(breaks))
    rows = np.full((len(tokens), positions[-1] + 2), CHAIN_BREAK, np.int64)
    rows[:, 0], rows[:, -1] = BOS, EOS
    rows[:, positions] = tokens
    return rows, positions
