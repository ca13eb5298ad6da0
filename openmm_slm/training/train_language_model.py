"""Stage 2: train a structure language model on the tokens of a frozen tokenizer."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn

from ..configuration import build, check_names, merge
from ..errors import SLMError
from ..language.families import FAMILIES, family_of
from ..models.storage import load_module, load_network, read_config, save_module
from .batches import ClusterSampler
from .language_losses import TERMS
from .loop import LoopConfig, Trainer
from .shards import ShardDataset
from .token_batches import language_model_batch, read_tokens
from .tokens import TokenStore

DATA = {
    "residues": 2048,
    "max_length": 512,
    "prefix": None,
    "maskings": 4,  # of each chain, for masked diffusion
    "infilling": 0.25,  # share of rows with known tokens, for t5 and gpt
    "sequence_weight": 1.0,  # of the nats per amino acid beside those per token, for gpt
}

logger = logging.getLogger(__name__)


def nats_of_split(
    data: str | os.PathLike,
    tokens: str | os.PathLike,
    split: str,
    chains: int | None = None,
    maskings: int = 8,
    max_length: int = 512,
) -> Callable[[nn.Module], dict[str, float]]:
    """Evaluation: nats per token of a split from sequence alone, weighted by cluster.

    One figure and one seed: exact for t5 and gpt, the bound for masked diffusion; gpt's nats per
    amino acid as well.
    """
    dataset = ShardDataset(data, split, ("backbone", "heavy", "shard"))
    store = TokenStore(tokens, data)
    groups = [g[dataset.lengths[g] <= max_length] for g in dataset.clusters()]
    groups = [g for g in groups if len(g)][:chains]
    numbers = [int(n) for g in groups for n in (g[:1] if chains else g)]
    numbers.sort(key=lambda n: dataset.lengths[n])

    def evaluate(network: nn.Module) -> dict[str, float]:
        per_cluster: dict[str, dict[str, list[float]]] = {}
        device = next(network.parameters()).device
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(0)
            for start in range(0, len(numbers), 8):
                chosen = numbers[start : start + 8]
                batch = read_tokens(dataset, store, chosen)
                batch = {k: torch.as_tensor(v, device=device) for k, v in batch.items()}
                terms = TERMS[network.kind](network, batch, maskings, 0.0)
                for name, (nats, count) in terms.items():
                    of_clusters = per_cluster.setdefault(name, {})
                    for number, value in zip(chosen, (nats / count).tolist(), strict=True):
                        cluster = dataset.rows[number]["cluster"]
                        of_clusters.setdefault(cluster, []).append(value)
        figures = {}
        for name, of_clusters in per_cluster.items():
            means = np.array([np.mean(values) for values in of_clusters.values()])
            figures[f"nats_per_{name}"] = float(means.mean())
            if name == "token":
                figures["standard_error"] = float(means.std() / np.sqrt(len(means)))
                figures["clusters"] = len(means)
        return figures

    return evaluate


def starting_network(
    family: str, sizes: dict, vocabulary: int, init_from: str | os.PathLike | None
) -> nn.Module:
    """A network of a family: new, as it was saved, or new with the weights of another family.

    Of a network of another family, the weights are taken whose names and shapes agree (the
    trunk).

    Raises
    ------
    SLMError
        None agree.
    """
    network = FAMILIES[family].network
    if init_from is not None and read_config(init_from).get("kind") == network.kind:
        return load_module(init_from, network)
    model = network(build(network.config_class, {"vocabulary": vocabulary, **sizes}, "model"))
    if init_from is not None:
        own = model.state_dict()
        _, state = load_network(init_from)
        state = {k: v for k, v in state.items() if k in own and v.shape == own[k].shape}
        if not state:
            raise SLMError(
                f"{init_from}: no weight has the name and shape of one of this {family} model; "
                "give the model section the sizes of that model, or leave --init-from out"
            )
        model.load_state_dict(state, strict=False)
        taken, total = (sum(v.numel() for v in s.values()) for s in (state, own))
        logger.info(
            "%d of %d arrays (%.2f of %.2f M numbers) start as those of %s",
            len(state), len(own), taken / 1e6, total / 1e6, init_from,
        )  # fmt: skip
    return model


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
    family: str | None = None,
    progress: bool = True,
) -> Path:
    """Train a language model on tokens.

    Parameters
    ----------
    config : dict
        Sections ``model`` (the `config_class` of the family's network), ``training``
        (`LoopConfig`), ``data``; ``family``, a name of `FAMILIES`.
    data, tokens, directory : path
        Shards; their tokens; where checkpoints, logs and the exported model go.
    time_limit, resume, init_from, decay
        As `train_tokenizer`; `init_from` may be of another family (see `starting_network`).
    family : str, optional
        Instead of the config's. Named by neither, it is that of `init_from`, else ``"diffusion"``.

    Returns
    -------
    Path
        The exported model directory.
    """
    check_names(config, {"family", "model", "training", "data"}, "config")
    options = merge(DATA, config.get("data", {}), "data")
    loop = build(LoopConfig, config.get("training", {}), "training")
    store = TokenStore(tokens, data)
    family = family or config.get("family")
    if family is None:
        kind = None if init_from is None else read_config(init_from).get("kind")
        family = family_of(kind) or "diffusion"
    if family not in FAMILIES:
        raise SLMError(f"family is {family!r}; choose one of {', '.join(FAMILIES)}")
    torch.manual_seed(loop.seed)
    model = starting_network(family, config.get("model", {}), store.vocabulary, init_from)
    if model.config.vocabulary != store.vocabulary:
        raise SLMError(
            f"the model has a vocabulary of {model.config.vocabulary}, {tokens} of "
            f"{store.vocabulary}; they must agree"
        )
    prefix = tuple(options["prefix"]) if options["prefix"] else ("backbone", "heavy", "shard")
    sampler = ClusterSampler(ShardDataset(data, "train", prefix), max_length=options["max_length"])
    weights = {"token": 1.0, "amino_acid": options["sequence_weight"]}

    def loss(network: nn.Module, batch: dict, step: int):
        terms = TERMS[network.kind](network, batch, options["maskings"], options["infilling"])
        means = {name: n.sum() / count.sum().clamp(min=1) for name, (n, count) in terms.items()}
        value = sum(weights[name] * mean for name, mean in means.items())
        logged = {f"nats_per_{name}": mean.detach() for name, mean in means.items()}
        return value, {"residues": (batch["tokens"] >= 0).sum(), **logged}

    try:
        validate = nats_of_split(data, tokens, "val", chains=64)
    except ValueError:  # a user's own data may have no validation split
        validate = None

    def export(trained: nn.Module, where: Path) -> None:
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
