"""Training batches of stage 2: tokens and sequences of whole chains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.embeddings import EmbeddingStore
from ..data.padding import pad_entries
from ..data.shards import ShardDataset
from ..data.tokens import TokenStore
from ..language.masking import masked_residues
from .batches import ClusterSampler, pad_tokens


def language_model_batch(
    sampler: ClusterSampler,
    stores: Sequence[TokenStore],
    residues: int,
    seed: int,
    step: int,
    no_sequence: float = 0.0,
    embeddings: EmbeddingStore | None = None,
    chains: int | None = None,
    crop: int | None = None,
) -> dict[str, np.ndarray]:
    """Batch `step`: whole chains of similar length, about `residues` residues with padding.

    A pool of random chains is sorted by length and divided into batches; one of them is returned,
    so that every chain of the pool is equally likely.

    Parameters
    ----------
    sampler : ClusterSampler
    stores : sequence of TokenStore
        Tokens to choose from: the mode of the posterior, and draws from it. One store per batch.
    residues : int
    seed, step : int
    no_sequence : float
        Share of chains whose sequence, and embeddings, are hidden.
    embeddings : EmbeddingStore, optional
    chains : int, optional
        Number of chains per batch, of any length; `residues` is then not used.
    crop : int, optional
        Longer chains are cut to a random stretch of this many residues. Its tokens are those of the
        whole chain.

    Returns
    -------
    dict
        Arrays of `read_tokens`, and ``spans`` bool [B, L]: residues that would be resampled with a
        template.
    """
    rng = np.random.default_rng([seed, step])
    pool = [sampler.number(rng) for _ in range(chains or 64)]
    lengths = np.minimum(sampler.dataset.lengths, crop or np.inf)
    pool.sort(key=lambda number: lengths[number])
    batches: list[list[int]] = [[]]
    for number in pool:
        if not chains and batches[-1] and (len(batches[-1]) + 1) * lengths[number] > residues:
            batches.append([])
        batches[-1].append(number)
    numbers = batches[rng.integers(len(batches))]
    batch = read_tokens(sampler.dataset, stores[rng.integers(len(stores))], numbers, embeddings)
    hidden = rng.random(len(numbers)) < no_sequence
    batch["amino_acids"][hidden] = 20
    if embeddings is not None:
        batch["condition"][hidden] = np.nan
    batch["spans"] = np.zeros_like(batch["mask"])
    for row, number in enumerate(numbers):
        entry = sampler.dataset[number]
        share = np.exp(rng.uniform(np.log(0.05), 0))
        masked = masked_residues(rng, entry.backbone[:, 1], share, entry.chain_index)
        batch["spans"][row, : len(masked)] = masked
    return cut(batch, sampler.dataset.lengths[numbers], crop, rng) if crop else batch


def cut(
    batch: dict[str, np.ndarray], lengths: np.ndarray, crop: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Cut the rows [B, L, ...] of chains that are longer than `crop` residues; `lengths` is [B]."""
    if lengths.max() <= crop:
        return batch
    starts = [int(rng.integers(max(0, length - crop) + 1)) for length in lengths]
    return {
        name: np.stack([row[start : start + crop] for row, start in zip(rows, starts, strict=True)])
        for name, rows in batch.items()
    }


def read_tokens(
    dataset: ShardDataset,
    store: TokenStore,
    numbers: list[int],
    embeddings: EmbeddingStore | None = None,
) -> dict[str, np.ndarray]:
    """Padded batch of the entries `numbers`: tokens (-1 if absent), mask, index, amino_acids.

    With `embeddings` also ``condition`` float16 [B, L, D], NaN at padding.
    """
    batch = pad_entries([dataset[number] for number in numbers])
    del batch["backbone"]
    batch["tokens"] = pad_tokens(
        [store.read(dataset.rows[number]) for number in numbers], batch["mask"].shape[1]
    )
    # Residues without coordinates belong to the sequence, so the mask includes them.
    for row, number in enumerate(numbers):
        batch["mask"][row, : dataset.lengths[number]] = True
    if embeddings is not None:
        shape = (*batch["mask"].shape, embeddings.size)
        batch["condition"] = np.full(shape, np.nan, np.float16)
        for row, number in enumerate(numbers):
            values = embeddings.read(dataset.rows[number])
            batch["condition"][row, : len(values)] = values
    return batch
