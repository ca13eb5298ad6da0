"""Training batches: whole chains for the encoder, crops of them for the decoder.

Batch `step` depends on (seed, step) only, so that a resumed run sees the same data as an
uninterrupted one. Sequence clusters (30 % identity) are drawn with equal probability, so that a
family does not count more because more of its structures were solved.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from functools import partial
from queue import Full, Queue
from typing import TYPE_CHECKING

import numpy as np

from ..data.padding import pad_entries
from ..data.shards import Entry, ShardDataset
from .starts import StartConfig, draw_start

if TYPE_CHECKING:
    from ..data.tokens import TokenStore


class ClusterSampler:
    """Draw entries uniformly over clusters, then uniformly within the cluster.

    Parameters
    ----------
    dataset : ShardDataset
    min_length, max_length : int
        Range of the number of residues of the entries.
    complexes : float
        Share of draws from the entries with several chains, if there are any.
    conformers : float
        Share of draws from the entries whose sequence has other entries too, if there are any.
    """

    def __init__(
        self,
        dataset: ShardDataset,
        min_length: int = 20,
        max_length: int = 512,
        complexes: float = 0.0,
        conformers: float = 0.0,
    ) -> None:
        kept = (dataset.lengths >= min_length) & (dataset.lengths <= max_length)
        several = np.array([":" in row["sequence"] for row in dataset.rows])
        self.dataset, self.complexes, self.conformers = dataset, complexes, conformers

        def within(rows: np.ndarray) -> list[np.ndarray]:
            groups = [group[rows[group]] for group in dataset.clusters()]
            return [group for group in groups if len(group)]

        self.groups, self._complexes = within(kept & ~several), within(kept & several)
        self._same: dict[str, list[int]] = {}
        for number in np.flatnonzero(kept):
            self._same.setdefault(dataset.rows[number]["sequence"], []).append(int(number))
        again = np.array([len(self._same.get(row["sequence"], ())) > 1 for row in dataset.rows])
        self._conformers = within(kept & ~several & again)

    def number(self, rng: np.random.Generator) -> int:
        """Draw the row number of one entry."""
        groups = self.groups
        if self._complexes and self.complexes and rng.random() < self.complexes:
            groups = self._complexes
        elif self._conformers and self.conformers and rng.random() < self.conformers:
            groups = self._conformers
        group = groups[rng.integers(len(groups))]
        return int(group[rng.integers(len(group))])

    def alternative(self, number: int, rng: np.random.Generator) -> Entry | None:
        """Draw another entry with the same sequence; None if there is none."""
        others = [n for n in self._same[self.dataset.rows[number]["sequence"]] if n != number]
        return self.dataset[others[rng.integers(len(others))]] if others else None


def tokenizer_batch(
    sampler: ClusterSampler,
    residues: int,
    crop: int,
    seed: int,
    step: int,
    store: TokenStore | None = None,
    starts: StartConfig | None = None,
) -> dict[str, np.ndarray]:
    """Batch `step`: whole entries, and crops of them with about `residues` residues together.

    An entry longer than `crop` gives about L / crop crops, because all of it is encoded. With
    tokens from a `store` nothing is encoded, and each entry gives one crop.

    Returns
    -------
    dict
        Arrays of `pad_entries`; ``tokens`` with a `store`; ``crop_chain`` int64 [C], the entry of
        each crop; ``crop_rows`` int64 [C, crop], its residues (-1 is padding). With `starts` also
        ``start`` float32 [C, crop, 4, 3] and ``level`` float32 [C, crop], the starting frames.
    """
    rng = np.random.default_rng([seed, step])
    numbers, crops = [], []
    wanted = max(1, residues // crop)
    while len(crops) < wanted:
        numbers.append(sampler.number(rng))
        length = int(sampler.dataset.lengths[numbers[-1]])
        share = 1 if store else min(max(1, round(length / crop)), 6)
        crops += [len(numbers) - 1] * min(share, wanted - len(crops))
    entries = [sampler.dataset[number] for number in numbers]
    batch = pad_entries(entries)
    if store:
        rows = [store.read(sampler.dataset.rows[number]) for number in numbers]
        batch["tokens"] = pad_tokens(rows, batch["mask"].shape[1])
    batch["crop_chain"] = np.array(crops, np.int64)
    batch["crop_rows"] = np.stack([crop_rows(rng, entries[chain], crop) for chain in crops])
    if starts:
        batch["start"] = np.zeros((len(crops), crop, 4, 3), np.float32)
        batch["level"] = np.full((len(crops), crop), np.inf, np.float32)
        for number, (chain, rows) in enumerate(zip(crops, batch["crop_rows"], strict=True)):
            rows = rows[rows >= 0]
            start, level = draw_start(
                rng,
                batch["backbone"][chain, rows],
                batch["mask"][chain, rows],
                starts,
                partial(_alternative, sampler, numbers[chain], rows, rng),
            )
            batch["start"][number, : len(rows)] = start
            batch["level"][number, : len(rows)] = level
    return batch


def _alternative(
    sampler: ClusterSampler, number: int, rows: np.ndarray, rng: np.random.Generator
) -> np.ndarray | None:
    found = sampler.alternative(number, rng)
    return None if found is None else found.backbone[rows]


def crop_rows(rng: np.random.Generator, entry: Entry, crop: int) -> np.ndarray:
    """Draw the rows int64 [crop] of a crop, padded with -1 if the entry is shorter.

    A crop is one stretch of a chain. In a complex it may be two stretches of different chains that
    are close in space.
    """
    length = len(entry.sequence)
    rows = np.arange(length)
    if length > crop:
        ca, chain = entry.backbone[:, 1], entry.chain_index
        first = int(rng.integers(length - crop + 1))
        rows = rows[first : first + crop]
        if chain[-1] != chain[0]:
            here = int(rng.integers(length))
            apart = np.linalg.norm(ca - ca[here], axis=-1)
            apart[(chain == chain[here]) | ~np.isfinite(apart)] = np.inf
            if np.isfinite(apart).any():
                there = int(apart.argmin())
                parts = [_around(center, chain, crop // 2) for center in (here, there)]
                rows = np.unique(np.concatenate(parts))
    return np.concatenate([rows, np.full(crop - len(rows), -1)]).astype(np.int64)


def _around(row: int, chain: np.ndarray, size: int) -> np.ndarray:
    """At most `size` rows around `row`, all of the same chain."""
    mine = np.flatnonzero(chain == chain[row])
    first = min(max(mine[0], row - size // 2), max(mine[0], mine[-1] + 1 - size))
    return np.arange(first, min(first + size, mine[-1] + 1))


def pad_tokens(rows: list[np.ndarray], length: int) -> np.ndarray:
    """Stack tokens into int64 [B, length], padded with -1."""
    padded = np.full((len(rows), length), -1, np.int64)
    for number, tokens in enumerate(rows):
        padded[number, : len(tokens)] = tokens
    return padded


def prefetch(
    make: Callable[[int], dict], first: int, depth: int = 3, processes: int = 0
) -> Iterator[dict]:
    """Yield make(first), make(first + 1), ..., computed ahead; errors of `make` are raised here.

    Batches are made in a thread, or in `processes` if one CPU core is too slow for the GPU. The
    processes are forked, so that `make` need not be picklable. Each works `depth` batches ahead.
    """
    if processes:
        yield from _from_processes(make, first, depth, processes)
        return
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
        except BaseException as error:  # raised again in the consumer
            put(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item = queue.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        while not queue.empty():  # unblocks a waiting `put`
            queue.get_nowait()
        thread.join()  # a thread alive at interpreter exit would abort the process


class _Batches:
    """Dataset for torch's DataLoader: batches by step."""

    def __init__(self, make: Callable[[int], dict]) -> None:
        self.make = make

    def __getitem__(self, step: int) -> dict:
        return self.make(step)


def _from_processes(
    make: Callable[[int], dict], first: int, depth: int, processes: int
) -> Iterator[dict]:
    from torch.utils.data import DataLoader

    yield from DataLoader(
        _Batches(make),
        batch_size=None,
        sampler=itertools.count(first),
        num_workers=processes,
        prefetch_factor=depth,
        multiprocessing_context="fork",
        collate_fn=_as_it_is,  # arrays go through a pipe, because shared memory may be small
    )


def _as_it_is(batch: dict) -> dict:
    return batch
