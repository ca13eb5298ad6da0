"""Shards of work for job arrays: the tasks of an array share all work without overlap."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import SLMError


@dataclass(frozen=True)
class JobShard:
    """Shard `number` of `count`, numbered from 1: ``1/8`` to ``8/8``."""

    number: int
    count: int

    @classmethod
    def of(cls, text: str) -> JobShard:
        """Parse a shard, as in ``--shard 3/8``.

        Raises
        ------
        SLMError
            The text is not a shard; the message has the value and the allowed range.
        """
        parts = text.split("/")
        numbers = [int(part) for part in parts if part.isascii() and part.isdecimal()]
        if len(parts) != 2 or len(numbers) != 2 or not numbers[1]:
            raise SLMError(f"shard is {text!r}; give its number and their count, as in 3/8")
        number, count = numbers
        if not 1 <= number <= count:
            raise SLMError(
                f"shard is {text!r}; shards are numbered from 1: 1/{count} to {count}/{count} "
                f"(with SLURM: --array=1-{count})"
            )
        return cls(number, count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def share(self, costs: Mapping[str, float]) -> list[str]:
        """Names of the items in this shard, in the order of `costs`.

        Items go, most expensive first, to the shard with the smallest load. The largest load is
        at most 4/3 of the optimum (Graham, 1969). All tasks compute the same assignment.
        """
        loads = [(0.0, number) for number in range(1, min(self.count, len(costs)) + 1)]
        mine = set()
        for name in sorted(costs, key=lambda name: (-costs[name], name)):
            load, number = heapq.heappop(loads)
            if number == self.number:
                mine.add(name)
            heapq.heappush(loads, (load + costs[name], number))
        return [name for name in costs if name in mine]
