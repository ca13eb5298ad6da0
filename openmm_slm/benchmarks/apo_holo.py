"""``openmm-slm benchmark apo-holo``: samples against both conformers of a protein."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence

import numpy as np

from ..errors import StructureError
from ..language.interface import check_integer
from ..models.registry import model_identity
from ..protein.trajectory import from_trajectory
from ..sampling.ensemble import EnsembleGenerator
from .benchmark_workers import Workers
from .clustenm import clustenm
from .conformer_pairs import on_sequence, pooled_correlation, score_pair
from .references import Reference, load_pair, read_references
from .results import ResultTable, hold_folder
from .samplers_and_baselines import BASELINES, PAIR_SAMPLERS

RMSF = 0.1  # nm, of the baselines, which know one structure only
#: name -> ResFlex global, per target (mean, median), TM-ens (mean); *: from another paper.
PUBLISHED = {
    "AlphaFlow*": (0.455, 0.527, 0.527, 0.864),
    "ESMDiff*": (0.424, 0.502, 0.517, 0.851),
    "EigenFold (its samples)": (0.126, 0.407, 0.401, None),
    "S-T5*": (None, 0.144, None, None),
}
METHODS = (*PAIR_SAMPLERS, *BASELINES)
OTHERS = {"clustenm": clustenm}
_HEAD = (
    ("flexibility r", "pooled"), ("per target", "mean"), ("", "median"), ("TM-ens", "mean"),
    ("", "median"), ("gain", "mean"), ("TM of", "samples"), ("r with", "TM pair"),
)  # fmt: skip


def benchmark_apo_holo(
    references: str | os.PathLike,
    output: str | os.PathLike,
    model: str | os.PathLike = "default",
    device: str = "auto",
    *,
    n: int = 5,
    seed: int = 0,
    limit: int | None = None,
    against: Sequence[str] = (),
    processes: int = 1,
    progress: bool = True,
) -> str:
    """Table of samples from sequence, and of baselines from the first conformer, on pairs.

    Parameters
    ----------
    references : path
        See `openmm_slm.benchmarks.references`; the rows of kind "pair" are used.
    output : path
        Folder for ``targets.csv``, a row for each finished target, and ``run.json``. Finished
        targets are not measured again; the table is the same.
    n, seed : int
        Samples of a target, and their seed.
    limit : int, optional
        Number of pairs, from the first; default all.
    against : sequence of str
        ``"clustenm"``: conformers by ClustENM of ProDy, if it is installed.
    processes : int
        Targets measured at a time, each with one thread.

    Returns
    -------
    str
        See `score_pair` for the figures; published figures stand below.
    """
    check_integer("n", n, 2, "samples per target; flexibility needs two")
    check_integer("processes", processes, 1, "targets at a time")
    if limit is not None:
        check_integer("limit", limit, 1, "pairs, or None for all")
    pairs = [reference for reference in read_references(references) if reference.is_pair][:limit]
    if not pairs:
        raise StructureError(f"{references}: no row of kind 'pair' in targets.csv; nothing to do")
    for name in against:
        if name not in OTHERS:
            raise StructureError(f"against has {name!r}; give {', '.join(OTHERS)}")
    methods = (*METHODS, *against)
    run = {"model": model_identity(model), "n": n, "seed": seed}
    settings = run | {"methods": list(methods), "rmsf_nm": RMSF}
    with hold_folder(output), Workers(model, device, processes) as workers:
        table, targets = ResultTable(output, settings), {pair.id: pair for pair in pairs}
        rows = workers.rows(table, score_target, targets, n, seed, methods, progress=progress)
    return _table(list(rows.values()), n, methods)


def score_target(
    generator: EnsembleGenerator,
    pair: Reference,
    n: int,
    seed: int,
    methods: Sequence[str] = METHODS,
) -> dict[str, float]:
    """Row of one target: figures of each method, named ``<method> <figure>``."""
    conformers = load_pair(pair)
    first, second = (
        on_sequence(each.backbone[0, :, 1].astype(np.float64), each.sequence, pair.sequence)
        for each in conformers
    )
    start = conformers[0].to_trajectory("backbone")[0]
    row = {}
    for method in methods:
        begun = time.process_time()
        if method in PAIR_SAMPLERS:
            made = PAIR_SAMPLERS[method](generator, pair.sequence, start, n, seed)
        elif method in OTHERS:
            made = OTHERS[method](conformers[0].to_trajectory("heavy")[0], n, seed)
        else:
            made = BASELINES[method](start, n, RMSF, seed)
        seconds = time.process_time() - begun
        found = from_trajectory(made)
        ca = on_sequence(found.backbone[:, :, 1].astype(np.float64), found.sequence, pair.sequence)
        scores = score_pair(first, second, ca) | {"seconds": seconds}
        row |= {f"{method} {name}": value for name, value in scores.items()}
    return row


def _table(rows: list[dict[str, float]], n: int, methods: Sequence[str]) -> str:
    """The table, published figures below."""
    lines = [
        f"{len(rows)} pairs, {n} samples each; baselines are made from the first conformer "
        f"({RMSF:g} nm RMSF)",
        *(f"{'':24}" + "".join(f" {each[k]:>13}" for each in _HEAD) for k in (0, 1)),
    ]
    lines += [_line(method, _figures(rows_of(method, rows))) for method in methods]
    if len(methods) > len(METHODS):
        lines.append("CPU seconds of a target, mean")
        seconds = {name: [row["seconds"] for row in rows_of(name, rows)] for name in methods}
        lines += [f"{name:24} {np.mean(each):13.1f}" for name, each in seconds.items()]
    lines.append("published, 90 pairs (* at second hand)")
    lines += [_line(name, values) for name, values in PUBLISHED.items()]
    return "\n".join(lines)


def rows_of(method: str, rows: list[dict[str, float]]) -> list[dict[str, float]]:
    """Figures of one method in rows of targets, whose keys are ``<method> <figure>``."""
    named = [{key.rpartition(" ")[::2]: value for key, value in row.items()} for row in rows]
    return [{key: value for (of, key), value in row.items() if of == method} for row in named]


def _figures(rows: list[dict[str, float]]) -> list[float]:
    """Figures of a method over targets, in the order of the columns."""
    value = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    each, together = (
        value["r"][np.isfinite(value["r"])],
        (value["tm_first"] + value["tm_second"]) / 2,
    )
    diverse = np.nan
    if min(np.ptp(value["tm_samples"]), np.ptp(value["tm_pair"])) > 1e-6:
        diverse = np.corrcoef(value["tm_samples"], value["tm_pair"])[0, 1]
    return [
        pooled_correlation(rows), *((each.mean(), np.median(each)) if len(each) else (np.nan,) * 2),
        together.mean(), np.median(together), value["gain"].mean(), value["tm_samples"].mean(),
        diverse,
    ]  # fmt: skip


def _line(name: str, values: list[float | None] | tuple) -> str:
    shown = ["-" if v is None or math.isnan(v) else f"{v:.3f}" for v in values]
    return f"{name:24}" + "".join(f" {text:>13}" for text in shown)
