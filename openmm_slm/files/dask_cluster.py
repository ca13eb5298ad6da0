"""Blocks of frames computed by the workers of a Dask cluster, in order and a bounded number ahead.

Dask (https://docs.dask.org) runs on one machine, on SLURM, PBS and other queues (dask-jobqueue), on
Kubernetes and in clouds. It is imported only if it is asked for.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import SLMError, require
from .dask_worker import Expected, fault_of_worker, make_block, setup_of

if TYPE_CHECKING:
    from distributed import Client, Future

LOCAL = "local"
ANSWER = 20.0  # seconds in which a scheduler must answer
#: Workers keep freed memory, as commands do (`openmm_slm.cli.common.prepare_cpu`). Dask's setting
#: returns it to the system at once, and page faults follow when it is needed again.
MALLOC = {
    "MALLOC_MMAP_MAX_": 0, "MALLOC_TRIM_THRESHOLD_": 2**31 - 1, "MALLOC_TOP_PAD_": 2**28,
}  # fmt: skip
RECOUNT = 5.0  # seconds between two counts of the workers' threads


class DaskCluster:
    """The workers of a Dask client.

    Parameters
    ----------
    client : distributed.Client
    expected : sequence of Expected
        Versions and models that each worker must have, checked once per worker and run.

    Raises
    ------
    SLMError
        A worker cannot import openmm_slm, or has another version or other models.
    """

    def __init__(self, client: Client, expected: Sequence[Expected] = ()) -> None:
        self.client = client
        self._expected = [(version_of_openmm_slm, (), __version__), *expected]
        self._run = uuid.uuid4().hex
        self._room = Turns(lambda: self.at_once)
        #: Context of a sequence in progress; there are as many as blocks.
        self.turns = Turns(lambda: self.at_once)
        self._counted, self._threads = -RECOUNT, 0
        self._resources: dict[str, float] = {}
        self._check()

    @property
    def at_once(self) -> int:
        """Number of blocks that are computed or wait for a thread: two per thread of the workers.

        The scheduler never holds more, whatever the number of blocks of a run.
        """
        if time.monotonic() - self._counted > RECOUNT:
            self._threads = sum(self.client.nthreads().values())
            self._counted = time.monotonic()
        return 2 * self._threads + 2

    def blocks(self, build: Callable, setup: tuple, items: Iterable) -> Iterator[Any]:
        """Yield ``build(setup)(item)`` for each item, in order.

        Parameters
        ----------
        build : function
            Importable on the workers; each worker process calls it once. It returns a function of
            an item that several threads may call at once.
        setup : tuple
            Of objects or Futures; it is sent once, and again only if its worker dies.
        items : iterable
            Taken one by one as there is room.

        Raises
        ------
        SLMError
            A block ended its workers several times, or a worker differs.
        OSError
            The scheduler is lost.
        """
        held = self.submit(setup_of, *setup)
        items, ahead, more = iter(items), deque[Any](), True
        try:
            while True:
                while more and self._room.take(wait=not ahead):
                    try:
                        ahead.append(self._block(build, held, next(items)))
                    except StopIteration:
                        more = False
                        self._room.give()
                    except BaseException:
                        self._room.give()
                        raise
                if not ahead:
                    return
                made = self.result(ahead[0])
                ahead.popleft().release()
                self._room.give()
                yield made
                del made
        finally:
            if ahead:
                self.client.cancel(list(ahead))
            for _ in ahead:
                self._room.give()

    def submit(self, function: Callable, *arguments: Any, priority: int = 0) -> Future:
        """A task of its own."""
        return self.client.submit(
            function, *arguments, pure=False, priority=priority, resources=self._resources or None
        )

    def result(self, future: Future) -> Any:
        """Result of a task; errors name the remedy."""
        distributed = require("distributed")
        from concurrent.futures import CancelledError

        try:
            return future.result()
        except distributed.scheduler.KilledWorker as error:
            raise SLMError(
                f"a block of frames ended its Dask worker {self._allowed()} times, the last one "
                f"at {getattr(error.last_worker, 'address', error.last_worker)} (out of memory?); "
                "give workers more memory, or use a smaller batch_size"
            ) from None
        except CancelledError as error:
            raise ConnectionError(
                f"the Dask scheduler was lost ({error}); finished blocks are on disk, and resume "
                "(--resume) continues from there"
            ) from None

    def _block(self, build: Callable, setup: Future, item: Any) -> Future:
        # Blocks first: what is begun should be finished before more sequences begin.
        arguments = self._run, self._expected, build, str(setup.key), setup, item
        return self.submit(make_block, *arguments, priority=1)

    def _allowed(self) -> int:
        return require("dask").config.get("distributed.scheduler.allowed-failures", 3) + 1

    def _check(self) -> None:
        """Check the workers that are there; those that come later are checked by their blocks."""
        found = self.client.run(_answer, self._expected, on_error="return")
        for address, answer in found.items():
            if isinstance(answer, BaseException):
                raise SLMError(
                    f"Dask worker at {address} cannot run openmm_slm ({answer}); install "
                    f"openmm_slm {__version__} on all machines, and the same Python and Dask"
                )
            fault, name, resources = answer
            if fault:
                raise SLMError(f"Dask worker {name} at {address}: {fault}")
            if resources.get("GPU"):
                self._resources = {"GPU": 1}


class Turns:
    """A semaphore whose limit follows the number of workers; also a context manager."""

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit, self._changed, self._taken = limit, threading.Condition(), 0

    def take(self, wait: bool = True) -> bool:
        """Take a turn; True if there is one, or once there is."""
        with self._changed:
            while self._taken >= self._limit():
                if not wait:
                    return False
                self._changed.wait(1.0)  # workers may have come meanwhile
            self._taken += 1
            return True

    def give(self) -> None:
        with self._changed:
            self._taken -= 1
            self._changed.notify()

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, *_: object) -> None:
        self.give()


def version_of_openmm_slm() -> str:
    return __version__


def _answer(
    expected: Sequence[Expected], dask_worker: Any = None
) -> tuple[str | None, str, dict[str, float]]:
    """How a worker differs, its name and its resources."""
    resources = dict(dask_worker.state.total_resources)
    return fault_of_worker(expected), str(dask_worker.name), resources


@contextmanager
def dask_cluster(dask: object, *expected: Expected) -> Iterator[DaskCluster | None]:
    """A cluster, or None for `dask` = None.

    Parameters
    ----------
    dask : distributed.Client or str, optional
        A client (which stays open), the address of a scheduler ("tcp://host:8786"), the path of a
        scheduler file, "local" (one worker process per CPU of this machine), or "local:N".
    *expected : Expected
        See `DaskCluster`.

    Raises
    ------
    SLMError
        No scheduler answers, the file is not a scheduler file, or a worker differs.
    MissingDependencyError
        Dask is missing: the extra ``cluster``.
    """
    if dask is None:
        yield None
        return
    distributed = require("distributed", "cluster")
    with ExitStack() as stack:
        if isinstance(dask, distributed.Client):
            client = dask
        elif not isinstance(dask, (str, os.PathLike)):
            raise SLMError(
                f"dask is of type {type(dask).__name__}; give a distributed.Client, an address, a "
                "scheduler file, or 'local'"
            )
        else:
            where = os.fspath(dask)
            if where == LOCAL or where.startswith(f"{LOCAL}:"):
                where = stack.enter_context(_local(distributed, where)).scheduler_address
            elif where.endswith(".json") or Path(where).is_file():
                where = _address_in(where)
            client = stack.enter_context(_client(distributed, where, dask))
            # Connections that open and close are no news; workers that die are.
            logging.getLogger("distributed").setLevel(logging.WARNING)
            logging.getLogger("distributed.nanny").setLevel(logging.ERROR)
        yield DaskCluster(client, expected)


def _local(distributed: Any, text: str) -> Any:
    """One worker process per CPU, each with one thread, as the blocks of a local run have."""
    number = text.partition(":")[2] or _cpus()
    if not (str(number).isdecimal() and int(number)):
        raise SLMError(f"dask is {text!r}; give local, or local:N with N worker processes")
    config = require("dask").config
    environ = {**config.get("distributed.nanny.pre-spawn-environ", {}), **MALLOC}
    with config.set({"distributed.nanny.pre-spawn-environ": environ}):
        return distributed.LocalCluster(
            n_workers=int(number), threads_per_worker=1, processes=True, dashboard_address=None
        )


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _address_in(path: str) -> str:
    """Address of the scheduler in its file."""
    try:
        address = json.loads(Path(path).read_text(encoding="utf-8"))["address"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"no entry {error}" if isinstance(error, KeyError) else str(error)
        raise SLMError(
            f"{path}: not readable as a scheduler file ({why}); give the file that `dask "
            "scheduler --scheduler-file` wrote, on a file system that this machine shares"
        ) from None
    if not isinstance(address, str):
        raise SLMError(f"{path}: the address is {address!r}; give a scheduler file of Dask")
    return address


def _client(distributed: Any, address: str, given: object) -> Any:
    def client() -> Any:
        # What a failed client left is closed now. If the garbage collector did so while this one
        # starts, Dask would wait for its own lock for ever.
        gc.collect()
        return distributed.Client(address, timeout=ANSWER, set_as_default=False)

    try:
        try:
            return client()
        except AssertionError:  # on a busy machine, its thread may not have started in time
            return client()
    except (OSError, ValueError, TimeoutError) as error:
        why = str(error).split("\n")[0]
        raise SLMError(
            f"dask is {str(given)!r}: no Dask scheduler answered at {address} within "
            f"{ANSWER:.0f} s ({why}); start one (`dask scheduler`), correct the address or the "
            "firewall, or use 'local'"
        ) from None
