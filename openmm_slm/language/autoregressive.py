"""Models that sample tokens from left to right, with exact probabilities.

p(z|c) = prod_l p(z_l | z_<l, c, k), where k are the known tokens (none when sampling from the
sequence alone). A network encodes (c, k) once into a memory (`read`). Given tokens are then scored
at all positions at once (`hidden`, then `head`); new tokens are sampled one by one with a cache
(`begin`, `step`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from .causal import sum_of_nats
from .condition_input import condition_tensor
from .frame_batches import known_tokens, sample_frames
from .interface import StructureLanguageModel, TokenSamples, check_sampling
from .sampling import draw, token_probabilities
from .structure_context import StructureContext
from .trunk import sequence_tensors

if TYPE_CHECKING:
    from . import gpt, t5


def token_nats(
    network: t5.T5 | gpt.GPT,
    memory: t5.Memory | gpt.Memory,
    tokens: torch.Tensor,
    counted: torch.Tensor,
) -> torch.Tensor:
    """Sum [B] of -log p of the tokens int64 [B, L] (-1: no token) where `counted` [B, L]."""
    logits = network.head(network.hidden(memory, tokens)[counted])
    return sum_of_nats(logits, tokens, counted)


def draw_tokens(
    network: t5.T5 | gpt.GPT,
    memory: t5.Memory | gpt.Memory,
    known: torch.Tensor,
    uniforms: torch.Tensor,
    temperature: float = 1.0,
    top_p: float = 1.0,
    guidance: float = 0.0,
    blind: t5.Memory | gpt.Memory | None = None,
    *,
    prefix: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample the unknown tokens of a batch from left to right.

    Parameters
    ----------
    network : T5 or GPT
    memory
        Output of ``network.read`` for one row, which is that of all, or for B / draws rows, of
        which each is that of so many consecutive rows.
    known : Tensor, int64 [B, L]
        Known tokens; -1 where to sample.
    uniforms : Tensor, float64 [B, L]
        Random number of each position.
    temperature, top_p, guidance : float
        See `StructureLanguageModel.sample`.
    blind
        Memory without the sequence, for `guidance`.
    prefix : int
        Number of first positions, known in all rows and equal in rows of one memory, that the
        network reads at once.

    Returns
    -------
    tokens : Tensor, int64 [B, L]
    log_prob : Tensor, float64 [B]
        Log-probability of the sampled tokens at temperature 1, summed.
    """
    rows, start = len(known), network.config.vocabulary
    tokens = known.clone()
    log_prob = torch.zeros(rows, dtype=torch.float64, device=known.device)

    def begun(memory):
        cache, times = network.begin(memory, rows), rows // len(memory.angles)
        if prefix:
            network.hidden(memory, known[::times, :prefix], cache)
        return cache, memory if times in (1, rows) else memory.repeated(times)

    cache, memory = begun(memory)
    other, blind = begun(blind) if guidance else (None, None)
    previous = known[:, prefix - 1] if prefix else torch.full_like(known[:, 0], start)
    unknown = (known < 0).any(0).nonzero()
    last = int(unknown[-1]) + 1 if len(unknown) else 0  # the rest is known
    for position in range(prefix, last):
        logits = network.step(memory, cache, position, previous).double()
        sampled, sharpened = known[:, position] < 0, logits
        if guidance:
            away = network.step(blind, other, position, previous).double().log_softmax(-1)
            sharpened = (1 + guidance) * logits.log_softmax(-1) - guidance * away
        drawn = draw(token_probabilities(sharpened, temperature, top_p), uniforms[:, position])
        previous = torch.where(sampled, drawn, known[:, position])
        own = logits.log_softmax(-1).gather(-1, previous.unsqueeze(-1)).squeeze(-1)
        log_prob += torch.where(sampled, own, 0.0)
        tokens[:, position] = previous
    return tokens, log_prob


