"""A model in several processes, for benchmarks that do one protein after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from ..errors import SLMError
from ..sampling.ensemble import EnsembleGenerator

J, R = TypeVar("J"), TypeVar("R")


class Workers:
    """Jobs at a time, each with the model and one thread; with one process, in this one.

    Parameters
    ----------
    model : str or path
        Loaded once in each process, when there is something to do.
    device : str
    processes : int
    """

    def __init__(self, model: str | os.PathLike, device: str, processes: int) -> None:
        self.model, self.device, self.processes = os.fspath(model), device, processes
        self._pool: ProcessPoolExecutor | None = None
        self._generator: EnsembleGenerator | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    @property
    def generator(self) -> EnsembleGenerator:
        """The model in this process."""
        if self._generator is None:
            self._generator = EnsembleGenerator.from_pretrained(self.model, self.device)
        return self._generator

    def map(
        self, function: Callable[..., R], jobs: Sequence[J], *settings: object
    ) -> Iterator[tuple[J, R]]:
        """(job, ``function(generator, job, *settings)``) of each job, as it is done.

        Raises
        ------
        SLMError
            A process died.
        """
        if self.processes == 1:
            for job in jobs:
                yield job, function(self.generator, job, *settings)
            return
        if not jobs:
            return
        if self._pool is None:
            context = get_context("spawn")  # threads of torch do not survive a fork
            self._pool = ProcessPoolExecutor(
                self.processes, context, _start, (self.model, self.device)
            )
        try:
            waiting = {self._pool.submit(_call, function, job, settings): job for job in jobs}
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        except BrokenProcessPool:
            raise SLMError(
                "a worker process died (out of memory?); run the same command again with fewer "
                "--processes: what is finished in its output folder is kept"
            ) from None


def _start(model: str, device: str) -> None:
    """Load the model once a process."""
    import torch

    torch.set_num_threads(1)
    global _generator
    _generator = EnsembleGenerator.from_pretrained(model, device)


def _call(function: Callable[..., R], job: J, settings: tuple) -> R:
    return function(_generator, job, *settings)
