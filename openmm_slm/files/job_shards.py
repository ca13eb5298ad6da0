"""Shards of work for job arrays: each task takes its own, and together they take all, once."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import SLMError


@dataclass(frozen=True)
class JobShard:
    """Shard `number` of `count`, counted from 1: ``1/8`` to ``8/8``."""

    number: int
    count: int

    @classmethod
    def of(cls, text: str) -> JobShard:
        """What ``--shard 3/8`` says.

        Raises
        ------
        SLMError
            It is not a shard; the message has the value and what is allowed.
        """
        parts = text.split("/")
        numbers = [int(part) for part in parts if part.isascii() and part.isdecimal()]
        if len(parts) != 2 or len(numbers) != 2 or not numbers[1]:
            raise SLMError(f"shard is {text!r}; give one of how many, as in 3/8")
        number, count = numbers
        if not 1 <= number <= count:
            raise SLMError(
                f"shard is {text!r}; shards are counted from 1, here 1/{count} to {count}/{count} "
                f"(with SLURM: --array=1-{count})"
            )
        return cls(number, count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def share(self, costs: Mapping[str, float]) -> list[str]:
        """Names of this shard, in the order of `costs`.

        The dearest first, each to the shard that has least so far: within 4/3 of the best
        balance (Graham, 1969). All tasks come to the same, whatever else they do.
        """
        loads = [(0.0, number) for number in range(1, min(self.count, len(costs)) + 1)]
        mine = set()
        for name in sorted(costs, key=lambda name: (-costs[name], name)):
            load, number = heapq.heappop(loads)
            if number == self.number:
                mine.add(name)
            heapq.heappush(loads, (load + costs[name], number))
        return [name for name in costs if name in mine]
