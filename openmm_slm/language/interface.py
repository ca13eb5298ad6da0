"""Interface of structure language models."""

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
        Log-probability at temperature 1, nats. For autoregressive models it is that of the sample;
        for masked diffusion, that of the sample *and* its order of unmasking (without a term that
        is the same for all orders).
    """

    tokens: np.ndarray
    log_prob: np.ndarray


class StructureLanguageModel(ABC):
    """p(z|c) of structure tokens z in {0..V-1}^L given an amino-acid sequence c.

    Frame i of an ensemble has its own random stream, determined by (seed, i). Any subset of frames,
    sampled in any order, therefore gives the same tokens.
    """

    #: V, the size of the tokenizer's vocabulary; V itself is the mask token.
    vocabulary: int
    #: Defaults of `sample`.
    temperature: float = 1.0
    top_p: float = 1.0
    #: True if some sequences were hidden in training, as `guidance` needs.
    guided: bool = False
    #: Numbers per residue of the condition; None for a model without condition.
    condition_size: int | None = None
    #: `SequenceCondition.embeddings` of the training data, if known.
    embeddings: str | None = None
    #: True if the model finds folds by itself: known structures are then not looked up by default.
    folds: bool = False
    #: True if `sample` accepts `structure` and `hints`.
    sees_structure: bool = False
    #: True if the structure may say which residues are disordered.
    sees_disorder: bool = False
    #: Device; written to ``run.json``.
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
        draws: int = 1,
    ) -> TokenSamples:
        """Sample tokens. Must be thread-safe: on a CPU, several threads sample different frames.

        Parameters
        ----------
        sequence : str
            L letters, ``:`` between chains.
        frames : sequence of int, length n
            Frame numbers of the ensemble.
        seed : int
        known : ndarray, int [L] or [n, L], optional
            Known tokens, which are kept; -1 where to sample.
        temperature : float
            Values below 1 sharpen the distribution.
        top_p : float
            Sample only from the most probable tokens that together hold this probability.
        steps : int, optional
            Number of denoising steps (masked diffusion and ESM3 only).
        order : str, optional
            Order in which tokens are unmasked (masked diffusion and ESM3 only).
        guidance : float
            Classifier-free guidance (Ho and Salimans, 2022): tokens are sampled from
            (1 + w) log p(z_l | ..., c) - w log p(z_l | ...). Values w above 0 give the sequence
            more weight. Needs a model trained with some sequences hidden.
        condition : array [L, D], path or SequenceCondition, optional
            Condition of the residues, for models trained with one (see `condition`).
        structure : StructureContext, optional
            Known structure, for models with `sees_structure`: arrays [L, ...] or [n, L, ...].
        hints : ndarray, int [L] or [n, L], optional
            Tokens shown to the network but not kept (-1: none). Default: `known`.
        draws : int
            Samples of each frame, one after the other in the result. What the network computes from
            `known`, `structure` and `hints` of a frame is computed once.

        Raises
        ------
        ValueError
            An argument is out of range.
        """

    def frames_together(self, length: int) -> int:
        """Frames in one batch; request multiples of it for efficiency."""
        return 1

    @abstractmethod
    def log_prob(self, tokens: np.ndarray, sequence: str, **condition: object) -> np.ndarray:
        """log p(z|c) (nats), or its lower bound, of tokens int [n, L]; float64 [n].

        ``condition=`` is as in `sample`.
        """

    def log_prob_and_error(
        self, tokens: np.ndarray, sequence: str, **condition: object
    ) -> tuple[np.ndarray, np.ndarray]:
        """`log_prob` and its Monte Carlo standard error, 0 for exact probabilities."""
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
        """Validated condition, float32 [L, condition_size], or None.

        Raises
        ------
        SLMError
            The condition is missing or not supported, or its size or embeddings differ from those
            in training.
        """
        return fitting_condition(condition, sequence, self.condition_size, self.embeddings)


def check_sampling(
    temperature: float | None, top_p: float | None, steps: int | None, guidance: float = 0.0
) -> None:
    """Raise ValueError for sampling settings out of range; None means the model's default."""
    if temperature is not None and not temperature > 0:
        raise ValueError(
            f"temperature is {temperature}; give a positive number (1: the learned distribution)"
        )
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p is {top_p}; give a number in (0, 1] (1: all tokens)")
    if not 0 <= guidance < float("inf"):
        raise ValueError(f"guidance is {guidance}; give 0 (none) or a positive number")
    if steps is not None:
        check_integer("steps", steps, 1, "denoising steps, or None")


def check_integer(name: str, value: int, least: int, meaning: str) -> None:
    """Raise ValueError unless `value` is an integer >= `least` that fits in 64 bits."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not least <= value < 2**63:
        bound = "below 2**63" if whole and value > least else f"of at least {least}"
        raise ValueError(f"{name} is {value!r}; give an integer {bound} ({meaning})")