class AutoregressiveModel(StructureLanguageModel):
    """`StructureLanguageModel` of a `T5` or `GPT` network.

    Parameters
    ----------
    network : T5 or GPT
    device : str
        Torch device.
    """

    def __init__(self, network: t5.T5 | gpt.GPT, device: str = "cpu") -> None:
        self.network = network.to(device).eval()
        self.device = torch.device(device)
        self.vocabulary = network.config.vocabulary
        self.condition_size = network.config.condition
        self.sees_structure = bool(getattr(network.config, "structure", 0))
        self.sees_disorder = bool(getattr(network.config, "disorder", False))

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
        structure: StructureContext | None = None,
        hints: np.ndarray | None = None,
        draws: int = 1,
    ) -> TokenSamples:
        check_sampling(temperature, top_p, steps, guidance)
        self.check_options(steps, order, guidance)
        inputs = self._inputs(sequence, condition)
        length, n = inputs[0].shape[1], len(frames)
        self.check_structure(structure, length, n)
        known = known_tokens(known, n, length, self.vocabulary)
        told = known if hints is None else known_tokens(hints, n, length, self.vocabulary)
        hidden = (torch.full_like(inputs[0], 20), *inputs[1:3], None)
        views = [inputs, hidden] if guidance else [inputs]
        # The network reads the known beginning at once if it is the same in all frames, so that no
        # frame depends on which others are requested.
        unknown = np.flatnonzero(known < 0) if known.ndim == 1 else []
        prefix = int(unknown[0]) if len(unknown) else 0
        context, shared, own = structure, None, {}
        if told.ndim == 2 or (structure is not None and structure.level.ndim == 2):
            # Each frame has its own context: the trunk runs once per frame.
            own = {"told": np.broadcast_to(told, (n, length))}
            if structure is not None and structure.level.ndim == 2:
                own, context = own | structure.arrays(), None
        else:
            shared = [self._read(view, told[None], context) for view in views]

        def compute(
            given: np.ndarray, uniforms: np.ndarray, told: np.ndarray | None = None, **places
        ) -> tuple[torch.Tensor, torch.Tensor]:
            seen = shared
            if shared is None:
                mine = StructureContext(**places) if places else context
                seen = [self._read(view, told, mine) for view in views]
            return draw_tokens(
                self.network,
                seen[0],
                torch.as_tensor(given, device=self.device),
                torch.as_tensor(uniforms[1], device=self.device),
                temperature,
                top_p,
                guidance,
                seen[-1],
                prefix=prefix,
            )

        size = self.frames_together(length)
        # The trunk of each frame needs as much memory as its tokens.
        size = max(1, size // (draws + (shared is None)))
        return TokenSamples(*sample_frames(compute, frames, known, size, seed, own, draws))

    def check_options(self, steps: int | None, order: str | None, guidance: float) -> None:
        for name, value in (("steps", steps), ("order", order)):
            if value is not None:
                raise ValueError(
                    f"{name} is {value!r}, but a {self.network.kind} model draws the tokens one by "
                    f"one from the left: leave {name} out, or choose a masked diffusion model"
                )
        super().check_options(steps, order, guidance)

    def frames_together(self, length: int) -> int:
        """Batch size for about 4,096 positions; depends on the length only."""
        return int(min(64, max(1, 4096 // length)))

    @torch.inference_mode()
    def log_prob(
        self,
        tokens: np.ndarray,
        sequence: str,
        known: np.ndarray | None = None,
        condition: object = None,
        structure: StructureContext | None = None,
        hints: np.ndarray | None = None,
    ) -> np.ndarray:
        """Exact log p(z|c) (nats), float64 [n], of tokens int [n, L].

        With `known` [L] or [n, L] (-1: unknown): the probability of the unknown tokens given c
        and the known tokens. A `structure` and `hints` [L] (see `sample`) apply to all rows.
        """
        inputs = self._inputs(sequence, condition)
        tokens, length = np.atleast_2d(tokens), inputs[0].shape[1]
        known = known_tokens(known, len(tokens), length, self.vocabulary)
        told = known if hints is None else known_tokens(hints, 1, length, self.vocabulary)
        self.check_structure(structure, length, -1)
        size = self.frames_together(length)
        shared = None if told.ndim == 2 else self._read(inputs, told[None], structure)
        out = np.empty(len(tokens))
        for start in range(0, len(tokens), size):
            rows = slice(start, start + size)
            given = np.broadcast_to(known, tokens.shape)[rows]
            values = torch.as_tensor(tokens[rows], dtype=torch.long, device=self.device)
            counted = torch.as_tensor(given < 0, device=self.device)
            memory = shared or self._read(inputs, given, structure)
            out[rows] = -token_nats(self.network, memory, values, counted).double().cpu().numpy()
        return out

    def _inputs(self, sequence: str, condition: object) -> tuple[torch.Tensor | None, ...]:
        """Amino acids, mask and index [1, L]; condition [1, L, D] or None."""
        values = self.check_condition(condition, sequence)
        return *sequence_tensors(sequence, self.device), condition_tensor(values, self.device)

    def _read(
        self,
        inputs: tuple[torch.Tensor | None, ...],
        known: np.ndarray,
        structure: StructureContext | None = None,
    ) -> t5.Memory | gpt.Memory:
        """Memory of a sequence (output of `_inputs`) with known tokens [B, L].

        `structure` holds one context for all rows, or one per row.
        """
        *layout, condition = inputs
        known, rows = torch.tensor(known, dtype=torch.long, device=self.device), len(known)
        if condition is not None:
            condition = condition.expand(rows, -1, -1)
        more = {}
        if structure is not None:
            context = structure.tensors(self.device)
            more["context"] = context if structure.level.ndim == 2 else context.expand(rows)
        layout = (x.expand(rows, -1) for x in layout)
        return self.network.read(*layout, known, condition, **more)
