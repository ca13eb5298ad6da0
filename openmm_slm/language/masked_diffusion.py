"""Masked discrete diffusion over structure tokens (the ESMDiff family).

Forward process: a token is replaced by MASK with probability t, t in [0, 1] (Sahoo et al., 2024;
Shi et al., 2024; log-linear schedule). The denoiser u(z_t, c) predicts the clean token of each
masked position; the loss is in `bound`. The state tells the time, so the denoiser gets none. A deep
trunk reads the sequence once; a light denoiser, which also receives the trunk's pairwise attention
biases, runs at every step.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn

from ..layers import Block, rotary_angles
from .bound import negative_bound
from .frame_batches import known_tokens, sample_frames
from .interface import StructureLanguageModel, TokenSamples, check_integer, check_sampling
from .sampling import ORDERS, guided
from .trunk import SequenceTrunk, TrunkConfig, condition_tensor, padding_bias, sequence_tensors

DEFAULT_STEPS = 25


@dataclass(frozen=True)
class MaskedDiffusionConfig(TrunkConfig):
    """Sizes of a `MaskedDiffusion` network."""


@dataclass
class Condition:
    """What the trunk says of B sequences.

    Attributes
    ----------
    state : Tensor [B, L, D]
        Added to the token embeddings.
    biases : list of Tensor [B, H, L, L]
        Additive attention bias of each denoiser layer, padding included.
    angles : Tensor [B, L, C/2]
        Rotary angles of the denoiser.
    """

    state: torch.Tensor
    biases: list[torch.Tensor]
    angles: torch.Tensor

    def repeat(self, times: int) -> Condition:
        """Each sequence `times` times in a row."""
        return Condition(
            self.state.repeat_interleave(times, 0),
            [bias.repeat_interleave(times, 0) for bias in self.biases],
            self.angles.repeat_interleave(times, 0),
        )

    def expand(self, n: int) -> Condition:
        """One sequence, n times, without copying."""
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

    def condition(
        self,
        amino_acids: torch.Tensor,
        mask: torch.Tensor,
        index: torch.Tensor,
        condition: torch.Tensor | None = None,
    ) -> Condition:
        """Run the trunk: amino acids, mask and residue index [B, L]; condition [B, L, size]."""
        c = self.config
        padding = padding_bias(mask)
        x = self.read_sequence(amino_acids, padding, index, condition=condition)
        q, k = self.pair_factors(x)
        bias = q @ k.transpose(-1, -2) + padding
        return Condition(
            self.to_state(x),
            list(bias.chunk(c.layers, 1)),
            rotary_angles(index, c.width // c.heads),
        )

    def hidden(self, tokens: torch.Tensor, condition: Condition) -> torch.Tensor:
        """States [B, L, D] of partly masked tokens [B, L]; `head` turns them into logits."""
        x = self.token(tokens) + condition.state
        for block, bias in zip(self.denoiser, condition.biases, strict=True):
            x = block(x, condition.angles, bias)
        return x

    def denoise(
        self, tokens: torch.Tensor, where: torch.Tensor, condition: Condition
    ) -> torch.Tensor:
        """Logits [where.sum(), V] of partly masked tokens [B, L] at the positions `where`."""
        return self.head(self.hidden(tokens, condition)[where])

    def loss(
        self,
        tokens: torch.Tensor,
        condition: Condition,
        present: torch.Tensor,
        share: torch.Tensor,
        masked: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """One draw of the negative bound (nats) of each row: float32 [B].

        tokens int64 [B, L]; `present` [B, L] is False where there is no token to learn; `share`
        [B] says how many are masked, `masked` [B, L] which (see `bound.negative_bound`).
        """
        denoise = functools.partial(self.denoise, condition=condition)
        return negative_bound(denoise, tokens, present, share, self.config.vocabulary, masked)


class MaskedDiffusionModel(StructureLanguageModel):
    """A `MaskedDiffusion` network behind the `StructureLanguageModel` interface.

    Parameters
    ----------
    network : MaskedDiffusion
    device : str
    """

    def __init__(self, network: MaskedDiffusion, device: str = "cpu") -> None:
        self.network = network.to(device).eval()
        self.device = torch.device(device)
        self.vocabulary = network.config.vocabulary
        self.condition_size = network.config.condition

    @torch.inference_mode()
    def sample(
        self,
        sequence: str,
        frames: Sequence[int],
        *,
        seed: int,
        known: np.ndarray | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        steps: int | None = None,
        order: str | None = None,
        guidance: float = 0.0,
        condition: object = None,
    ) -> TokenSamples:
        """See `StructureLanguageModel.sample`; `order` is one of `sampling.ORDERS`."""
        check_sampling(temperature, top_p, steps, guidance)
        self.check_options(steps, order, guidance)
        told, length = self._condition(sequence, condition)
        blind = self._hidden(sequence) if guidance else None
        known = known_tokens(known, len(frames), length, self.vocabulary)

        def compute(given: np.ndarray, uniforms: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
            rows, guide = len(given), None
            denoise = functools.partial(self.network.denoise, condition=told.expand(rows))
            if blind is not None:
                away = functools.partial(self.network.denoise, condition=blind.expand(rows))
                guide = functools.partial(guided, denoise=away, guidance=guidance)
            return ORDERS[order or "ancestral"](
                denoise,
                torch.as_tensor(given, device=self.device),
                torch.as_tensor(uniforms, device=self.device),
                self.vocabulary,
                steps or DEFAULT_STEPS,
                temperature,
                top_p,
                guide,
            )

        size = self.frames_together(length)
        return TokenSamples(*sample_frames(compute, frames, known, size, seed))

    def check_options(self, steps: int | None, order: str | None, guidance: float) -> None:
        if order is not None and order not in ORDERS:
            raise ValueError(f"order is {order!r}; choose one of {', '.join(ORDERS)}")
        super().check_options(steps, order, guidance)

    def frames_together(self, length: int) -> int:
        """A function of the length alone (about 2,048 positions)."""
        return int(min(32, max(1, 2048 // length)))

    def log_prob(
        self,
        tokens: np.ndarray,
        sequence: str,
        draws: int = 16,
        seed: int = 0,
        condition: object = None,
    ) -> np.ndarray:
        """Lower bound of log p(z|c), a Monte Carlo mean over `draws` stratified masked counts."""
        return self.log_prob_and_error(tokens, sequence, draws, seed, condition)[0]

    @torch.inference_mode()
    def log_prob_and_error(
        self,
        tokens: np.ndarray,
        sequence: str,
        draws: int = 16,
        seed: int = 0,
        condition: object = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The bound and its standard error, from the differences of neighbouring strata.

        Strata differ in their means, which a plain standard deviation would count as noise.
        """
        check_integer("draws", draws, 2, "maskings of the bound")
        told, length = self._condition(sequence, condition)
        tokens = np.atleast_2d(tokens)
        size = self.frames_together(length)
        bounds = np.empty((draws, len(tokens)))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            for start in range(0, len(tokens), size):
                rows = slice(start, start + size)
                given = torch.as_tensor(tokens[rows], dtype=torch.long, device=self.device)
                present = torch.ones_like(given, dtype=torch.bool)
                for number in range(draws):
                    share = (number + torch.rand(len(given), device=self.device)) / draws
                    loss = self.network.loss(given, told.expand(len(given)), present, share)
                    bounds[number, rows] = -loss.double().cpu().numpy()
        variance = (np.diff(bounds, axis=0) ** 2).mean(0) / 2
        return bounds.mean(0), np.sqrt(variance / draws)

    def _condition(self, sequence: str, condition: object) -> tuple[Condition, int]:
        """What the trunk says, and the length."""
        values = condition_tensor(self.check_condition(condition, sequence), self.device)
        tensors = sequence_tensors(sequence, self.device)
        return self.network.condition(*tensors, values), tensors[0].shape[1]

    def _hidden(self, sequence: str) -> Condition:
        """What the trunk says of a sequence it does not see."""
        letters, *layout = sequence_tensors(sequence, self.device)
        return self.network.condition(torch.full_like(letters, 20), *layout)
