"""``openmm-slm benchmark reconstruction``: structures encoded and decoded by a tokenizer."""

from __future__ import annotations

import os
from functools import partial

import numpy as np

from ..data.shards import ShardDataset
from ..errors import StructureError
from ..models.registry import load_tokenizer
from ..tokenizer.dvae import DVAE
from ..training.reconstruction import LENGTHS, SOFT, by_cluster, reconstruct_chains, summarize

_FOLD = (
    *((f"CA RMSD, L <= {n}, A", f"rmsd_{n}", 1, 2) for n in LENGTHS),
    ("local error (i-6..i+6), A", "local", 1, 3),
    ("lDDT (CA)", "lddt", 1, 3),
)
_STEREO = (
    ("C-N off by > 0.1 A, % (mean)", "broken", 100, 2),
    ("wrong cis/trans, per 1,000 (mean)", "wrong_omega", 1000, 1),
    ("chains with CA pairs < 3 A, % (mean)", "clashing", 100, 1),
)
_BINS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def benchmark_reconstruction(
    data: str | os.PathLike,
    model: str | os.PathLike = "default",
    split: str = "test",
    device: str = "auto",
) -> str:
    """Table of reconstruction errors of a split, beside those with each chain's tokens shuffled.

    Structures are measured as decoded, after the projection, and decoded from the native displaced
    by 0.1 nm along soft modes. A second table compares predicted and observed lDDT.
    """
    tokenizer = load_tokenizer(model, device)
    dataset = ShardDataset(data, split, ("backbone", "heavy", "shard"))
    run = partial(reconstruct_chains, tokenizer.model, dataset, range(len(dataset)))
    (table, counts), (shuffled, _) = run(project=True), run(shuffle=True)
    soft = [run(start=SOFT, shuffle=shuffle)[0] for shuffle in (False, True)]
    clusters = len({row["cluster"] for row in table})
    lines = [
        f"{split}: {len(table)} chains, {clusters} clusters; medians over cluster means",
        *(
            f"  {len(by_cluster(table, 'rmsd', n))} clusters have chains of at most {n} residues"
            for n in LENGTHS[:-1]
        ),
        f"{'':42} {'tokens':>9} {'shuffled':>9}",
        *_section(
            "decoded", (*_FOLD, *_STEREO), summarize(table, counts), summarize(shuffled, counts)
        ),
        *_section("after projection", (*_FOLD, *_STEREO), summarize(table, counts, "projected_")),
        *_section(f"started {10 * SOFT:g} A away", _FOLD, *(summarize(x, counts) for x in soft)),
        f"codes used: {np.count_nonzero(counts)} of {len(counts)}",
        f"perplexity of code usage: {summarize(table, counts)['perplexity']:.0f}",
        *reliability(table),
        *_complexes(tokenizer.model, data, split),
    ]
    return "\n".join(lines)


def _section(title: str, rows: tuple, *summaries: dict[str, float]) -> list[str]:
    return [title] + [
        f"  {label:40} " + " ".join(f"{scale * each[key]:9.{digits}f}" for each in summaries)
        for label, key, scale, digits in rows
    ]


def _complexes(model: DVAE, data: str | os.PathLike, split: str) -> list[str]:
    """Lines on complexes none of whose chains was in training, if there are any."""
    try:
        dataset = ShardDataset(data, split, "complex")
    except StructureError:
        return []
    rows = [i for i, row in enumerate(dataset.rows) if row.get("has_train_chain", "0") == "0"]
    if not rows:
        return []
    lines = [f"{len(rows)} complexes, CA RMSD (medians) {'whole, A':>9} {'chains alone, A':>16}"]
    for label, options in (
        ("decoded", {}),
        (f"started {10 * SOFT:g} A away", {"start": SOFT}),
        ("  the same, tokens shuffled", {"start": SOFT, "shuffle": True}),
    ):
        table, _ = reconstruct_chains(model, dataset, rows, **options)
        whole, alone = (10 * np.median([row[n] for row in table]) for n in ("rmsd", "chain_rmsd"))
        lines.append(f"  {label:28} {whole:9.2f} {alone:16.2f}")
    return lines


def reliability(table: list[dict]) -> list[str]:
    """Lines of a table: residues by predicted lDDT, mean predicted and observed lDDT."""
    predicted, observed = (
        np.concatenate([row[name] for row in table]) for name in ("predicted_lddt", "observed_lddt")
    )
    good = np.isfinite(observed)
    predicted, observed = predicted[good], observed[good]
    lines = [f"predicted lDDT {'residues':>12} {'predicted':>10} {'observed':>10}"]
    for low, high in zip(_BINS, _BINS[1:], strict=False):
        here = (predicted >= low) & (predicted < high)
        if here.any():
            lines.append(
                f"{low:.1f} to {high:.1f} {here.sum():17,} {predicted[here].mean():10.2f} "
                f"{observed[here].mean():10.2f}"
            )
    r = np.corrcoef(predicted, observed)[0, 1]
    off = np.abs(predicted - observed).mean()
    return [*lines, f"correlation {r:.2f}, mean absolute difference {off:.3f}"]
