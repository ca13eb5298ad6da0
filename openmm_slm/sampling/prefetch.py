"""Make items in order, the next ones in other threads while one is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T, R = TypeVar("T"), TypeVar("R")
_WORKERS = 8  # at most: each holds what it makes in memory


def threads_for(items: int, device: object) -> int:
    """How many of `in_order` to make so many items on a torch device: a GPU is busy with one."""
    import torch

    if torch.device(device).type != "cpu":
        return 1
    return max(1, min(torch.get_num_threads(), items, _WORKERS))


def in_order(make: Callable[[T], R], items: Iterable[T], workers: int = 1) -> Iterator[R]:
    """``make(item)`` of each item, in order.

    torch's threads are shared out among the workers: a few that each do an item on their own are
    faster than all that do one together, and NumPy's part of the work is shared too.

    Parameters
    ----------
    make : callable
        Uses torch and NumPy, which let other threads run while they compute. What it raises is
        raised here in the item's turn; items begun by then are finished, and forgotten.
    items : iterable
    workers : int
        Threads, and items made ahead; 1: none, each item is made when it is asked for.
    """
    if workers <= 1:
        yield from map(make, items)
        return
    import torch

    threads = torch.get_num_threads()

    def begin() -> None:
        torch.get_num_threads()  # which sets up this thread, once
        torch.set_num_threads(max(1, threads // workers))

    items = iter(items)
    pool = ThreadPoolExecutor(workers, "openmm_slm", begin)
    try:
        ahead: deque[Future[R]] = deque(pool.submit(make, x) for x in islice(items, workers))
        while ahead:
            made = ahead.popleft().result()
            ahead.extend(pool.submit(make, x) for x in islice(items, 1))
            yield made
            del made
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        torch.set_num_threads(threads)  # which a worker's setting also is for threads to come
