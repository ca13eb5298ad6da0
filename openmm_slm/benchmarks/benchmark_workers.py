"""A model in several worker processes, for benchmarks that measure proteins independently."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from tqdm.auto import tqdm

from ..errors import SLMError
from ..sampling.ensemble import EnsembleGenerator
from .results import ResultTable

J, R = TypeVar("J"), TypeVar("R")


class Workers:
    """Worker processes of one thread each, every one with the model.

    Parameters
    ----------
    model : str or path
        Loaded once in each process, when the first job arrives.
    device : str
    processes : int
        With 1, jobs run in this process.
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

    def rows(
        self,
        table: ResultTable,
        function: Callable[..., dict[str, float]],
        targets: Mapping[str, J],
        *settings: object,
        unit: str = "target",
        progress: bool = True,
    ) -> dict[str, dict[str, float]]:
        """Figures of each target by name: ``function(generator, target, *settings)``.

        Targets that `table` holds are not measured again. Each new row is written to it at once.
        """
        waiting = [each for each in targets.items() if each[0] not in table.rows]
        bar = {"total": len(targets), "initial": len(targets) - len(waiting), "unit": unit}
        found = self.map(_call_with_target, waiting, function, settings)
        for (name, _), row in tqdm(found, disable=not progress, **bar):
            table.add(name, row)
        return {name: table.rows[name] for name in targets}

    def map(
        self, function: Callable[..., R], jobs: Sequence[J], *settings: object
    ) -> Iterator[tuple[J, R]]:
        """Pairs of a job and ``function(generator, job, *settings)``, in the order of completion.

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
    """Load the model in a new worker process."""
    import torch

    torch.set_num_threads(1)
    global _generator
    _generator = EnsembleGenerator.from_pretrained(model, device)


def _call_with_target(
    generator: EnsembleGenerator, named: tuple[str, J], function: Callable[..., R], settings: tuple
) -> R:
    return function(generator, named[1], *settings)


def _call(function: Callable[..., R], job: J, settings: tuple) -> R:
    return function(_generator, job, *settings)
