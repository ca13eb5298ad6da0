"""Sections of the scoreboard on the parts of a model: tokenizer, language model, packer; speed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib.util import find_spec

import numpy as np

from ..data.shards import Entry, ShardDataset
from ..errors import ModelError, require
from ..models.registry import find_part
from ..networks.storage import read_config
from ..sampling.ensemble import EnsembleGenerator
from ..training.language_nats import nats_of_entries
from ..training.reconstruction import LENGTHS, SOFT, by_cluster, reconstruct_chains
from .benchmark_workers import Workers
from .intervals import median_interval
from .language import EncodedTokens, models_without_sequence, trained_on
from .memory import peak_memory
from .other_packers import in_one_rotamer
from .proteins import PROTEINS
from .samplers_and_baselines import sample_quietly
from .scoreboard_plan import Plan, read_split, splits_of
from .scoreboard_sections import Row, Section
from .sidechains import choose_chains, outside_method, packer_method, score_methods

TIMED = 5  # frames of BPTI for each of `n`
RECONSTRUCTED, PACKED = 6, 4  # chains for each of `chains`
LONGEST = 512
_TOGETHER = 4  # chains of a job
_JOBS = 12  # of a split's nats


def speed(plan: Plan, workers: Workers) -> Section:
    """Seconds of all-atom frames of BPTI, and peak memory so far."""
    frames = TIMED * plan.n
    generator = workers.generator
    start = time.perf_counter()
    sample_quietly(generator, PROTEINS["BPTI"], frames, plan.seed)
    seconds = time.perf_counter() - start
    threads = require("torch").get_num_threads()
    target = "45 s" if frames == 500 else ""
    rows = [Row("all-atom frames, s", seconds, n=frames, target=target, digits=1)]
    if math.isfinite(memory := peak_memory()):
        rows.append(Row("peak memory, MiB", memory, n=frames, digits=0))
    title = (
        f"speed: BPTI ({len(PROTEINS['BPTI'])} residues), model loaded, torch threads: {threads}"
    )
    return Section(title, tuple(rows))


# -- tokenizer -------------------------------------------------------------------------------


def reconstruction(plan: Plan, workers: Workers) -> Section:
    """Chains encoded and decoded, with their tokens and with the same tokens shuffled."""
    dataset = read_split(plan.data, "test")
    ranked = first_of_clusters(dataset)
    count = min(len(ranked), RECONSTRUCTED * plan.chains)
    rows = [ranked[i] for i in np.linspace(0, len(ranked) - 1, count).round().astype(int)]
    jobs = [tuple(rows[i : i + _TOGETHER]) for i in range(0, count, _TOGETHER)]
    tables: list[list[dict]] = [[], [], [], []]
    # Longest first: the last job should not keep one process waiting for the other.
    for _, found in workers.map(_reconstruct, jobs[::-1], plan.data):
        for table, part in zip(tables, found, strict=True):
            table += part
    decoded, started = tables[:2], tables[2:]
    asked = {128: "3", 256: "4.5"}
    out = [
        _median_row(f"CA RMSD, L <= {n}, A", decoded, "rmsd", 10, asked.get(n, ""), 2, n)
        for n in LENGTHS
    ]
    out += [
        _median_row("local error (i-6..i+6), A", decoded, "local", 10, "0.5"),
        _median_row("lDDT (CA)", decoded, "lddt", 1, "0.75"),
        _median_row(f"CA RMSD, started {10 * SOFT:g} A away, A", started, "rmsd", 10, "0.8", 2),
    ]
    title = f"reconstruction: one chain each of {count} of the {len(ranked)} clusters of test"
    return Section(title, tuple(row for row in out if row.n))


def _reconstruct(generator: EnsembleGenerator, rows: tuple[int, ...], data: str) -> list[list]:
    """Figures of chains: decoded from tokens, shuffled ones, and both from near by."""
    run, dataset = generator.tokenizer.model, read_split(data, "test")
    ways = ({}, {"shuffle": True}, {"start": SOFT}, {"start": SOFT, "shuffle": True})
    return [reconstruct_chains(run, dataset, rows, **way)[0] for way in ways]


def _median_row(
    figure: str,
    tables: list[list[dict]],
    name: str,
    scale: float,
    target: str,
    digits: int = 3,
    longest: int | None = None,
) -> Row:
    """Median over clusters of a figure of the first table; the second has shuffled tokens."""
    values, shuffled = (scale * by_cluster(table, name, longest) for table in tables)
    baselines = {"shuffled": float(np.median(shuffled))} if len(shuffled) else {}
    return Row(figure, *median_interval(values), len(values), baselines, target, digits)


def first_of_clusters(dataset: ShardDataset) -> list[int]:
    """The first chain of at most `LONGEST` residues of each cluster, by length."""
    groups = [group[dataset.lengths[group] <= LONGEST] for group in dataset.clusters()]
    first = [int(group[0]) for group in groups if len(group)]
    return sorted(first, key=lambda row: (dataset.lengths[row], dataset.rows[row]["id"]))


# -- language model --------------------------------------------------------------------------


class Relettered:
    """A dataset whose entries have other sequences: ``change(entry)``, as long as theirs."""

    def __init__(self, dataset: ShardDataset, change: Callable[[Entry], str]) -> None:
        self.dataset, self.change = dataset, change
        self.rows, self.lengths = dataset.rows, dataset.lengths

    def __getitem__(self, number: int) -> Entry:
        entry = self.dataset[number]
        return replace(entry, sequence=self.change(entry))


def hidden(entry: Entry) -> str:
    """A sequence of X, as the model sees hidden sequences in training."""
    return "X" * len(entry.sequence)


def shuffled(entry: Entry) -> str:
    """The same letters in another, reproducible order."""
    order = np.random.default_rng(len(entry.sequence)).permutation(len(entry.sequence))
    return "".join(entry.sequence[i] for i in order)


def language_model(plan: Plan, workers: Workers) -> Section:
    """Nats per token, and the gain over a model that does not see the sequence."""
    model = workers.generator.language_model
    without = "alone" if plan.no_sequence else "hidden" if model.guided else None
    uniform = float(np.log(model.vocabulary))
    rows, parts = [], []
    for split in splits_of(plan.data):
        chains = first_of_clusters(read_split(plan.data, split))
        jobs = [tuple(chains[i::_JOBS]) for i in range(min(_JOBS, len(chains)))]
        nats: dict[str, list[float]] = {}
        for _, found in workers.map(_nats, jobs, plan.data, split, plan.no_sequence, model.guided):
            for name, values in found.items():
                nats.setdefault(name, []).extend(values)
        value = {name: np.array(values) for name, values in nats.items()}
        count = len(chains)
        base = {"uniform": uniform}
        base |= {n: float(np.median(value[n])) for n in value if n != "token"}
        rows.append(Row(f"nats per token, {split}", *median_interval(value["token"]), count, base))
        if without:
            gained, by_letters = (value[without] - value[n] for n in ("token", "shuffled"))
            target = {"test": "0.15", "test_related": "0.4"}[split]
            base = {"shuffled": float(np.median(by_letters))}
            figure = f"gained by the sequence, {split}"
            rows.append(Row(figure, *median_interval(gained), count, base, target))
        parts.append(f"the {count} clusters of {split}")
    title = f"language model ({model.network.kind}): one chain each of {' and '.join(parts)}; "
    title += {
        "alone": f"the gain is over {plan.no_sequence}, trained without sequences",
        "hidden": "the gain is over the model itself with the sequence hidden, as in part of its "
        "training",
        None: "no gain: give --no-sequence, a model trained without sequences",
    }[without]
    return Section(title + "; shuffled: the letters of the sequence in another order", tuple(rows))


def check_no_sequence(plan: Plan) -> None:
    """Raise ModelError unless the model without sequence is comparable."""
    if plan.no_sequence is None:
        return
    kind = read_config(find_part(plan.model, "language_model"))["kind"]
    if (kind, trained_on(plan.model)) not in models_without_sequence([plan.no_sequence], "cpu"):
        raise ModelError(
            f"{plan.no_sequence} is of another family than {plan.model}, or was trained on other "
            "tokens; give one that differs in the sequence alone"
        )


def _nats(
    generator: EnsembleGenerator,
    chains: tuple[int, ...],
    data: str,
    split: str,
    no_sequence: str | None,
    guided: bool,
) -> dict[str, list[float]]:
    """Nats per token of chains: as they are, letters shuffled or hidden, by the other model."""
    dataset = read_split(data, split)
    network, read = generator.language_model.network, EncodedTokens(generator.tokenizer, dataset)
    ways = {"token": (network, dataset), "shuffled": (network, Relettered(dataset, shuffled))}
    if guided:
        ways["hidden"] = network, Relettered(dataset, hidden)
    if no_sequence:
        device = str(generator.language_model.device)
        (other,) = models_without_sequence([no_sequence], device).values()
        ways["alone"] = other.network, dataset
    return {
        name: nats_of_entries(net, seen, read, chains)["token"].tolist()
        for name, (net, seen) in ways.items()
    }


# -- packer ----------------------------------------------------------------------------------


def side_chains(plan: Plan, workers: Workers) -> Section:
    """Side chains packed on native backbones."""
    packer = workers.generator.packer
    dataset = read_split(plan.data, "test")
    entries = choose_chains(dataset)
    number = min(len(entries), PACKED * plan.chains)
    entries = choose_chains(dataset, number)
    methods = {
        "packer": packer_method(packer),
        "rotamer": in_one_rotamer(packer.network.builder),
    }
    if find_spec("pyfaspr"):
        methods["faspr"] = outside_method("faspr", plan.seed)
    scores = score_methods(methods, entries, progress=False)
    clusters = [entry.cluster for entry in entries]
    rows = []
    for figure, name, digits in (
        ("chi1 within 40 degrees, %", "chi1", 1),
        ("side-chain RMSD without CB, A", "rmsd", 3),
    ):
        value = {
            method: _cluster_means([part[name] for part in scores[method]], clusters)
            for method in methods
        }
        base = {m: float(np.nanmedian(value[m])) for m in methods if m != "packer"}
        found = median_interval(value["packer"])
        rows.append(Row(figure, *found, int(np.isfinite(value["packer"]).sum()), base, "", digits))
    residues = sum(len(entry.sequence) for entry in entries)
    title = (
        f"side chains on native backbones: {number} chains of test, {residues} residues; "
        "rotamer: chi of -65, 180, 180, 180 degrees everywhere"
    )
    return Section(title, tuple(rows))


def _cluster_means(parts: Iterable[np.ndarray], clusters: list[str]) -> np.ndarray:
    """Mean over the residues of each cluster [C], NaN left out."""
    groups: dict[str, list[np.ndarray]] = {}
    for part, cluster in zip(parts, clusters, strict=True):
        groups.setdefault(cluster, []).append(part[np.isfinite(part)])
    joined = [np.concatenate(group) for group in groups.values()]
    return np.array([part.mean() if len(part) else np.nan for part in joined])
