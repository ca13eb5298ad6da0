"""Evaluate language models: nats per token of known structures, given the sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
import torch.nn as nn

from ..data.embeddings import EmbeddingStore
from ..data.shards import ShardDataset
from .language_losses import TERMS
from .token_batches import read_tokens


class Tokens(Protocol):
    """Source of the tokens of an entry, such as `TokenStore`."""

    def read(self, row: dict[str, str]) -> np.ndarray:
        """Tokens int [L] of one row of the index; -1 where absent."""


def entries_of_clusters(
    dataset: ShardDataset, clusters: int | None = None, max_length: int = 512
) -> list[int]:
    """Row numbers of entries of at most `max_length` residues, sorted by length.

    All entries, or with `clusters` the first entry of each of that many clusters.
    """
    groups = [g[dataset.lengths[g] <= max_length] for g in dataset.clusters()]
    groups = [g for g in groups if len(g)][:clusters]
    numbers = [int(n) for g in groups for n in (g[:1] if clusters else g)]
    return sorted(numbers, key=lambda n: dataset.lengths[n])


def nats_of_entries(
    network: nn.Module,
    dataset: ShardDataset,
    tokens: Tokens,
    numbers: Sequence[int],
    maskings: int = 8,
    embeddings: EmbeddingStore | None = None,
) -> dict[str, np.ndarray]:
    """Nats per token of entries, and per amino acid for families that predict the sequence.

    Masked diffusion gives an upper bound, estimated with `maskings` maskings and a fixed seed;
    other families are exact.

    Returns
    -------
    dict of ndarray [C]
        Mean of each of the C clusters, in the order of their names.
    """
    per_cluster: dict[str, dict[str, list[float]]] = {}
    device = next(network.parameters()).device
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        for start in range(0, len(numbers), 8):
            chosen = numbers[start : start + 8]
            batch = read_tokens(dataset, tokens, chosen, embeddings)
            batch = {k: torch.as_tensor(v, device=device) for k, v in batch.items()}
            terms = TERMS[network.kind](network, batch, maskings, 0.0)
            for name, (nats, count) in terms.items():
                for number, value in zip(chosen, (nats / count).tolist(), strict=True):
                    cluster = dataset.rows[number]["cluster"]
                    per_cluster.setdefault(name, {}).setdefault(cluster, []).append(value)
    return {
        name: np.array([np.mean(values[cluster]) for cluster in sorted(values)])
        for name, values in per_cluster.items()
    }


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Mean of values [C] and its standard error."""
    return float(values.mean()), float(values.std() / np.sqrt(len(values)))
