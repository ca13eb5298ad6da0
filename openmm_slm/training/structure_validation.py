"""Validation of language models with structure input: nats per token of fixed contexts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn as nn

from ..data.shards import Entry, ShardDataset
from ..data.tokens import TokenStore
from ..language.masking import with_rim
from .structure_batches import Tokenize, batch_of
from .structure_contexts import DrawnContext, displaced, softened
from .structure_losses import hidden_nats

#: Contexts that are measured; numbers are displacements in nm.
MEASURED = ("span", "soft_0.2", "sequence", "noise_0.03", "noise_0.1", "noise_0.3", "trace")
#: Chains made of coil (`data.coil_chains`) that are told to be disordered.
DISORDERED = "disordered"


def measured_context(rng: np.random.Generator, entry: Entry, name: str) -> DrawnContext | None:
    """Draw the context called `name` (see `MEASURED`); None if the chain is too short."""
    backbone, length = entry.backbone, len(entry.sequence)
    present = np.isfinite(backbone).all((1, 2))
    if length < 30 or present.mean() < 0.8:
        return None
    rms = float(name.partition("_")[2] or 0)
    if name.startswith("s") and name != "sequence":
        size = int(rng.integers(8, 13))
        absent = np.zeros(length, bool)
        first = int(rng.integers(4, length - size - 3))
        absent[first : first + size] = True
        if rms:
            return softened(rng, backbone, present, entry.chain_index, absent, rms)
        level = np.where(absent | ~present, np.inf, 0.0).astype(np.float32)
        told = np.where(np.isfinite(level)[:, None, None], backbone, np.nan)
        hidden = with_rim(absent, entry.chain_index)
        return DrawnContext(told, level, hidden, True, "spans")
    if name in ("sequence", DISORDERED):
        nothing, whole = np.full(length, np.inf, np.float32), np.ones(length, bool)
        told = whole if name == DISORDERED else None
        return DrawnContext(np.full_like(backbone, np.nan), nothing, whole, False, "nothing", told)
    kind = "noised" if rms else "trace"
    return displaced(rng, backbone, present, kind, rms)


def fixed_batches(
    dataset: ShardDataset,
    store: TokenStore,
    name: str,
    clusters: int,
    longest: int = 320,
    residues: int = 2048,
    repeats: int = 1,
) -> list[tuple[dict[str, torch.Tensor], list[str]]]:
    """Batches with one context per cluster (the first entry that fits), with the cluster names."""
    made = []
    for number, group in enumerate(dataset.clusters()[:clusters]):
        fitting = group[dataset.lengths[group] <= longest]
        for repeat in range(repeats if len(fitting) else 0):
            chosen = int(fitting[0])
            entry = dataset[chosen]
            context = measured_context(np.random.default_rng([number, repeat]), entry, name)
            if context is not None:
                made.append((entry, store.read(dataset.rows[chosen]), context))
    made.sort(key=lambda one: len(one[0].sequence))
    batches, part = [], []

    def close(part: Sequence[tuple]) -> None:
        batch = batch_of(*zip(*part, strict=True))
        tensors = {key: torch.as_tensor(value) for key, value in batch.items()}
        batches.append((tensors, [one[0].cluster for one in part]))

    for one in made:
        if part and (len(part) + 1) * len(one[0].sequence) > residues:
            close(part)
            part = []
        part.append(one)
    if part:
        close(part)
    return batches


@torch.no_grad()
def nats_of_batches(
    network: nn.Module,
    batches: list[tuple[dict[str, torch.Tensor], list[str]]],
    tokenize: Tokenize,
    told: bool = True,
    absent: bool = False,
) -> np.ndarray:
    """Mean nats per hidden token of each cluster, sorted by name.

    With `absent`, only residues without exact frames count, not the rim (T5 and GPT only).
    """
    found: dict[str, list[float]] = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for batch, clusters in batches:
            counted = batch["hidden"] & ~batch["kept"] if absent else None
            nats, count = hidden_nats(network, batch, tokenize, 8, told, counted)
            for cluster, value, number in zip(clusters, nats.tolist(), count.tolist(), strict=True):
                if number:
                    found.setdefault(cluster, []).append(value / number)
    return np.array([np.mean(found[cluster]) for cluster in sorted(found)])
