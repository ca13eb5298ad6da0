"""Training batches: whole chains for the encoder, crops of them for the decoder.

Batch `step` of a run is a function of (seed, step) alone, so that a resumed run sees the data an
uninterrupted one would. Chains are drawn by 30 % sequence cluster: a family counts once however
many of its members were solved.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import Full, Queue
from typing import TYPE_CHECKING

import numpy as np

from ..sequence import encode_sequence
from .shards import Entry, ShardDataset

if TYPE_CHECKING:
    from .tokens import TokenStore


class ClusterSampler:
    """Draw entries uniformly over clusters, then uniformly within the cluster."""

    def __init__(self, dataset: ShardDataset, min_length: int = 20, max_length: int = 512) -> None:
        kept = (dataset.lengths >= min_length) & (dataset.lengths <= max_length)
        self.dataset = dataset
        groups = [group[kept[group]] for group in dataset.clusters()]
        self.groups = [group for group in groups if len(group)]

    def number(self, rng: np.random.Generator) -> int:
        """Row number of one entry."""
        group = self.groups[rng.integers(len(self.groups))]
        return int(group[rng.integers(len(group))])


def pad_entries(entries: list[Entry], multiple: int = 8) -> dict[str, np.ndarray]:
    """Stack entries: backbone [B, L, 4, 3], mask, index, amino_acids [B, L] (L padded)."""
    longest = max(len(entry.sequence) for entry in entries)
    longest = -(-longest // multiple) * multiple
    b = len(entries)
    batch = {
        "backbone": np.zeros((b, longest, 4, 3), np.float32),
        "mask": np.zeros((b, longest), bool),
        "index": np.zeros((b, longest), np.int64),
        "amino_acids": np.full((b, longest), 20, np.int64),
    }
    for row, entry in enumerate(entries):
        n = len(entry.sequence)
        backbone = entry.backbone
        present = np.isfinite(backbone).all((1, 2))
        backbone = backbone - backbone[present, 1].mean(0)
        batch["backbone"][row, :n] = np.where(present[:, None, None], backbone, 0)
        batch["mask"][row, :n] = present
        batch["index"][row, :n] = entry.residue_index
        batch["amino_acids"][row, :n] = encode_sequence(entry.sequence)
    return batch


def tokenizer_batch(
    sampler: ClusterSampler,
    residues: int,
    crop: int,
    seed: int,
    step: int,
    store: TokenStore | None = None,
) -> dict[str, np.ndarray]:
    """Whole chains and crops of them, about `residues` residues in crops.

    A chain longer than `crop` gives about L / crop crops: all of it is encoded, so all of it is
    decoded. With tokens from a `store` nothing is encoded and each chain gives one crop.
    ``crop_chain``, ``crop_start`` int64 [C] say which.
    """
    rng = np.random.default_rng([seed, step])
    numbers, crops = [], []
    wanted = max(1, residues // crop)
    while len(crops) < wanted:
        numbers.append(sampler.number(rng))
        length = int(sampler.dataset.lengths[numbers[-1]])
        share = 1 if store else min(max(1, round(length / crop)), 6)
        for _ in range(min(share, wanted - len(crops))):
            crops.append((len(numbers) - 1, int(rng.integers(max(1, length - crop + 1)))))
    entries = [sampler.dataset[number] for number in numbers]
    batch = pad_entries(entries)
    if store:
        rows = [store.read(sampler.dataset.rows[number]) for number in numbers]
        batch["tokens"] = pad_tokens(rows, batch["mask"].shape[1])
    batch["crop_chain"], batch["crop_start"] = (
        np.array([pair[i] for pair in crops], np.int64) for i in (0, 1)
    )
    return batch


def pad_tokens(rows: list[np.ndarray], length: int) -> np.ndarray:
    """Tokens int64 [B, length], -1 where there is none."""
    padded = np.full((len(rows), length), -1, np.int64)
    for number, tokens in enumerate(rows):
        padded[number, : len(tokens)] = tokens
    return padded


def prefetch(make: Callable[[int], dict], first: int, depth: int = 3) -> Iterator[dict]:
    """make(first), make(first + 1), ... computed ahead in a thread; errors surface here."""
    queue: Queue = Queue(depth)
    stopped = threading.Event()

    def put(item: object) -> None:
        while not stopped.is_set():
            try:
                return queue.put(item, timeout=0.5)
            except Full:
                continue

    def work() -> None:
        step = first
        try:
            while not stopped.is_set():
                put(make(step))
                step += 1
        except BaseException as error:  # handed to the consumer
            put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        while True:
            item = queue.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
