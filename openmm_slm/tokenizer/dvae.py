"""The discrete VAE of stage 1: encoder, quantizer and decoder in one module."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn as nn

from ..errors import ModelError
from .codebooks import GumbelQuantizer, VectorQuantizer
from .decoder import Decoded, Decoder
from .encoder import Encoder
from .quantizer import Quantizer, StochasticFSQ
from .starts import Start


@dataclass(frozen=True)
class DVAEConfig:
    """Sizes of a `DVAE`, as stored in ``config.json``.

    `quantizer` is ``"fsq"`` (uses `levels`), or ``"gumbel"`` or ``"vq"`` (use `codes`, the number
    of vectors, and `code_width`, their dimension).
    """

    levels: tuple[int, ...] = (8, 8, 8)
    encoder_width: int = 128
    encoder_layers: int = 2
    neighbours: int = 16
    decoder_width: int = 192
    decoder_heads: int = 8
    decoder_layers: int = 6
    pair: int = 32
    refinements: int = 4
    sharpness: float = 1.0
    quantizer: str = "fsq"
    codes: int = 512
    code_width: int = 6


def make_quantizer(config: DVAEConfig) -> Quantizer:
    """Build the quantizer that the config names."""
    if config.quantizer == "fsq":
        return StochasticFSQ(config.levels, config.sharpness)
    if config.quantizer == "gumbel":
        return GumbelQuantizer(config.codes, config.code_width, config.sharpness)
    if config.quantizer == "vq":
        return VectorQuantizer(config.codes, config.code_width, config.sharpness)
    raise ModelError(f'model.quantizer is {config.quantizer!r}; choose "fsq", "gumbel" or "vq"')


class DVAE(nn.Module):
    """Discrete VAE, q(z|x) and p(x|z,c), for padded batches of backbones (nm).

    Parameters
    ----------
    config : DVAEConfig
    """

    kind = "dvae"
    config_class = DVAEConfig

    def __init__(self, config: DVAEConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DVAEConfig()
        quantizer = make_quantizer(config)
        dimensions = quantizer.dimensions
        self.encoder = Encoder(
            config.encoder_width, config.encoder_layers, config.neighbours, dimensions
        )
        self.quantizer = quantizer
        self.decoder = Decoder(
            dimensions,
            config.decoder_width,
            config.decoder_heads,
            config.decoder_layers,
            config.pair,
            config.refinements,
        )

    def tokenize(
        self,
        backbone: torch.Tensor,
        mask: torch.Tensor,
        index: torch.Tensor,
        uniform: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Tokens int64 [B, L] of backbones [B, L, 4, 3]; -1 where `mask` [B, L] is False.

        Takes the posterior mode, or the posterior sample at `uniform` [R, draws] in [0, 1), with
        R = mask.sum().
        """
        tokens = torch.full(mask.shape, -1, dtype=torch.long, device=mask.device)
        tokens[mask] = self.quantizer.tokens(self.encoder(backbone, mask, index), uniform)
        return tokens

    def reconstruct(
        self,
        tokens: torch.Tensor,
        amino_acids: torch.Tensor,
        mask: torch.Tensor,
        index: torch.Tensor,
        start: Start | None = None,
    ) -> Decoded:
        """Decode tokens [B, L], ignored where `mask` is False, optionally from `start`."""
        codes = self.quantizer.codes(tokens.clamp(min=0))
        return self.decoder(codes, amino_acids, mask, index, start)
