"""Worker processes of `prepare`: they read files and write parts.

A job is a few structure files or one trajectory. Its result is a part, ``<number>.npz``, which is
written under a temporary name and renamed: an existing part is complete and is not made again.
A crash of a worker loses one file, not the run.
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
    frame_candidates,
    left_out,
    structure_candidates,
    trajectory_blocks,
)
from .inputs import Source
from .preparation_settings import PreparationSettings
from .shards import RESIDUE_DTYPE


@dataclass(frozen=True)
class Job:
    """Files that one worker reads together.

    Attributes
    ----------
    number : int
        Position among the jobs; it names the part.
    sources : tuple of Source
    suspects, lost : tuple of str
        Paths at which a worker died once, and twice. Lost files are skipped.
    """

    number: int
    sources: tuple[Source, ...]
    suspects: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    def part(self, folder: Path) -> Path:
        return folder / f"{self.number:06d}.npz"

    def parts(self, folder: Path) -> list[Path]:
        """All parts of a finished job in order. A trajectory has one part per block of frames."""
        return [*sorted(folder.glob(f"{self.number:06d}.*.npz")), self.part(folder)]


def run_job(job: Job, limits: PreparationSettings, folder: Path, at: Callable[[str], None]) -> None:
    """Write the parts of a job. `at` is called with each path before the file is read."""
    found: list[Candidate] = []
    for source in job.sources:
        at(source.path)
        if source.path in job.lost:
            why = f"{source.path}: the process that read this file died, twice (out of memory?)"
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
    for row in rows:  # interned, because all frames of a trajectory have the same sequence
        if "sequence" in row:
            row["sequence"] = sys.intern(row["sequence"])
    return rows


def read_entries(path: Path) -> Iterator[tuple[dict[str, str], np.ndarray, np.ndarray]]:
    """Yield (row, atoms [L, 14, 3], residues [L]) of each kept entry of a part."""
    with np.load(path) as part:
        rows, atoms, residues = part["rows"], part["atoms"], part["residues"]
    start = 0
    for row in json.loads(rows.tobytes()):
        if not row["reason"]:
            end = start + len(row["sequence"].replace(":", ""))
            yield row, atoms[start:end], residues[start:end]
            start = end


def run_jobs(
    jobs: Iterable[Job],
    limits: PreparationSettings,
    folder: Path,
    processes: int,
    at: Callable[[str], None],
) -> None:
    """Run jobs in worker processes, or in this process if only one is needed.

    `at` is called once for each file, when a worker starts to read it.

    Raises
    ------
    SLMError
        Worker processes cannot be started.
    OSError
        A part cannot be written.
    """
    waiting = deque(jobs)
    if processes == 1 or len(waiting) == 1:
        for job in waiting:
            run_job(job, limits, folder, at)
        return
    workers: dict[Connection, _Worker] = {}
    started: set[str] = set()
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
                    if message not in started:  # a job is run again after a crash
                        started.add(message)
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
    """A worker process and its current job.

    The process sends each path before it reads the file, and None when a job is done. It ends when
    the pipe closes, so that no worker survives the parent, however the parent ended.
    """

    def __init__(self, limits: PreparationSettings, folder: Path) -> None:
        context = get_context("spawn")  # threads of numpy and torch do not survive a fork
        self.connection, other_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(other_end, limits, folder), daemon=True)
        self.process.start()
        other_end.close()
        self.job: Job | None = None
        self.path = ""  # the file being read

    def give(self, job: Job) -> None:
        self.job, self.path = job, ""
        with contextlib.suppress(OSError):  # if the worker died, the next `recv` raises
            self.connection.send(job)

    def blame(self) -> Job:
        """Job to repeat after a crash, with the file that was being read marked."""
        self.stop()
        path, job = self.path, self.job
        if not path:
            raise SLMError(
                f"a worker process ended with code {self.process.exitcode} before it read a file; "
                "call prepare() under `if __name__ == '__main__':`, or pass processes=1"
            )
        if path in job.lost:
            raise SLMError(
                f"a worker process died while it wrote the entries of files up to {path}; "
                "check memory and disk space, then run again"
            )
        if path in job.suspects:
            return replace(job, lost=(*job.lost, path))
        return replace(job, suspects=(*job.suspects, path))

    def stop(self) -> None:
        self.connection.close()
        self.process.join()


def _serve(connection: Connection, limits: PreparationSettings, folder: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    try:
        while True:
            run_job(connection.recv(), limits, folder, connection.send)
            connection.send(None)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent has finished or died
    except OSError as error:
        connection.send(error)
