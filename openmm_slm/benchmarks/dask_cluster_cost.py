"""``openmm-slm benchmark speed --part dask``: a Dask cluster on this machine beside a local run."""

from __future__ import annotations

import filecmp
import random
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ..files.dask_cluster import dask_cluster
from ..sampling.ensemble import EnsembleGenerator
from .commands import run_command
from .parts import Part
from .text_table import Column

SEQUENCES, LENGTHS = 40, (12, 30)
#: Numbers of trivial blocks; the scheduler holds a few at a time, whatever their number.
TASKS = {f"{number:,} trivial blocks": number for number in (10_000, 100_000)}


def dask_part(model: str, device: str) -> Part:
    """Table of the same run here and on one and two local workers, and of trivial blocks."""
    here = "local run, one thread"
    targets = {here: None, "--dask local:1": "local:1", "--dask local:2": "local:2"}
    rows: dict[str, tuple] = {key: (model, device, dask) for key, dask in targets.items()}
    return Part(
        f"{SEQUENCES} sequences of {LENGTHS[0]} to {LENGTHS[1]} residues here and on Dask workers",
        {**rows, **{name: (model, device, name) for name in TASKS}},
        _cost,
        {
            "seconds": Column("seconds", 1),
            "CPU s": Column("cpu_seconds", 1),
            "memory, MiB": Column("memory_mib", 0),
            "files": Column("files", 0),
            "equal": Column("equal_files", 0),
            "most waiting": Column("waiting", 0),
        },
    )


def _cost(
    generator: EnsembleGenerator, target: tuple[str, str, str | None], n: int, seed: int
) -> dict[str, float]:
    model, device, dask = target
    if dask in TASKS:
        return scheduling_cost(TASKS[dask])
    here = local_run(model, device, seed)
    if dask is None:
        return here.cost
    there = here.output.with_name(dask.replace(":", "_"))
    cost = run_command(*here.command, there, "--dask", dask)
    names = [str(path.relative_to(here.output)) for path in here.output.rglob("*.*")]
    names = [name for name in names if not name.endswith(".lock")]
    same, _, _ = filecmp.cmpfiles(here.output, there, names, shallow=False)
    return {**cost, "files": float(len(names)), "equal_files": float(len(same))}


class LocalRun(NamedTuple):
    """A run without Dask: its folder, its command without the output, and its cost.

    Other runs write beside it; all folders go with `root`.
    """

    output: Path
    command: list[object]
    cost: dict[str, float]
    root: tempfile.TemporaryDirectory


@cache
def local_run(model: str, device: str, seed: int) -> LocalRun:
    """The run which all rows are compared with, made once per process."""
    root, draw = tempfile.TemporaryDirectory(), random.Random(seed)
    fasta, output = Path(root.name, "in.fasta"), Path(root.name, "here")
    with open(fasta, "w", encoding="utf-8") as handle:
        for number in range(SEQUENCES):
            letters = draw.choices("ACDEFGHIKLMNPQRSTVWY", k=draw.randint(*LENGTHS))
            handle.write(f">s{number}\n{''.join(letters)}\n")
    command = ["sample", fasta, "-n", 16, "--batch-size", 8, "--seed", seed, "--model", model]
    command += ["--device", device, "--threads", 1, "-o"]
    return LocalRun(output, command, run_command(*command, output), root)


def scheduling_cost(tasks: int) -> dict[str, float]:
    """Time of blocks that do nothing, on two workers, and the most that the client waited for."""
    most = 0
    with dask_cluster("local:2") as cluster:
        start, used = time.perf_counter(), time.process_time()
        for place, made in enumerate(cluster.blocks(nothing, (), range(tasks))):
            if made != place:
                raise AssertionError(f"block {place} came as {made}")
            most = max(most, len(cluster.client.futures))
        seconds, cpu = time.perf_counter() - start, time.process_time() - used
    return {"seconds": seconds, "cpu_seconds": cpu, "waiting": float(most)}


def nothing(setup: tuple) -> Callable[[int], int]:
    """Make blocks of nothing."""
    return lambda item: item
