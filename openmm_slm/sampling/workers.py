"""Sampling in the workers of a Dask cluster."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import require
from ..files.dask_cluster import DaskCluster, dask_cluster
from ..files.ensemble_folder import environment, read_run
from ..files.per_thread import PerThread
from ..files.stream import Block, to_folder
from ..models.registry import (
    load_language_model,
    load_packer,
    load_segment_ranker,
    load_springs,
    load_tokenizer,
    model_identity,
)
from .all_atoms import frames_relaxer
from .block_making import (
    Ends,
    Made,
    Networks,
    block_edges,
    relaxed_block,
    resolved,
    unrelaxed_blocks,
)
from .request import SamplingRequest, make_request
from .segment_pool import best_frames
from .settings import SamplingSettings

if TYPE_CHECKING:
    from distributed import Future

_one_at_a_time, _loading = threading.Lock(), threading.Lock()


class Source(NamedTuple):
    """Where a worker loads the networks from: name or directory of a model, and a device."""

    model: str
    device: str


@dataclass(frozen=True, eq=False)
class Workers:
    """A cluster whose workers load the networks of a source."""

    cluster: DaskCluster
    source: Source

    def environment(self, openmm: bool) -> dict[str, object]:
        """That of a worker, for ``run.json``; asked once."""
        return _environment_of(self, openmm)


@contextmanager
def dask_workers(dask: object, model: str | os.PathLike, device: str) -> Iterator[Workers | None]:
    """The workers of `dask` (see `dask_cluster`), which must have the model; None for None."""
    if dask is None:
        yield None
        return
    identity = model_identity(model)
    with dask_cluster(dask, (model_identity, (identity["name"],), identity)) as cluster:
        yield Workers(cluster, Source(identity["name"], device))


def blocks_made_there(
    workers: Workers,
    settings: SamplingSettings,
    request: SamplingRequest | Future,
    edges: list[int],
) -> Iterator[Made]:
    """Blocks between `edges`, made by the workers."""
    cluster, source, numbers = workers.cluster, workers.source, None
    if settings.best:
        every = pairwise([*range(0, settings.n, settings.batch_size), settings.n])
        scored = zip(*cluster.blocks(scores_of_blocks, (source, request), every), strict=True)
        numbers = best_frames(*(np.concatenate(part) for part in scored), settings.best)
    yield from cluster.blocks(frames_of_blocks, (source, request, numbers), pairwise(edges))


def write_there(
    workers: Workers,
    sequence: str,
    output: str | os.PathLike,
    n: int,
    known: dict,
    settings: dict,
    *,
    resume: bool,
) -> Path:
    """`EnsembleGenerator.write`; the workers look up known structures too."""
    if settings["seed"] is None:  # drawn here: a request that is made again must be the same
        before = resume and (Path(output) / "run.json").exists()
        seed = read_run(output)["seed"] if before else secrets.randbits(32)
        settings = {**settings, "seed": seed}
    cluster, source = workers.cluster, workers.source
    request = cluster.submit(request_there, source, sequence, n, known, settings)
    chosen = cluster.result(cluster.submit(settings_of, request))
    run = {
        **asdict(chosen),
        "model": model_identity(source.model),
        "environment": workers.environment(bool(chosen.relax)),
    }

    def blocks(start: int) -> Iterator[Block]:
        if edges := block_edges(chosen, start):
            for _, trajectory, report in blocks_made_there(workers, chosen, request, edges):
                yield trajectory, report

    return to_folder(output, run, blocks, resume=resume, drop_invalid=chosen.drop_invalid)


# -- in a worker -----------------------------------------------------------------------------------


def frames_of_blocks(setup: tuple) -> Callable[[Ends], Made]:
    """A function that makes all of a block."""
    source, request, numbers = setup
    networks, settings = loaded(source), request.settings
    one_thread()
    with alone(source, settings.sidechains):
        unrelaxed, completer = unrelaxed_blocks(networks, request, numbers)
    relaxer = PerThread(lambda: frames_relaxer(settings, completer, processes=1).__enter__())

    def make(ends: Ends) -> Made:
        one_thread()
        with alone(source, settings.sidechains):
            block = unrelaxed(ends)
        return relaxed_block(relaxer(), *block)

    return make


def scores_of_blocks(setup: tuple) -> Callable[[Ends], tuple[np.ndarray, np.ndarray]]:
    """A function that samples a block for its scores and segments alone."""
    source, request = setup
    sampler = loaded(source).sampler(request)

    def make(ends: Ends) -> tuple[np.ndarray, np.ndarray]:
        one_thread()
        with alone(source):
            return sampler.scored(np.arange(*ends))

    return make


def request_there(
    source: Source, sequence: str, n: int, known: dict, settings: dict
) -> SamplingRequest:
    """The request for a sequence."""
    one_thread()
    model = loaded(source).language_model
    request = make_request(
        sequence, n, **known, folds=model.folds, labels=model.sees_disorder, settings=settings
    )
    return resolved(request, model)


def settings_of(request: SamplingRequest) -> SamplingSettings:
    """The part of a request that ``run.json`` has."""
    return request.settings


def environment_there(source: Source, openmm: bool) -> dict[str, object]:
    """Versions and device, on which rounding errors depend."""
    one_thread()
    return environment(str(loaded(source).language_model.device), openmm=openmm)


def one_thread() -> None:
    """One torch thread for this thread, as in a local run with a block in each thread."""
    require("torch").set_num_threads(1)


@lru_cache(maxsize=1)
def _load(source: Source) -> Networks:
    return Networks(
        load_tokenizer(*source),
        load_language_model(*source),
        load_packer(*source),
        load_springs(*source),
        load_segment_ranker(*source),
    )


def loaded(source: Source) -> Networks:
    """The networks of a source; a process loads them once."""
    with _loading:
        return _load(source)


def alone(source: Source, sidechains: str | None = None) -> threading.Lock | nullcontext[None]:
    """Context for what one thread of a process does at a time: GPUs and PDBFixer are shared."""
    on_cpu = require("torch").device(loaded(source).language_model.device).type == "cpu"
    return nullcontext() if on_cpu and sidechains != "pdbfixer" else _one_at_a_time


@lru_cache(maxsize=8)
def _environment_of(workers: Workers, openmm: bool) -> dict[str, object]:
    cluster = workers.cluster
    return cluster.result(cluster.submit(environment_there, workers.source, openmm))
