"""Blocks of NumPy work side by side in threads, which NumPy's loops and BLAS leave free to run."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T, R = TypeVar("T"), TypeVar("R")
_MOST = 8  # because each thread holds a block in memory


def number_of_threads() -> int:
    """``OMP_NUM_THREADS`` if it is set, else the number of CPUs of this process; at most 8."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked):
        return min(int(asked), _MOST)
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), _MOST)
    return min(os.cpu_count() or 1, _MOST)


def in_threads(make: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield ``make(item)`` for each item, in order; one result per thread is made ahead."""
    threads = number_of_threads()
    if threads == 1:
        yield from map(make, items)
        return
    items = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[R]] = deque(pool.submit(make, x) for x in islice(items, threads))
        try:
            while ahead:
                made = ahead.popleft().result()
                ahead.extend(pool.submit(make, x) for x in islice(items, 1))
                yield made
                del made
        finally:
            pool.shutdown(cancel_futures=True)
