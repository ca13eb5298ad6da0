"""Stage 2: train a structure language model on the tokens of a frozen tokenizer."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from ..configuration import build, check_names, merge
from ..errors import SLMError
from ..language.masked_diffusion import MaskedDiffusion, MaskedDiffusionConfig
from ..models.storage import load_module, save_module
from .batches import ClusterSampler
from .loop import LoopConfig, Trainer
from .shards import ShardDataset
from .token_batches import language_model_batch, read_tokens
from .tokens import TokenStore

DATA = {"residues": 2048, "max_length": 512, "maskings": 4, "prefix": None}


def diffusion_bound(
    model: MaskedDiffusion, batch: dict[str, torch.Tensor], maskings: int
) -> torch.Tensor:
    """Negative bound (nats) of each chain [B], averaged over stratified maskings."""
    condition = model.condition(batch["amino_acids"], batch["mask"], batch["index"])
    tokens = batch["tokens"].repeat_interleave(maskings, 0)
    rows = len(tokens)
    # Stratified over all rows, and each chain's maskings over the whole of [0, 1].
    stratum = torch.arange(rows, device=tokens.device).view(maskings, -1).T.flatten()
    share = (stratum + torch.rand(1, device=tokens.device)) / rows
    loss = model.loss(tokens, condition.repeat(maskings), tokens >= 0, share)
    return loss.view(-1, maskings).mean(1)


def bound_of_split(
    data: str | os.PathLike,
    tokens: str | os.PathLike,
    split: str,
    chains: int | None = None,
    maskings: int = 8,
    max_length: int = 512,
) -> Callable[[MaskedDiffusion], dict[str, float]]:
    """Evaluation: nats per token of a split, weighted by cluster (one figure, one seed)."""
    dataset = ShardDataset(data, split, ("backbone", "heavy", "shard"))
    store = TokenStore(tokens, data)
    groups = [g[dataset.lengths[g] <= max_length] for g in dataset.clusters()]
    groups = [g for g in groups if len(g)][:chains]
    numbers = [int(n) for g in groups for n in (g[:1] if chains else g)]
    numbers.sort(key=lambda n: dataset.lengths[n])

    def evaluate(model: MaskedDiffusion) -> dict[str, float]:
        per_cluster: dict[str, list[float]] = {}
        device = next(model.parameters()).device
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(0)
            for start in range(0, len(numbers), 8):
                chosen = numbers[start : start + 8]
                batch = read_tokens(dataset, store, chosen)
                batch = {k: torch.as_tensor(v, device=device) for k, v in batch.items()}
                nats = diffusion_bound(model, batch, maskings)
                nats = nats / (batch["tokens"] >= 0).sum(1)
                for number, value in zip(chosen, nats.tolist(), strict=True):
                    per_cluster.setdefault(dataset.rows[number]["cluster"], []).append(value)
        means = np.array([np.mean(values) for values in per_cluster.values()])
        return {
            "nats_per_token": float(means.mean()),
            "standard_error": float(means.std() / np.sqrt(len(means))),
            "clusters": len(means),
        }

    return evaluate


def train_language_model(
    config: dict,
    data: str | os.PathLike,
    tokens: str | os.PathLike,
    directory: str | os.PathLike,
    *,
    device: str = "cpu",
    time_limit: float | None = None,
    resume: bool = False,
    init_from: str | os.PathLike | None = None,
    decay: int | None = None,
    progress: bool = True,
) -> Path:
    """Train masked diffusion on tokens.

    Parameters
    ----------
    config : dict
        Sections ``model`` (`MaskedDiffusionConfig`), ``training`` (`LoopConfig`), ``data``.
    data, tokens, directory : path
        Shards; their tokens; where checkpoints, logs and the exported model go.
    time_limit, resume, init_from, decay
        As `train_tokenizer`.

    Returns
    -------
    Path
        The exported model directory.
    """
    check_names(config, {"model", "training", "data"}, "config")
    options = merge(DATA, config.get("data", {}), "data")
    loop = build(LoopConfig, config.get("training", {}), "training")
    store = TokenStore(tokens, data)
    torch.manual_seed(loop.seed)
    if init_from is None:
        sizes = {"vocabulary": store.vocabulary, **config.get("model", {})}
        model = MaskedDiffusion(build(MaskedDiffusionConfig, sizes, "model"))
    else:
        model = load_module(init_from, MaskedDiffusion)
    if model.config.vocabulary != store.vocabulary:
        raise SLMError(
            f"the model has a vocabulary of {model.config.vocabulary}, {tokens} of "
            f"{store.vocabulary}; they must agree"
        )
    prefix = tuple(options["prefix"]) if options["prefix"] else ("backbone", "heavy", "shard")
    sampler = ClusterSampler(ShardDataset(data, "train", prefix), max_length=options["max_length"])
    maskings = options["maskings"]

    def loss(network: MaskedDiffusion, batch: dict, step: int):
        present = (batch["tokens"] >= 0).sum()
        value = diffusion_bound(network, batch, maskings).sum() / present
        return value, {"residues": present, "nats_per_token": value.detach()}

    try:
        validate = bound_of_split(data, tokens, "val", chains=64)
    except ValueError:  # a user's own data may have no validation split
        validate = None

    def export(trained: MaskedDiffusion, where: Path) -> None:
        save_module(where, trained, tokenizer=store.tokenizer)

    trainer = Trainer(
        model,
        loss,
        lambda step: language_model_batch(sampler, store, options["residues"], loop.seed, step),
        validate,
        export,
        directory,
        loop,
        device,
        {"model": asdict(model.config), "data": options, "tokens": {"tokenizer": store.tokenizer}},
    )
    if resume:
        trainer.load_checkpoint()
    trainer.run(time_limit, decay, progress)
    return Path(directory) / ("decayed" if decay else "model")
