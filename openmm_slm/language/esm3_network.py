"""Networks of ESM3 (Hayes et al., 2025) and ESMDiff (Lu et al., 2025): denoise structure tokens.

Both use the layers of the ``esm`` package under the same names, so that its weights can be loaded.
A row of P positions is BOS, the residues and EOS, with a chain break between chains (see
`esm3_layout`). Only ESM3's tracks for sequence and structure tokens are used; the others are
empty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn as nn
from torch.utils.checkpoint import checkpoint

from ..errors import require
from ..networks.esm3_tokens import BOS, CHAIN_BREAK, CODES, EOS, PAD, SEQUENCE

_EMPTY = 0  # value of the unused tracks


@dataclass(frozen=True)
class ESM3Config:
    """Sizes of ESM3; the defaults are those of the open model (1.4 B parameters)."""

    d_model: int = 1536
    n_heads: int = 24
    v_heads: int = 256
    n_layers: int = 48

    #: V, the number of codes of the tokenizer.
    vocabulary = CODES
    #: ESM3 has no condition.
    condition = None


@dataclass(frozen=True)
class ESMDiffConfig(ESM3Config):
    """Sizes of `ESMDiffNetwork`.

    Attributes
    ----------
    eps : float
        P(masked at t) = (1 - eps) t.
    frequencies : int
        Number of Fourier features of sigma(t).
    """

    eps: float = 1e-3
    frequencies: int = 256


class ESM3Network(nn.Module):
    """ESM3's trunk with its head for structure tokens.

    Parameters
    ----------
    config : ESM3Config
    """

    kind = "esm3"
    config_class = ESM3Config
    outputs = CODES

    def __init__(self, config: ESM3Config | None = None) -> None:
        super().__init__()
        inputs = require("esm.models.esm3", "esm3").EncodeInputs
        stack = require("esm.layers.transformer_stack", "esm3").TransformerStack
        head = require("esm.layers.regression_head", "esm3").RegressionHead
        self.config = c = config or self.config_class()
        self.encoder = inputs(c.d_model)
        self.transformer = stack(
            c.d_model, c.n_heads, c.v_heads, c.n_layers, mask_and_zero_frameless=True
        )
        self.structure_head = head(c.d_model, self.outputs)
        #: Recompute the layers in the backward pass: needs less memory and a third more time.
        self.checkpointing = False
        # Without coordinates, geometric attention adds exactly zero but needs a tensor
        # [B, v_heads, P, P, 3]: skip it.
        self.transformer.blocks[0].use_geom_attn = False
        self.transformer.blocks[0].geom_attn.requires_grad_(False)

    def hidden(
        self,
        sequence_tokens: torch.Tensor,
        structure_tokens: torch.Tensor,
        extra: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Hidden states [B, P, D]; the head maps them to logits.

        Parameters
        ----------
        sequence_tokens, structure_tokens : Tensor, int64 [B, P]
            Structure tokens are overwritten where the sequence has BOS, EOS, padding or a chain
            break.
        extra : Tensor [B, 1 or P, D], optional
            Added to the embedded tokens.
        mask : Tensor, bool [B, P], optional
            False at padding.
        """
        structure_tokens = structure_tokens.clone()
        for special, token in ((BOS, "BOS"), (EOS, "EOS"), (PAD, "PAD"), (CHAIN_BREAK, "BREAK")):
            structure_tokens[sequence_tokens == SEQUENCE[token]] = special
        row = torch.full_like(sequence_tokens[:1], _EMPTY)
        x = self.encoder(
            sequence_tokens,
            structure_tokens,
            torch.ones_like(row, dtype=torch.float32),  # mean confidence
            torch.zeros_like(row, dtype=torch.float32),  # confidence per residue: no coordinates
            row,
            row,
            row.unsqueeze(-1).expand(-1, -1, 8),
            row.unsqueeze(-1).expand(-1, -1, 16),
        )
        if extra is not None:
            x = x + extra
        sequence_id = None if mask is None else mask.long()  # attention within equal ids only
        for block in self.transformer.blocks:
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(_run, block, x, sequence_id, use_reentrant=False)
            else:
                x = _run(block, x, sequence_id)
        return self.transformer.norm(x)

    def extra(self, time: torch.Tensor | None) -> torch.Tensor | None:
        """Time embedding [B, 1, D] of the time t [B]; None for ESM3, which has none."""
        return None

    def forward(
        self,
        sequence_tokens: torch.Tensor,
        structure_tokens: torch.Tensor,
        time: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Logits [B, P, outputs] of the clean token of every position.

        Parameters
        ----------
        sequence_tokens, structure_tokens : Tensor, int64 [B, P]
            See `hidden`.
        time : Tensor [B], optional
            Diffusion time t in [0, 1]; not used by ESM3 as released.
        mask : Tensor, bool [B, P], optional
            False at padding.
        """
        states = self.hidden(sequence_tokens, structure_tokens, self.extra(time), mask)
        return self.structure_head(states)


class ESMDiffNetwork(ESM3Network):
    """ESM3's trunk with a time embedding and a new head for 4096 codes and 5 special tokens.

    Parameters
    ----------
    config : ESMDiffConfig
    """

    kind = "esmdiff"
    config_class = ESMDiffConfig
    outputs = CODES + 5

    def __init__(self, config: ESMDiffConfig | None = None) -> None:
        super().__init__(config)
        self.sigma_embedder = SigmaEmbedding(self.config.frequencies, self.config.d_model)

    def sigma(self, time: torch.Tensor) -> torch.Tensor:
        """sigma(t) = -log(1 - (1 - eps) t), so that P(masked at t) = 1 - exp(-sigma)."""
        return -torch.log1p(-(1 - self.config.eps) * time)

    def extra(self, time: torch.Tensor | None) -> torch.Tensor:
        return self.sigma_embedder(self.sigma(time)).unsqueeze(1)


class SigmaEmbedding(nn.Module):
    """Embed sigma [B] as [B, D]: Fourier features, then two linear layers."""

    def __init__(self, frequencies: int, width: int) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.mlp = nn.Sequential(nn.Linear(frequencies, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, sigma: torch.Tensor) -> torch.Tensor:
        half = self.frequencies // 2
        steps = torch.arange(half, dtype=torch.float32, device=sigma.device) / half
        angles = sigma.float().unsqueeze(-1) * torch.exp(-math.log(10_000) * steps)
        waves = torch.cat([angles.cos(), angles.sin()], -1)
        return self.mlp(waves.to(self.mlp[0].weight.dtype))


def _run(block: nn.Module, x: torch.Tensor, sequence_id: torch.Tensor | None) -> torch.Tensor:
    """Apply one layer without coordinates. Since esm 3.3 layers also return attention weights."""
    out = block(x, sequence_id, None, None, None)
    return out[0] if isinstance(out, tuple) else out
