"""Files to parts in worker processes: a process that dies costs one file, not the run.

A job is a few structure files or one trajectory. Its part, `<number>.npz`, is written through a
temporary name, so that what exists is whole and is not made again.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path

import numpy as np

from ..errors import SLMError
from .entries import (
    Candidate,
    Limits,
    frame_candidates,
    left_out,
    structure_candidates,
    trajectory_blocks,
)
from .inputs import Source
from .shards import RESIDUE_DTYPE


@dataclass(frozen=True)
class Job:
    """`lost` are paths at which a process died twice, `suspects` those where it did once."""

    number: int
    sources: tuple[Source, ...]
    suspects: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    def part(self, folder: Path) -> Path:
        return folder / f"{self.number:06d}.npz"

    def parts(self, folder: Path) -> list[Path]:
        """All parts of a finished job in their order: a trajectory has one for each block."""
        return [*sorted(folder.glob(f"{self.number:06d}.*.npz")), self.part(folder)]


def run_job(job: Job, limits: Limits, folder: Path, at: Callable[[str], None]) -> None:
    """Write the parts of a job; `at` is called with each path before it is read."""
    found: list[Candidate] = []
    for source in job.sources:
        at(source.path)
        if source.path in job.lost:
            why = f"{source.path}: the process that read it died, twice (out of memory?)"
            found.append(left_out(source, "unreadable", why))
        elif source.trajectory:
            for number, (first, block) in enumerate(trajectory_blocks(source, limits)):
                path = folder / f"{job.number:06d}.{number:06d}.npz"
                if not path.exists():
                    _write(path, frame_candidates(source, first, block, limits))
        else:
            found += structure_candidates(source, limits)
    _write(job.part(folder), found)


def _write(path: Path, found: list[Candidate]) -> None:
    kept = [candidate for candidate in found if candidate.atoms is not None]
    rows = json.dumps([candidate.row for candidate in found]).encode()
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with open(temporary, "wb") as handle:
        np.savez(
            handle,
            rows=np.frombuffer(rows, np.uint8),
            atoms=np.concatenate([np.zeros((0, 14, 3), np.float32), *(c.atoms for c in kept)]),
            residues=np.concatenate([np.zeros(0, RESIDUE_DTYPE), *(c.residues for c in kept)]),
        )
    temporary.replace(path)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a part, without its arrays."""
    with np.load(path) as part:
        rows = json.loads(part["rows"].tobytes())
    for row in rows:  # frames of a trajectory share one string
        if "sequence" in row:
            row["sequence"] = sys.intern(row["sequence"])
    return rows


def read_entries(path: Path) -> Iterator[tuple[dict[str, str], np.ndarray, np.ndarray]]:
    """(row, atoms [L, 14, 3], residues [L]) of the entries in a part."""
    with np.load(path) as part:
        rows, atoms, residues = part["rows"], part["atoms"], part["residues"]
    start = 0
    for row in json.loads(rows.tobytes()):
        if not row["reason"]:
            end = start + len(row["sequence"].replace(":", ""))
            yield row, atoms[start:end], residues[start:end]
            start = end


def run_jobs(
    jobs: Iterable[Job], limits: Limits, folder: Path, processes: int, at: Callable[[str], None]
) -> None:
    """Run jobs, in this process if one is enough; `at` is called once for each file begun.

    Raises
    ------
    SLMError
        Processes cannot be started.
    OSError
        A part cannot be written.
    """
    waiting = deque(jobs)
    if processes == 1 or len(waiting) == 1:
        for job in waiting:
            run_job(job, limits, folder, at)
        return
    workers: dict[Connection, _Worker] = {}
    begun: set[str] = set()
    try:
        while waiting or workers:
            while waiting and len(workers) < processes:
                worker = _Worker(limits, folder)
                workers[worker.connection] = worker
                worker.give(waiting.popleft())
            for connection in wait(list(workers)):
                worker = workers[connection]
                try:
                    message = connection.recv()
                except (EOFError, ConnectionResetError):
                    waiting.appendleft(worker.blame())
                    del workers[connection]
                    continue
                if isinstance(message, OSError):
                    raise message
                if message is not None:
                    worker.path = message
                    if message not in begun:  # a job may be run again
                        begun.add(message)
                        at(message)
                elif waiting:
                    worker.give(waiting.popleft())
                else:
                    worker.stop()
                    del workers[connection]
    finally:
        for worker in workers.values():
            worker.process.terminate()


class _Worker:
    """A process that is given one job after another.

    It tells each path before it reads it, None when a job is done, and ends when the pipe does,
    so that none is left behind however the parent ended.
    """

    def __init__(self, limits: Limits, folder: Path) -> None:
        context = get_context("spawn")  # threads of numpy and torch do not survive a fork
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, limits, folder), daemon=True)
        self.process.start()
        theirs.close()
        self.job: Job | None = None
        self.path = ""  # what it reads

    def give(self, job: Job) -> None:
        self.job, self.path = job, ""
        with contextlib.suppress(OSError):  # where it died, the next `recv` says so
            self.connection.send(job)

    def blame(self) -> Job:
        """The job again, without a file at which a process has died before."""
        self.stop()
        path, job = self.path, self.job
        if not path:
            raise SLMError(
                f"a worker process ended with code {self.process.exitcode} before it read a file; "
                "call prepare() under `if __name__ == '__main__':`, or use one process"
            )
        if path in job.lost:
            raise SLMError(f"a worker process died as it wrote what it had read up to {path}")
        if path in job.suspects:
            return replace(job, lost=(*job.lost, path))
        return replace(job, suspects=(*job.suspects, path))

    def stop(self) -> None:
        self.connection.close()
        self.process.join()


def _serve(connection: Connection, limits: Limits, folder: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    try:
        while True:
            run_job(connection.recv(), limits, folder, connection.send)
            connection.send(None)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is done or gone
    except OSError as error:
        connection.send(error)
