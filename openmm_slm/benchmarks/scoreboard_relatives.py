"""Sections of the scoreboard on samples that begin at relatives among the training chains."""

from __future__ import annotations

import functools

import numpy as np

from ..data.relatives import Relatives
from ..data.shards import Entry
from ..library.registry import load_library
from ..protein.structure import from_backbone
from ..protein.trajectory import from_trajectory
from ..sampling.ensemble import EnsembleGenerator
from ..sampling.known_structures import thread_on_library
from .benchmark_workers import Workers
from .conformer_pairs import tm_to
from .intervals import median_interval
from .samplers_and_baselines import SAMPLERS, from_template
from .samples import choose_chains
from .scoreboard_plan import Plan, read_split, splits_of
from .scoreboard_sections import Row, Section

IDENTITY = 0.9  # closer relatives, which the splits should exclude, are passed over


def from_relatives(plan: Plan, workers: Workers) -> Section:
    """Samples with relatives in the split ``train`` as templates, beside those relatives."""
    rows, parts = [], []
    n = max(1, plan.n // 5)
    for split in splits_of(plan.data):
        entries = choose_chains(read_split(plan.data, split), plan.chains)
        scored = workers.map(_score, entries[::-1], n, plan.seed, plan.data)
        found = [scores for _, scores in scored if scores]
        parts.append(f"{len(found)} of {len(entries)} chains of {split}")
        if not found:
            continue
        best, mean, nearest, any_one = np.array(found).T
        base = {"nearest": float(np.median(nearest)), "best one": float(np.median(any_one))}
        target = {"test": "report", "test_related": "0.5"}[split]
        for figure, values in ((f"best TM of {n}", best), ("mean TM", mean)):
            rows.append(
                Row(f"{figure}, {split}", *median_interval(values), len(found), base, target)
            )
            target = ""
    title = (
        f"from relatives: {n} samples each about relatives in train (at most "
        f"{100 * IDENTITY:.0f} % identical), which {' and '.join(parts)} have; nearest: that with "
        "the best alignment, as it is; best one: the best of them"
    )
    return Section(title, tuple(rows))


@functools.lru_cache(maxsize=1)
def _training_chains(data: str) -> Relatives:
    return Relatives(read_split(data, "train"))


def _score(
    generator: EnsembleGenerator, entry: Entry, n: int, seed: int, data: str
) -> tuple[float, ...]:
    """TM-scores: best and mean sample, nearest and best relative; empty without relatives."""
    relatives = _training_chains(data)
    found = relatives.find(entry.sequence, most_identical=IDENTITY)
    if not found:
        return ()
    threaded = relatives.threaded(entry.sequence, found)[:, :, :4]
    return _tm(generator, entry, threaded, n, seed)


def _tm(
    generator: EnsembleGenerator, entry: Entry, threaded: np.ndarray, n: int, seed: int
) -> tuple[float, ...]:
    """TM-scores of samples and templates [T, L, 4, 3]."""
    start = from_backbone(threaded, entry.sequence)
    made = from_template(deform="conformers")(generator, entry.sequence, start, n, seed)
    native, length = entry.backbone[:, 1], len(entry.sequence)
    samples = tm_to(native, from_trajectory(made).backbone[:, :, 1], length)
    # One at a time: each lacks other residues.
    alone = [float(tm_to(native, ca[None], length)[0]) for ca in threaded[:, :, 1]]
    return float(samples.max()), float(samples.mean()), alone[0], max(alone)


def from_library(plan: Plan, workers: Workers) -> Section:
    """Samples with the known structures of the library, as by default; of training chains only."""
    rows, parts = [], []
    n = max(1, plan.n // 5)
    for split in splits_of(plan.data):
        entries = choose_chains(read_split(plan.data, split), plan.chains)
        scored = [scores for _, scores in workers.map(_score_known, entries[::-1], n, plan.seed)]
        found = [scores for scores in scored if len(scores) > 2]
        parts.append(f"{len(found)} of {len(entries)} chains of {split}")
        target = {"test": "0.5", "test_related": "0.82"}[split]
        for number, figure in enumerate((f"best TM of {n}", "mean TM")):
            values = np.array([scores[number] for scores in scored])
            aim = target if number else ""
            rows.append(Row(f"{figure}, {split}", *median_interval(values), len(values), {}, aim))
        if found:
            _, mean, nearest, any_one = np.array(found).T
            base = {"nearest": float(np.median(nearest)), "best one": float(np.median(any_one))}
            rows.append(
                Row(f"mean TM where found, {split}", *median_interval(mean), len(found), base)
            )
    title = (
        f"from sequence with the known structures of the library: {n} samples each; training "
        f"chains (at most {100 * IDENTITY:.0f} % identical) are found for {' and '.join(parts)}; "
        "nearest: the closest, as it is; best one: the best of them"
    )
    return Section(title, tuple(rows))


def _score_known(
    generator: EnsembleGenerator, entry: Entry, n: int, seed: int
) -> tuple[float, ...]:
    """As `_score`; without known structures best and mean of samples from the sequence alone."""
    known = thread_on_library(
        entry.sequence, load_library(), splits=("train",), most_identical=IDENTITY
    )
    if known is not None:
        return _tm(generator, entry, known.template.backbone, n, seed)
    made = SAMPLERS["from sequence"](generator, entry.sequence, None, n, seed)
    samples = tm_to(
        entry.backbone[:, 1], from_trajectory(made).backbone[:, :, 1], len(entry.sequence)
    )
    return float(samples.max()), float(samples.mean())
