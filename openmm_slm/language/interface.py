"""What every structure language model offers, whatever its family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .condition import fitting_condition
from .structure_context import StructureContext


@dataclass(frozen=True, eq=False)
class TokenSamples:
    """Sampled tokens.

    Attributes
    ----------
    tokens : ndarray, int64 [n, L]
    log_prob : ndarray, float64 [n]
        Nats. Log-probability of the choices made at temperature 1: of the sample itself for
        autoregressive models, of the sample *and* the order in which it was unmasked (less a
        term that all orders share) for masked diffusion.
    """

    tokens: np.ndarray
    log_prob: np.ndarray


class StructureLanguageModel(ABC):
    """p(z|c): structure tokens z in {0..V-1}^L given an amino-acid sequence c.

    Frame i of an ensemble has its own random stream, a function of (seed, i): any subset of
    frames can be sampled in any order and gives the same tokens.
    """

    #: V, the size of the tokenizer's vocabulary; V itself is the mask token.
    vocabulary: int
    #: What is meant where none is given.
    temperature: float = 1.0
    top_p: float = 1.0
    #: Trained with some sequences hidden, as `guidance` needs.
    guided: bool = False
    #: Numbers of each residue that it is told beside the sequence; None: it has no condition.
    condition_size: int | None = None
    #: What they were in training, as `SequenceCondition.embeddings`, if known.
    embeddings: str | None = None
    #: Takes `structure` and `hints`.
    sees_structure: bool = False
    #: Where it runs; written to ``run.json``.
    device: object = "cpu"

    @abstractmethod
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
    ) -> TokenSamples:
        """Sample tokens. On a CPU, several threads ask for different frames at once.

        Parameters
        ----------
        sequence : str
            L letters, ``:`` between chains.
        frames : sequence of int, length n
            Frame numbers of the ensemble.
        seed : int
        known : ndarray, int [L] or [n, L], optional
            Tokens that are given (kept as they are); -1 where a token is to be sampled.
        temperature, top_p : float
            Sharpen the distribution (temperature < 1), or draw from the likeliest tokens that
            hold `top_p` of the probability.
        steps : int, optional
            Denoising steps (families that have them).
        order : str, optional
            Which tokens are unmasked first (families that can choose).
        guidance : float
            w of (1 + w) log p(z_l | ..., c) - w log p(z_l | ...), from which tokens are drawn:
            above 0, what the sequence says counts for more (classifier-free guidance: Ho and
            Salimans, 2022). Of models trained with some sequences hidden.
        condition : array [L, D], path or SequenceCondition, optional
            What a model trained with a condition is told of each residue (see `condition`).
        structure : StructureContext, optional
            What a model that `sees_structure` is told of it: arrays [L, ...], or [n, L, ...].
        hints : ndarray, int [L] or [n, L], optional
            Tokens that such a model is told, without keeping them; default: those that are known.

        Raises
        ------
        ValueError
            An argument out of range, named.
        """

    def frames_together(self, length: int) -> int:
        """Frames computed in one batch: asking for multiples of it wastes nothing."""
        return 1

    @abstractmethod
    def log_prob(self, tokens: np.ndarray, sequence: str, **condition: object) -> np.ndarray:
        """log p(z|c) (nats) of tokens int [n, L], or its lower bound; float64 [n].

        ``condition=``: as of `sample`.
        """

    def log_prob_and_error(
        self, tokens: np.ndarray, sequence: str, **condition: object
    ) -> tuple[np.ndarray, np.ndarray]:
        """`log_prob` and its Monte Carlo standard error: 0 where it is exact."""
        log_prob = self.log_prob(tokens, sequence, **condition)
        return log_prob, np.zeros_like(log_prob)

    def check_options(self, steps: int | None, order: str | None, guidance: float) -> None:
        """Raise ValueError for options of `sample` that this model does not have."""
        if guidance and not self.guided:
            raise ValueError(
                f"guidance is {guidance}, but in training this model always saw the sequence; "
                "leave guidance out, or train with no_sequence in the config's data section"
            )

    def check_structure(self, structure: StructureContext | None, length: int, n: int) -> None:
        """Raise ValueError for a context that this model cannot take, or of other residues."""
        if structure is None:
            return
        if not self.sees_structure:
            raise ValueError("this model sees no structure; leave structure out")
        shape = structure.level.shape
        if shape not in ((length,), (n, length)):
            raise ValueError(
                f"structure is of shape {shape}, expected {(length,)} or {(n, length)}: "
                "a context of another sequence?"
            )

    def check_condition(self, condition: object, sequence: str) -> np.ndarray | None:
        """The condition as numbers float32 [L, condition_size].

        Raises
        ------
        SLMError
            It is missing, not wanted, or of another size or other embeddings than in training.
        """
        return fitting_condition(condition, sequence, self.condition_size, self.embeddings)


def check_sampling(
    temperature: float | None, top_p: float | None, steps: int | None, guidance: float = 0.0
) -> None:
    """Raise ValueError for sampling settings out of range; None is the model's own."""
    if temperature is not None and not temperature > 0:
        raise ValueError(f"temperature is {temperature}, it must be positive (1: as learned)")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p is {top_p}, it must lie in (0, 1] (1 keeps every token)")
    if not 0 <= guidance < float("inf"):
        raise ValueError(f"guidance is {guidance}, it must be 0 (none) or positive")
    if steps is not None:
        check_integer("steps", steps, 1, "denoising steps (or None)")


def check_integer(name: str, value: int, least: int, meaning: str) -> None:
    """Raise ValueError unless `value` is an integer of at least `least` that fits 64 bits."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not least <= value < 2**63:
        raise ValueError(f"{name} is {value!r}, {meaning}: an integer from {least} on is needed")
