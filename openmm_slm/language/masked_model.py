"""Sample and score tokens with networks that predict the clean token of masked positions."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn as nn

from ..protein.sequence import parse_sequence
from .bound import negative_bound
from .frame_batches import known_tokens, sample_frames
from .interface import StructureLanguageModel, TokenSamples, check_integer, check_sampling
from .sampling import ORDERS, Denoiser, guided
from .structure_context import StructureContext

DEFAULT_STEPS = 25


class MaskedModel(StructureLanguageModel):
    """`StructureLanguageModel` of a denoiser; subclasses implement `read`.

    Parameters
    ----------
    network : Module
        Network with ``config.vocabulary``.
    device : str
        Torch device.
    """

    #: Sampling methods by name; the first is the default.
    orders: dict[str, Callable[..., tuple[torch.Tensor, torch.Tensor]]] = ORDERS

    def __init__(self, network: nn.Module, device: str = "cpu") -> None:
        self.network = network.to(device).eval()
        self.device = torch.device(device)
        self.vocabulary = network.config.vocabulary

    @abstractmethod
    def read(
        self, sequence: str, condition: object = None, *, hidden: bool = False
    ) -> Callable[[int], Denoiser]:
        """Encode a sequence (without its amino acids if `hidden`).

        Returns
        -------
        callable (number of rows) -> Denoiser
        """

    @torch.inference_mode()
    def sample(
        self,
        sequence: str,
        frames: Sequence[int],
        *,
        seed: int,
        known: np.ndarray | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        steps: int | None = None,
        order: str | None = None,
        guidance: float = 0.0,
        condition: object = None,
        structure: StructureContext | None = None,
        hints: np.ndarray | None = None,
        draws: int = 1,
    ) -> TokenSamples:
        """As `StructureLanguageModel.sample`; `order` is one of `orders`.

        All frames share one `structure`; `hints` are ignored.
        """
        temperature = self.temperature if temperature is None else temperature
        top_p = self.top_p if top_p is None else top_p
        check_sampling(temperature, top_p, steps, guidance)
        self.check_options(steps, order, guidance)
        length = _length(sequence)
        self.check_structure(structure, length, -1)
        more = {} if structure is None else {"structure": structure}
        told = self.read(sequence, condition, **more)
        blind = self.read(sequence, hidden=True) if guidance else None
        known = known_tokens(known, len(frames), length, self.vocabulary)
        fill = self.orders[order or next(iter(self.orders))]

        def compute(given: np.ndarray, uniforms: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
            guide = None
            if blind is not None:
                away = blind(len(given))
                guide = functools.partial(guided, denoise=away, guidance=guidance)
            return fill(
                told(len(given)),
                torch.as_tensor(given, device=self.device),
                torch.as_tensor(uniforms, device=self.device),
                self.vocabulary,
                steps or DEFAULT_STEPS,
                temperature,
                top_p,
                guide,
            )

        size = max(1, self.frames_together(length) // draws)
        return TokenSamples(*sample_frames(compute, frames, known, size, seed, draws=draws))

    def check_options(self, steps: int | None, order: str | None, guidance: float) -> None:
        if order is not None and order not in self.orders:
            raise ValueError(f"order is {order!r}; choose one of {', '.join(self.orders)}")
        super().check_options(steps, order, guidance)

    def frames_together(self, length: int) -> int:
        """Batch size for about 2,048 positions; depends on the length only."""
        return int(min(32, max(1, 2048 // length)))

    def log_prob(
        self,
        tokens: np.ndarray,
        sequence: str,
        draws: int = 16,
        seed: int = 0,
        condition: object = None,
    ) -> np.ndarray:
        """Lower bound of log p(z|c): mean over `draws` random masks, stratified by their size."""
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
        """Lower bound of `log_prob` and its standard error.

        The error is estimated from differences of neighbouring strata: a plain standard deviation
        would count the different means of the strata as noise.
        """
        check_integer("draws", draws, 2, "maskings of the bound")
        length = _length(sequence)
        told = self.read(sequence, condition)
        tokens = np.atleast_2d(tokens)
        size = self.frames_together(length)
        bounds = np.empty((draws, len(tokens)))
        # A local generator, because several threads share torch's global one.
        generator = torch.Generator(self.device).manual_seed(seed)
        for start in range(0, len(tokens), size):
            rows = slice(start, start + size)
            given = torch.as_tensor(tokens[rows], dtype=torch.long, device=self.device)
            present = torch.ones_like(given, dtype=torch.bool)
            timed = told(len(given))

            def denoise(tokens: torch.Tensor, where: torch.Tensor, timed: Denoiser = timed):
                return timed(tokens, where, where.double().mean(1))

            for number in range(draws):
                uniform = torch.rand(len(given), device=self.device, generator=generator)
                loss = negative_bound(
                    denoise, given, present, (number + uniform) / draws, self.vocabulary,
                    generator=generator,
                )  # fmt: skip
                bounds[number, rows] = -loss.double().cpu().numpy()
        variance = (np.diff(bounds, axis=0) ** 2).mean(0) / 2
        return bounds.mean(0), np.sqrt(variance / draws)


def _length(sequence: str) -> int:
    return sum(map(len, parse_sequence(sequence)))
