"""Sections of the scoreboard on ensembles: from sequence, of two conformers, against MD."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..analysis.tmscore import tm_matrix
from ..comparison.baselines import mean_rmsf
from ..data.shards import Entry
from ..errors import StructureError
from ..protein.trajectory import from_trajectory
from ..sampling.ensemble import EnsembleGenerator
from .apo_holo import METHODS, RMSF, rows_of, score_target
from .benchmark_workers import Workers
from .conformer_pairs import pooled_correlation
from .ensemble_scores import ensemble_figures
from .intervals import interval, mean_interval, median_interval
from .references import Reference, load_ensemble, read_references
from .samplers_and_baselines import BASELINES, PAIR_SAMPLERS, SAMPLERS, sample_quietly
from .samples import choose_chains
from .scoreboard_plan import Plan, read_split, splits_of
from .scoreboard_sections import Row, Section

ALL_ATOM = 20  # backbone samples for each all-atom sample
CONFORMERS = 5  # samples of a pair, as published
_MD = ("RMSF r", "JS-PwD")
_FROM_FRAME = ("jitter", "ANM")
_SHORT = {"structure": "first"}  # the first conformer itself


# -- from sequence ---------------------------------------------------------------------------


def from_sequence(plan: Plan, workers: Workers) -> Section:
    """TM-score of the best of many samples of a chain, beside as many samples of another chain."""
    rows, parts = [], []
    for split in splits_of(plan.data):
        entries = choose_chains(read_split(plan.data, split), plan.chains)
        number = {entry.id: k for k, entry in enumerate(entries)}
        samples: list[np.ndarray] = [np.empty(0)] * len(entries)
        for entry, ca in workers.map(_sampled_ca, entries[::-1], plan.n, plan.seed):
            samples[number[entry.id]] = ca
        best = [best_tm(entry, ca) for entry, ca in zip(entries, samples, strict=True)]
        base = {}
        if len(entries) > 1:
            # The next longer chain's; the longest one's has those of the next shorter.
            others = [*samples[1:], samples[-2]]
            found = [best_tm(entry, ca) for entry, ca in zip(entries, others, strict=True)]
            base = {"other": float(np.median(found))}
        target = {"test": "report", "test_related": "0.5"}[split]
        figure = f"best TM of {plan.n}, {split}"
        rows.append(Row(figure, *median_interval(best), len(entries), base, target))
        lengths = [len(entry.sequence) for entry in entries]
        parts.append(f"{len(entries)} chains of {split} ({lengths[0]}-{lengths[-1]} residues)")
    title = (
        f"from sequence: {plan.n} samples each of {' and '.join(parts)}; other: as many samples of "
        "the chain next in length"
    )
    return Section(title, tuple(rows))


def best_tm(entry: Entry, ca: np.ndarray) -> float:
    """Largest TM-score with the native of samples [n, L, 3], over the residues that both have."""
    common = min(len(entry.sequence), ca.shape[1])
    return float(tm_matrix(ca[:, :common], entry.backbone[None, :common, 1]).max())


def _sampled_ca(generator: EnsembleGenerator, entry: Entry, n: int, seed: int) -> np.ndarray:
    """CA [n, L, 3] of samples of a chain."""
    made = SAMPLERS["from sequence"](generator, entry.sequence, None, n, seed)
    return from_trajectory(made).backbone[:, :, 1]


def valid_frames(plan: Plan, workers: Workers) -> Section:
    """Share of all-atom frames that are valid, sampled from sequence alone."""
    n = max(1, plan.n // ALL_ATOM)
    entries = choose_chains(read_split(plan.data, "test"), plan.chains)
    found = [share for _, share in workers.map(_valid, entries[::-1], n, plan.seed)]
    before, after = (100 * np.array(values) for values in zip(*found, strict=True))
    count = len(entries)
    rows = (
        Row("valid, unrelaxed, % (mean)", *mean_interval(before), count, {}, "60", 1),
        Row("valid, relaxed, % (mean)", *mean_interval(after), count, {}, "90", 1),
    )
    lengths = [len(entry.sequence) for entry in entries]
    title = (
        f"valid all-atom frames from sequence: {n} each of {count} chains of test "
        f"({lengths[0]}-{lengths[-1]} residues)"
    )
    return Section(title, rows)


def _valid(generator: EnsembleGenerator, entry: Entry, n: int, seed: int) -> tuple[float, float]:
    return tuple(
        sample_quietly(generator, entry.sequence, n, seed, relax=relax).report["valid"].mean()
        for relax in (False, True)
    )


# -- pairs of conformers ---------------------------------------------------------------------


def apo_holo(plan: Plan, workers: Workers) -> Section:
    """Samples from sequence and from the first conformer against both."""
    pairs = sorted(
        (each for each in read_references(plan.references) if each.is_pair),
        key=lambda each: (len(each.sequence), each.id),
    )
    if not pairs:
        raise StructureError(f"{plan.references}: no row of kind 'pair' in targets.csv")
    count = min(plan.pairs, len(pairs))
    middle = ((np.arange(count) + 0.5) * len(pairs) / count).astype(int)
    chosen = [pairs[i] for i in middle]
    found = dict(
        (pair.id, row)
        for pair, row in workers.map(score_target, chosen[::-1], CONFORMERS, plan.seed)
    )
    by_method = {name: rows_of(name, [found[pair.id] for pair in chosen]) for name in METHODS}
    rows = []
    for source in PAIR_SAMPLERS:
        template, soft = source != "from sequence", source == "along soft modes"
        for figure, statistic, target in (
            ("ResFlex, pooled", pooled_correlation, "beat ANM" if template else "report"),
            ("ResFlex, mean", _mean("r"), "beat ANM" if template else "report"),
            ("TM-ens, mean", _tm_ens, "report"),
            ("gain of TM, mean", _mean("gain"), "beat all" if soft else ""),
        ):
            value, low, high = _over_targets(by_method[source], statistic)
            base = {_SHORT.get(k, k): float(statistic(by_method[k])) for k in BASELINES}
            rows.append(Row(f"{source}: {figure}", value, low, high, count, base, target))
    lengths = [len(pair.sequence) for pair in chosen]
    title = (
        f"pairs of conformers: {CONFORMERS} samples each of {count} of {len(pairs)}, evenly over "
        f"lengths ({lengths[0]}-{lengths[-1]} residues), and as many of each baseline, made of the "
        f"first conformer ({10 * RMSF:g} A RMSF)"
    )
    return Section(title, tuple(rows))


def _mean(name: str) -> Callable[[list[dict]], float]:
    def mean(rows: list[dict]) -> float:
        values = np.array([row[name] for row in rows])
        values = values[np.isfinite(values)]
        return float(values.mean()) if len(values) else float("nan")

    return mean


def _tm_ens(rows: list[dict]) -> float:
    return float(np.mean([(row["tm_first"] + row["tm_second"]) / 2 for row in rows]))


def _over_targets(rows: list[dict], statistic: Callable) -> tuple[float, float, float]:
    return interval(len(rows), lambda drawn: statistic([rows[i] for i in drawn]))


# -- MD --------------------------------------------------------------------------------------


def against_md(plan: Plan, workers: Workers) -> Section:
    """Relaxed samples from the first frame of each MD set, beside as many of each baseline."""
    sets = [each for each in read_references(plan.references) if each.is_md]
    if not sets:
        raise StructureError(f"{plan.references}: no row whose kind has 'MD' in targets.csv")
    found = dict(workers.map(_md_figures, sets, plan.n, plan.seed))
    rows = []
    for each in sets:
        figures = found[each]
        for name in _MD:
            base = {method: figures[method][name] for method in ("floor", *_FROM_FRAME)}
            value = figures["relaxed"][name]
            rows.append(
                Row(f"{each.id}: {name}", value, n=plan.n, baselines=base, target="beat ANM")
            )
    for when, target in (("unrelaxed", "60"), ("relaxed", "90")):
        share = np.mean([100 * found[each][when]["valid"] for each in sets])
        figure = f"valid, {when}, % (mean)"
        rows.append(Row(figure, float(share), n=len(sets), target=target, digits=1))
    title = (
        f"MD: {plan.n} samples with the first frame as template, relaxed; as many frames of the MD "
        "(floor, median of 50 draws) and of baselines that have the MD's mean RMSF"
    )
    return Section(title, tuple(rows))


def _md_figures(
    generator: EnsembleGenerator, reference: Reference, n: int, seed: int
) -> dict[str, dict[str, float]]:
    """Figures of samples, of baselines and of as many frames of the MD, by method."""
    ensemble = load_ensemble(reference)
    structure = from_trajectory(ensemble[0])
    start = structure.to_trajectory("backbone")
    sequence, rmsf = structure.chain_sequences, mean_rmsf(ensemble)
    found: dict[str, dict[str, float]] = {}
    for when, relax in (("unrelaxed", False), ("relaxed", True)):
        made = sample_quietly(generator, sequence, n, seed, template=start, relax=relax)
        found[when] = {"valid": float(made.report["valid"].mean())}
    value, floor = ensemble_figures(made.trajectory, ensemble, floor=True, names=_MD)
    found["relaxed"] |= value
    found["floor"] = floor
    for name in _FROM_FRAME:
        frames = BASELINES[name](start, n, rmsf, seed)
        found[name], _ = ensemble_figures(frames, ensemble, names=_MD)
    return found
