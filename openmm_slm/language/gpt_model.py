"""Sequence probabilities and sequence sampling of the decoder-only model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..protein.sequence import AMINO_ACIDS, MAX_LENGTH
from .autoregressive import AutoregressiveModel, draw_tokens
from .frame_batches import sample_frames
from .interface import TokenSamples, check_integer, check_sampling
from .sampling import draw, token_probabilities
from .trunk import sequence_tensors


class GPTModel(AutoregressiveModel):
    """Structure language model p(z|c) of a `GPT` network, which also has p(c)."""

    @torch.inference_mode()
    def log_prob_sequence(self, sequence: str) -> float:
        """Exact log p(c) (nats) of a sequence, given its length and chain ends."""
        self._check_sequence()
        amino_acids, mask, index = inputs = sequence_tensors(sequence, self.device)
        memory = self._read((*inputs, None), np.full((1, index.shape[1]), -1))
        return -float(self.network.amino_acid_nats(memory, amino_acids, mask).double())

    @torch.inference_mode()
    def sample_pairs(
        self,
        length: int,
        frames: Sequence[int],
        *,
        seed: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
    ) -> tuple[list[str], TokenSamples]:
        """Sample pairs (c, z) ~ p(c, z): one-chain sequences of `length` residues, and tokens.

        Returns
        -------
        sequences : list of str, n
        samples : TokenSamples
            `log_prob` is log p(c, z).
        """
        self._check_sequence()
        check_sampling(temperature, top_p, None)
        check_integer("length", length, 2, f"residues, at most {MAX_LENGTH}")
        if length > MAX_LENGTH:
            raise ValueError(f"length is {length}, at most {MAX_LENGTH} residues are supported")

        def compute(given: np.ndarray, uniforms: np.ndarray) -> tuple[torch.Tensor, ...]:
            given, when = (torch.as_tensor(x, device=self.device) for x in (given, uniforms))
            letters, total = torch.empty_like(given), torch.zeros_like(when[0, :, 0])

            def choose(position, logits):
                """Sample the amino acid at `position` of each row."""
                probability = token_probabilities(logits, temperature, top_p)
                chosen = letters[:, position] = draw(probability, when[0, :, position])
                own = logits.double().log_softmax(-1).gather(-1, chosen.unsqueeze(-1))
                total.add_(own.squeeze(-1))
                return chosen

            index = torch.arange(length, device=self.device).expand(len(given), -1)
            memory = self.network.draw_sequence(index, choose)
            tokens, of_tokens = draw_tokens(
                self.network, memory, given, when[1], temperature, top_p
            )
            return letters, tokens, total + of_tokens

        known, size = np.full(length, -1), self.frames_together(length)
        letters, tokens, log_prob = sample_frames(compute, frames, known, size, seed)
        sequences = ["".join(AMINO_ACIDS[i] for i in row) for row in letters]
        return sequences, TokenSamples(tokens, log_prob)

    def _check_sequence(self) -> None:
        if not self.network.config.use_sequence:
            raise ValueError("this model was trained without sequences: it has no p(c)")
        if self.condition_size is not None:
            raise ValueError("this model was trained with a condition of the sequence: no p(c)")
