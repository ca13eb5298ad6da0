"""Relax frames in worker processes; a crash of a worker loses one frame, not the run.

Workers are started as ``python -c`` and read frames from a pipe. Unlike `multiprocessing`, they do
not import the user's script, which needs no ``if __name__ == "__main__":``.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import queue
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SLMError
from .frame import FrameRelaxer, RelaxedFrame, failed
from .relaxation_settings import RelaxationSettings

if TYPE_CHECKING:
    import mdtraj

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from openmm_slm.relaxation.relaxation_workers import serve; serve()"
)


class WorkerPool:
    """Worker processes that relax frames with one OpenMM thread each; end them with `close`."""

    def __init__(
        self, topology: mdtraj.Topology, settings: RelaxationSettings, processes: int
    ) -> None:
        self._begin = topology, settings
        self._closed = False
        self._free: queue.Queue[_Worker] = queue.Queue()
        self._workers = [_Worker(self._begin) for _ in range(processes)]
        for worker in self._workers:
            self._free.put(worker)
        self._threads = ThreadPoolExecutor(processes)

    def relax(
        self, xyz: np.ndarray, first: int, done: Callable[[], object] = lambda: None
    ) -> list[RelaxedFrame]:
        """Relax frames [F, A, 3], numbered from `first`; `done` is called after each frame."""

        def one(i: int) -> RelaxedFrame:
            worker = self._free.get()
            try:
                return worker.relax(xyz[i], first + i)
            except (EOFError, OSError, pickle.UnpicklingError):
                code = "cancelled" if self._closed else worker.restart()
                why = f"the process that relaxed this frame ended ({code}; out of memory?)"
                return failed(xyz[i], float("nan"), why)
            finally:
                self._free.put(worker)
                done()

        return list(self._threads.map(one, range(len(xyz))))

    def close(self) -> None:
        """End the processes; frames in progress are abandoned."""
        self._closed = True
        for worker in self._workers:
            worker.end()
        self._threads.shutdown(cancel_futures=True)


class _Worker:
    def __init__(self, begin: tuple) -> None:
        self._begin = begin
        self._start()

    def _start(self) -> None:
        command = [sys.executable, "-c", _START, json.dumps(sys.path)]
        threads = {"OMP_NUM_THREADS": "1", "OPENMM_CPU_THREADS": "1"}
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                env={**os.environ, **threads}, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise SLMError(f"cannot start a worker process ({error}); use processes=1") from None
        self._fresh = True

    def relax(self, x: np.ndarray, number: int) -> RelaxedFrame:
        messages = [self._begin] if self._fresh else []
        self._fresh = False
        for message in (*messages, (x, number)):
            pickle.dump(message, self._process.stdin)
        self._process.stdin.flush()
        return pickle.load(self._process.stdout)

    def restart(self) -> int:
        """Replace a process that died; returns its exit code."""
        self.end()
        code = self._process.returncode
        self._start()
        return code

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                stream.close()


def serve() -> None:
    """Main loop of a worker: read topology and settings, then relax frames until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    # Redirect stdout to stderr: text that a library prints must not mix with the results.
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with contextlib.suppress(EOFError, BrokenPipeError):
        relaxer = FrameRelaxer(*pickle.load(sys.stdin.buffer))
        while True:
            pickle.dump(relaxer.relax(*pickle.load(sys.stdin.buffer)), results)
            results.flush()
