"""Masked discrete diffusion over structure tokens (the ESMDiff family).

Forward process: a token is replaced by MASK with probability t, t in [0, 1] (Sahoo et al., 2024;
Shi et al., 2024; log-linear schedule). The denoiser u(z_t, c) predicts the clean token of each
masked position; the loss is in `bound`. The denoiser has no time input, because the number of
masked tokens implies the time. A deep trunk encodes the sequence once. A light denoiser, which also
gets pairwise attention biases from the trunk, runs at every step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn as nn

from ..networks.transformer import Block, rotary_angles
from .bound import negative_bound
from .condition_input import condition_tensor
from .masked_model import MaskedModel
from .sampling import Denoiser
from .structure_context import StructureContext
from .trunk import SequenceTrunk, TrunkConfig, padding_bias, sequence_tensors


@dataclass(frozen=True)
class MaskedDiffusionConfig(TrunkConfig):
    """Sizes of a `MaskedDiffusion` network."""

    self_condition: bool = False  # predict twice, with the first prediction as input


@dataclass
class Condition:
    """Output of the trunk for B sequences.

    Attributes
    ----------
    state : Tensor [B, L, D]
        Added to the token embeddings.
    biases : list of Tensor [B, H, L, L]
        Additive attention bias of each denoiser layer, padding masked.
    angles : Tensor [B, L, C/2]
        Rotary angles of the denoiser.
    """

    state: torch.Tensor
    biases: list[torch.Tensor]
    angles: torch.Tensor

    def repeat(self, times: int) -> Condition:
        """Repeat each sequence `times` times."""
        return Condition(
            self.state.repeat_interleave(times, 0),
            [bias.repeat_interleave(times, 0) for bias in self.biases],
            self.angles.repeat_interleave(times, 0),
        )

    def expand(self, n: int) -> Condition:
        """Expand one sequence to a batch of n without copying."""
        return Condition(
            self.state.expand(n, -1, -1),
            [bias.expand(n, -1, -1, -1) for bias in self.biases],
            self.angles.expand(n, -1, -1),
        )


class MaskedDiffusion(SequenceTrunk):
    """Sequence trunk and token denoiser.

    Parameters
    ----------
    config : MaskedDiffusionConfig
    """

    kind = "masked_diffusion"
    config_class = MaskedDiffusionConfig

    def __init__(self, config: MaskedDiffusionConfig | None = None) -> None:
        super().__init__(config or MaskedDiffusionConfig())
        c = self.config
        self.token = nn.Embedding(c.vocabulary + 1, c.width)
        self.denoiser = nn.ModuleList(Block(c.width, c.heads) for _ in range(c.layers))
        self.head = nn.Sequential(nn.LayerNorm(c.width), nn.Linear(c.width, c.vocabulary))
        nn.init.normal_(self.token.weight, std=0.5)
        self.own_token = None
        if c.self_condition:
            self.own_token = nn.Linear(c.width, c.width, bias=False)
            nn.init.zeros_(self.own_token.weight)

    def condition(
        self,
        amino_acids: torch.Tensor,
        mask: torch.Tensor,
        index: torch.Tensor,
        condition: torch.Tensor | None = None,
        context: StructureContext | None = None,
    ) -> Condition:
        """Run the trunk on amino acids, mask and index [B, L], and condition [B, L, size].

        `context` is the known structure.
        """
        c = self.config
        padding = padding_bias(mask)
        x = self.read_sequence(amino_acids, padding, index, None, condition, context)
        q, k = self.pair_factors(x)
        bias = q @ k.transpose(-1, -2) + padding
        return Condition(
            self.to_state(x),
            list(bias.chunk(c.layers, 1)),
            rotary_angles(index, c.width // c.heads),
        )

    def hidden(
        self, tokens: torch.Tensor, condition: Condition, own: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Hidden states [B, L, D] of partly masked tokens [B, L]; `head` maps them to logits.

        `own` [B, L, D] is added to the embedded tokens.
        """
        x = self.token(tokens) + condition.state
        if own is not None:
            x = x + own
        for block, bias in zip(self.denoiser, condition.biases, strict=True):
            x = block(x, condition.angles, bias)
        return x

    def denoise(
        self, tokens: torch.Tensor, where: torch.Tensor, condition: Condition
    ) -> torch.Tensor:
        """Logits [where.sum(), V] of partly masked tokens [B, L] at the positions `where`.

        With `self_condition` the network predicts twice. The second pass gets, at each masked
        position, the mean embedding under the first prediction. Chen et al. (2023) use the
        prediction of the previous step instead; with two passes the output depends only on the
        state. In training the first prediction is omitted half of the time, so that the first
        pass is trained too.
        """
        own = None
        if self.own_token is not None:
            first = torch.zeros_like(condition.state)
            if not self.training or torch.rand(()) < 0.5:
                with torch.no_grad():
                    answer = self.head(self.hidden(tokens, condition)).softmax(-1)
                    first = answer @ self.token.weight[:-1].to(answer.dtype)
            masked = (tokens == self.config.vocabulary).unsqueeze(-1)
            own = self.own_token(first * masked)
        return self.head(self.hidden(tokens, condition, own)[where])

    def loss(
        self,
        tokens: torch.Tensor,
        condition: Condition,
        present: torch.Tensor,
        share: torch.Tensor,
        masked: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Single-sample estimate, float32 [B], of the negative bound (nats) of each row.

        See `bound.negative_bound` for the arguments; `condition` is the output of `condition`.
        """
        denoise = functools.partial(self.denoise, condition=condition)
        return negative_bound(denoise, tokens, present, share, self.config.vocabulary, masked)


class MaskedDiffusionModel(MaskedModel):
    """`StructureLanguageModel` of a `MaskedDiffusion` network.

    Parameters
    ----------
    network : MaskedDiffusion
    device : str
        Torch device.
    """

    def __init__(self, network: MaskedDiffusion, device: str = "cpu") -> None:
        super().__init__(network, device)
        self.condition_size = network.config.condition
        self.sees_structure = bool(network.config.structure)

    def read(
        self,
        sequence: str,
        condition: object = None,
        *,
        hidden: bool = False,
        structure: StructureContext | None = None,
    ) -> Callable[[int], Denoiser]:
        letters, *layout = sequence_tensors(sequence, self.device)
        values = None
        if hidden:
            letters = torch.full_like(letters, 20)
        else:
            values = condition_tensor(self.check_condition(condition, sequence), self.device)
        context = None if structure is None else structure.tensors(self.device)
        told = self.network.condition(letters, *layout, values, context)

        def rows(number: int) -> Denoiser:
            each = told.expand(number)
            return lambda tokens, where, time: self.network.denoise(tokens, where, each)

        return rows
