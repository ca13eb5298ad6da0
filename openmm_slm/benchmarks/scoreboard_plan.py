"""Settings of a scoreboard, and the splits it measures."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from ..data.shards import ShardDataset
from ..errors import StructureError
from .language import PREFIXES

SPLITS = ("test", "test_related")


@dataclass(frozen=True)
class Plan:
    """Settings that the figures depend on; see `benchmark_all`."""

    data: str
    references: str
    model: str
    device: str
    no_sequence: str | None
    chains: int
    n: int
    pairs: int
    seed: int


@functools.lru_cache(maxsize=4)
def read_split(data: str, split: str) -> ShardDataset:
    """A split, read once in each process."""
    return ShardDataset(data, split, PREFIXES)


def splits_of(data: str) -> list[str]:
    """Names in `SPLITS` that the data have."""
    found = []
    for split in SPLITS:
        try:
            read_split(data, split)
        except StructureError:
            continue
        found.append(split)
    if not found:
        raise StructureError(f"{data}: no entries of the splits {' and '.join(SPLITS)}")
    return found
