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


def in_threads(
    make: Callable[[T], R],
    items: Iterable[T],
    threads: int | None = None,
    begin: Callable[[], object] | None = None,
) -> Iterator[R]:
    """Yield ``make(item)`` for each item, in order; one result per thread is made ahead.

    Parameters
    ----------
    make : callable
        Its exception is raised here at the item's turn; later items that have started are finished
        and discarded.
    items : iterable
    threads : int, optional
        Default: `number_of_threads`. 1: nothing is made ahead.
    begin : callable, optional
        Called first in each thread.
    """
    threads = threads or number_of_threads()
    if threads == 1:
        yield from map(make, items)
        return
    items = iter(items)
    pool = ThreadPoolExecutor(threads, "openmm_slm", begin)
    try:
        ahead: deque[Future[R]] = deque(pool.submit(make, x) for x in islice(items, threads))
        while ahead:
            made = ahead.popleft().result()
            ahead.extend(pool.submit(make, x) for x in islice(items, 1))
            yield made
            del made
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
