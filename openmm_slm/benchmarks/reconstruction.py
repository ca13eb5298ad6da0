"""``openmm-slm benchmark reconstruction``: how well a tokenizer gives structures back."""

from __future__ import annotations

import os

from ..models.registry import load_tokenizer
from ..training.reconstruction import LENGTHS, by_cluster, reconstruct_chains, summarize
from ..training.shards import ShardDataset


def benchmark_reconstruction(
    data: str | os.PathLike,
    model: str | os.PathLike = "default",
    split: str = "test",
    device: str = "auto",
) -> str:
    """Table of `summarize` on a split, beside the same with each chain's tokens shuffled."""
    tokenizer = load_tokenizer(model, device)
    dataset = ShardDataset(data, split, ("backbone", "heavy", "shard"))
    rows = range(len(dataset))
    table, counts = reconstruct_chains(tokenizer.model, dataset, rows)
    shuffled, _ = reconstruct_chains(tokenizer.model, dataset, rows, shuffle=True)
    summary, control = summarize(table, counts), summarize(shuffled, counts)
    clusters = len({row["cluster"] for row in table})
    lines = [
        f"{split}: {len(table)} chains, {clusters} clusters; medians over cluster means",
        f"{'':38} {'tokens':>9} {'shuffled':>9}",
    ]
    for longest in LENGTHS:
        number = len(by_cluster(table, "rmsd", longest))
        label = f"CA RMSD, L <= {longest} ({number} clusters), A"
        key = f"rmsd_{longest}"
        lines.append(f"{label:38} {summary[key]:9.2f} {control[key]:9.2f}")
    for label, key, scale, digits in (
        ("local error (i-6..i+6), A", "local", 1, 3),
        ("lDDT (CA)", "lddt", 1, 3),
        ("C-N off by > 0.1 A, % (mean)", "broken", 100, 2),
        ("wrong cis/trans, per 1,000 (mean)", "wrong_omega", 1000, 1),
        ("chains with CA pairs < 3 A, % (mean)", "clashing", 100, 1),
    ):
        lines.append(
            f"{label:38} {scale * summary[key]:9.{digits}f} {scale * control[key]:9.{digits}f}"
        )
    lines.append(f"codes used: {summary['codes']} of {len(counts)}")
    lines.append(f"perplexity of code usage: {summary['perplexity']:.0f}")
    return "\n".join(lines)
