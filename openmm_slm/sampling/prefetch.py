"""Prefetching: items are made in order, the next ones in worker threads while one is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from ..analysis.in_threads import in_threads

T, R = TypeVar("T"), TypeVar("R")
_WORKERS = 8  # maximum, because each worker holds an item in memory


def threads_for(items: int, device: object) -> int:
    """Number of workers of `in_order` for a torch device; one keeps a GPU busy."""
    import torch

    if torch.device(device).type != "cpu":
        return 1
    return max(1, min(torch.get_num_threads(), items, _WORKERS))


def in_order(make: Callable[[T], R], items: Iterable[T], workers: int = 1) -> Iterator[R]:
    """Yield ``make(item)`` for each item, in order.

    The torch threads are divided among the workers. Several workers with one item each are faster
    than all threads on one item, because the work done in NumPy then runs in parallel too.

    Parameters
    ----------
    make : callable
        Function that computes with torch and NumPy, which release the GIL. Its exception is raised
        here at the item's turn; later items that have started are finished and discarded.
    items : iterable
    workers : int
        Number of worker threads and of items made ahead; 1: no threads, nothing is made ahead.
    """
    if workers <= 1:
        yield from map(make, items)
        return
    import torch

    threads = torch.get_num_threads()

    def begin() -> None:
        torch.get_num_threads()  # initialises torch here, before the next line
        torch.set_num_threads(max(1, threads // workers))

    try:
        yield from in_threads(make, items, workers, begin)
    finally:
        torch.set_num_threads(threads)  # a worker's setting also applies to new threads
