"""Training batches of language models with structure input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from ..data.coil_chains import MADE_OF_COIL
from ..data.shards import Entry
from ..data.tokens import TokenStore
from ..language.structure_context import StructureContext, stretches
from ..protein.coil import coil
from .batches import ClusterSampler, pad_entries, pad_tokens
from .sampled_segments import SampledSegments
from .structure_contexts import ContextShares, DrawnContext, draw_context

KINDS = ("spans", "patch", "ends", "interface", "noised", "soft", "trace", "nothing", "sampled")

#: Encoder: backbones [B, L, 4, 3], mask and residue index [B, L] to tokens [B, L].
Tokenize = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def structure_batch(
    sampler: ClusterSampler,
    store: TokenStore,
    residues: int,
    seed: int,
    step: int,
    shares: ContextShares,
    no_sequence: float = 0.0,
    segments: SampledSegments | None = None,
    sampled: float = 0.0,
) -> dict[str, np.ndarray]:
    """Whole entries of similar length with random contexts, about `residues` padded residues.

    The sequence of a share `no_sequence` of the entries is hidden. A share `sampled` of the batches
    is of chains with sampled `segments`.
    """
    rng = np.random.default_rng([seed, step])
    used = segments if segments is not None and rng.random() < sampled else None
    if used is None:
        pool = [sampler.number(rng) for _ in range(64)]
    else:
        pool = rng.choice(used.numbers, 64).tolist()
    pool.sort(key=sampler.dataset.lengths.__getitem__)
    batches: list[list[int]] = [[]]
    for number in pool:
        if batches[-1] and (len(batches[-1]) + 1) * sampler.dataset.lengths[number] > residues:
            batches.append([])
        batches[-1].append(number)
    numbers = batches[rng.integers(len(batches))]
    entries = [sampler.dataset[number] for number in numbers]
    drawn = []
    for entry in entries:
        present = np.isfinite(entry.backbone).all((1, 2))
        if used is not None:
            one = used.context(rng, entry)
        else:
            kind = "nothing" if entry.id.startswith(MADE_OF_COIL) and rng.random() < 0.6 else None
            one = draw_context(rng, entry.backbone, present, entry.chain_index, shares, kind)
        drawn.append(replace(one, disordered=draw_labels(rng, entry)))
    rows = [store.read(sampler.dataset.rows[number]) for number in numbers]
    batch = batch_of(entries, rows, drawn)
    hidden = rng.random(len(numbers)) < no_sequence
    batch["amino_acids"][hidden] = 20
    return batch


def draw_labels(rng: np.random.Generator, entry: Entry) -> np.ndarray:
    """Residues whose label says disordered, bool [L].

    All of a chain made of coil (`data.coil_chains`). Of other chains: in four draws of ten, none;
    in four, all coil; in two, about half of its stretches.
    """
    if entry.id.startswith(MADE_OF_COIL):
        return np.ones(len(entry.sequence), bool)
    told = rng.choice([0.0, 1.0, 0.5], p=[0.4, 0.4, 0.2])
    inside = coil(entry.backbone, entry.residue_index)
    for first, end in stretches(inside, entry.chain_index):
        inside[first:end] = rng.random() < told
    return inside


def batch_of(
    entries: Sequence[Entry], tokens: Sequence[np.ndarray], drawn: Sequence[DrawnContext]
) -> dict[str, np.ndarray]:
    """Padded arrays of entries, tokens and contexts.

    Beside the arrays of `pad_entries`: ``tokens`` and ``hidden`` [B, L] (the tokens to predict),
    ``kept`` [B, L] (exact frames, from which known tokens are encoded where ``encoded`` [B]),
    ``drawn`` [B] (kind of the context, a number of `KINDS`), and the attributes of
    `StructureContext`, prefixed with ``context_``.
    """
    batch = pad_entries(list(entries))
    length = batch["mask"].shape[1]
    batch["tokens"] = pad_tokens(list(tokens), length)
    batch["kept"] = np.zeros_like(batch["mask"])
    batch["hidden"] = np.zeros_like(batch["mask"])
    contexts = []
    for row, (entry, one) in enumerate(zip(entries, drawn, strict=True)):
        n = len(one.level)
        batch["kept"][row, :n] = batch["mask"][row, :n] & (one.level == 0)
        batch["hidden"][row, :n] = one.hidden
        contexts.append(
            StructureContext.of(one.backbone, one.level, entry.residue_index, one.disordered)
        )
        batch["mask"][row, :n] = True  # residues without coordinates belong to the sequence
    batch["hidden"] &= batch["tokens"] >= 0
    batch["encoded"] = np.array([one.encoded for one in drawn])
    batch["drawn"] = np.array([KINDS.index(one.kind) for one in drawn])
    stacked = StructureContext.stacked(contexts, length).arrays()
    return batch | {f"context_{name}": values for name, values in stacked.items()}


def context_of(batch: dict[str, torch.Tensor]) -> StructureContext:
    """Contexts of a batch."""
    return StructureContext(*(batch[f"context_{name}"] for name in StructureContext.names()))


@torch.no_grad()
def known_tokens_of(batch: dict[str, torch.Tensor], tokenize: Tokenize) -> torch.Tensor:
    """Known tokens int64 [B, L], -1 where unknown.

    Where ``encoded``, the encoder sees residues with exact frames only, and the tokens of the rim
    are hints that differ from the tokens to predict.
    """
    tokens = torch.where(batch["hidden"] | batch["encoded"].unsqueeze(1), -1, batch["tokens"])
    rows = batch["encoded"] & batch["kept"].any(1)
    if rows.any():
        seen = (batch[name][rows] for name in ("backbone", "kept", "index"))
        tokens[rows] = tokenize(*seen)
    return tokens
