"""Batches of frames of simulations of one protein, for a language model with structure input."""

from __future__ import annotations

import numpy as np
import torch

from ..data.shards import Entry, ShardDataset
from ..data.tokens import TokenStore
from ..protein.superposition import superpose
from .structure_batches import batch_of
from .structure_contexts import ContextShares, DrawnContext, draw_context, partly_hidden

#: Contexts made of the frame itself; the rest has no structure.
SHARES = ContextShares(
    spans=0.2, patch=0.05, ends=0.05, interface=0.05, noised=0.4, soft=0.2, trace=0.0
)
#: Share of draws whose context is another frame of the simulation.
OTHER = 0.4
_MOST = 64  # held-back frames that are measured


class MDBatches:
    """Draws frames with contexts that stand for sampling from a template.

    The network sees a displaced frame, or another frame of the simulation that is superposed, with
    its deviation as the level, and predicts the hidden tokens of the frame.

    Parameters
    ----------
    dataset : ShardDataset
        Frames of one protein.
    store : TokenStore
    residues : int
        Residues of a batch.
    seed : int
    """

    def __init__(self, dataset: ShardDataset, store: TokenStore, residues: int, seed: int) -> None:
        self.dataset, self.store, self.seed = dataset, store, seed
        self.size = max(1, residues // int(dataset.lengths[0]))
        self.groups = dataset.clusters()

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """Arrays of `batch_of` for a training step."""
        rng = np.random.default_rng([self.seed, step])
        return self._arrays(rng, [self._number(rng) for _ in range(self.size)])

    def fixed(self, frames: ShardDataset) -> list[dict[str, torch.Tensor]]:
        """Batches of evenly spaced frames of another dataset, with contexts as in training.

        Contexts made of other frames have frames of this dataset.
        """
        chosen = np.unique(np.linspace(0, len(frames) - 1, _MOST).round().astype(int))
        rng, made = np.random.default_rng([self.seed, 0, 1]), []
        for begin in range(0, len(chosen), self.size):
            part = self._arrays(rng, chosen[begin : begin + self.size].tolist(), frames)
            made.append({name: torch.as_tensor(x) for name, x in part.items()})
        return made

    def _number(self, rng: np.random.Generator) -> int:
        group = self.groups[rng.integers(len(self.groups))]
        return int(group[rng.integers(len(group))])

    def _arrays(
        self,
        rng: np.random.Generator,
        numbers: list[int],
        frames: ShardDataset | None = None,
    ) -> dict[str, np.ndarray]:
        frames = self.dataset if frames is None else frames
        entries = [frames[number] for number in numbers]
        drawn = [draw_md_context(rng, one, self.dataset[self._number(rng)]) for one in entries]
        return batch_of(entries, [self.store.read(frames.rows[n]) for n in numbers], drawn)


def draw_md_context(rng: np.random.Generator, entry: Entry, other: Entry) -> DrawnContext:
    """Context of a frame: made of `other`, another frame of the protein, or of itself."""
    backbone, present = entry.backbone, np.ones(len(entry.sequence), bool)
    if rng.random() >= OTHER:
        return draw_context(rng, backbone, present, entry.chain_index, SHARES)
    _, turn, shift = superpose(other.backbone[:, 1], backbone[:, 1])
    start = (other.backbone @ turn.T + shift).astype(np.float32)
    off = np.sqrt(((start - backbone)[:, 1] ** 2).sum(-1).mean())
    level = np.full(len(present), max(0.005, off * np.exp(rng.normal(0, 0.25))), np.float32)
    drawn = DrawnContext(start, level, present.copy(), False, "noised")
    return partly_hidden(rng, drawn, backbone[:, 1], entry.chain_index)
