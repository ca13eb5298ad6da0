"""Stage 2: train a structure language model on the tokens of a frozen tokenizer."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn as nn

from ..data.embeddings import EmbeddingStore
from ..data.shards import ShardDataset
from ..data.tokens import TokenStore
from ..errors import SLMError
from ..files.json_settings import build, check_names, merge
from ..language.families import FAMILIES, family_of
from ..networks.storage import LARGE_SHARD_BYTES, SHARD_BYTES, read_config, save_network
from .batches import ClusterSampler
from .fine_tuning import FineTuning, merged_state, prepare_network
from .language_losses import TERMS
from .language_nats import entries_of_clusters, mean_and_error, nats_of_entries
from .loop import LoopConfig, Trainer
from .token_batches import language_model_batch
from .warm_start import starting_network

LARGE = 10**8  # networks with more parameters are stored in large shards

DATA = {
    "residues": 2048,
    "max_length": 512,
    "chains": None,  # chains per batch, instead of `residues`
    "crop": None,  # longer chains are cropped to this many residues
    "prefix": None,
    "posterior": [],  # further tokens of the same data, drawn from the posterior (directories)
    "conformers": 0.0,  # share of draws from sequences with several entries
    "no_sequence": 0.0,  # share of chains with a hidden sequence, for guidance
    "maskings": 4,  # maskings per chain, for masked diffusion
    "infilling": 0.25,  # share of rows in which spans are masked, as with a template
    "sequence_weight": 1.0,  # weight of nats per amino acid relative to nats per token, for gpt
}


def nats_of_split(
    data: str | os.PathLike,
    tokens: str | os.PathLike,
    split: str,
    clusters: int | None = None,
    embeddings: EmbeddingStore | None = None,
) -> Callable[[nn.Module], dict[str, float]]:
    """Function that evaluates a network: nats per token of a split, each cluster weighted equally.

    The seed is fixed.
    """
    dataset = ShardDataset(data, split, ("backbone", "heavy", "shard"))
    store = TokenStore(tokens, data)
    numbers = entries_of_clusters(dataset, clusters)

    def evaluate(network: nn.Module) -> dict[str, float]:
        nats = nats_of_entries(network, dataset, store, numbers, embeddings=embeddings)
        mean, error = mean_and_error(nats.pop("token"))
        others = {f"nats_per_{name}": mean_and_error(values)[0] for name, values in nats.items()}
        return {"nats_per_token": mean, "standard_error": error, **others}

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
    family: str | None = None,
    embeddings: str | os.PathLike | None = None,
    progress: bool = True,
) -> Path:
    """Train a language model on tokens.

    Parameters
    ----------
    config : dict
        Sections ``model`` (the `config_class` of the family's network), ``training``
        (`LoopConfig`), ``data`` and ``fine_tuning`` (`FineTuning`). ``family`` is a name in
        `FAMILIES`.
    data : path
        Shard directory.
    tokens : path
        Tokens of `data`.
    directory : path
        Folder to write: checkpoints, logs and the exported model.
    time_limit, resume, init_from, decay
        As in `train_tokenizer`. `init_from` may be of another family (see `starting_network`).
    family : str, optional
        Overrides the config. Default: the family of `init_from`, else ``"diffusion"``.
    embeddings : path, optional
        Embeddings of `data` (see `openmm_slm.data.embeddings`), used as a condition of
        ``model.condition`` numbers per residue.

    Returns
    -------
    Path
        The exported model directory.
    """
    check_names(config, {"family", "model", "training", "data", "fine_tuning"}, "config")
    options = merge(DATA, config.get("data", {}), "data")
    loop = build(LoopConfig, config.get("training", {}), "training")
    tuning = build(FineTuning, config.get("fine_tuning", {}), "fine_tuning")
    store = TokenStore(tokens, data)
    family = family or config.get("family")
    if family is None:
        kind = None if init_from is None else read_config(init_from).get("kind")
        family = family_of(kind) or "diffusion"
    trainable = [name for name, each in FAMILIES.items() if each.network.kind in TERMS]
    if family not in trainable:
        raise SLMError(f"family is {family!r}; choose one of {', '.join(trainable)}")
    told = None if embeddings is None else EmbeddingStore(embeddings, data)
    torch.manual_seed(loop.seed)
    model = starting_network(family, config.get("model", {}), store.vocabulary, init_from)
    _check_embeddings(model, told, init_from)
    if model.config.vocabulary != store.vocabulary:
        raise SLMError(
            f"the model has a vocabulary of {model.config.vocabulary}, but {tokens} of "
            f"{store.vocabulary}; they must agree"
        )
    prepare_network(model, tuning)
    prefix = tuple(options["prefix"]) if options["prefix"] else ("backbone", "heavy", "shard")
    sampler = ClusterSampler(
        ShardDataset(data, "train", prefix),
        max_length=options["max_length"],
        conformers=options["conformers"],
    )
    stores = [store, *(TokenStore(each, data) for each in options["posterior"])]
    for each in stores:
        if each.tokenizer != store.tokenizer:
            raise SLMError(
                f"{each.directory} and {tokens} have tokens of different tokenizers; tokenize with "
                "one of them"
            )
    weights = {"token": 1.0, "amino_acid": options["sequence_weight"]}

    def loss(network: nn.Module, batch: dict, step: int):
        terms = TERMS[network.kind](network, batch, options["maskings"], options["infilling"])
        means = {name: n.sum() / count.sum().clamp(min=1) for name, (n, count) in terms.items()}
        value = sum(weights[name] * mean for name, mean in means.items())
        logged = {f"nats_per_{name}": mean.detach() for name, mean in means.items()}
        return value, {"residues": (batch["tokens"] >= 0).sum(), **logged}

    try:
        validate = nats_of_split(data, tokens, "val", clusters=64, embeddings=told)
    except ValueError:  # user data may have no validation split
        validate = None

    def export(trained: nn.Module, where: Path) -> None:
        named = {} if told is None else {"embeddings": told.embeddings}
        state = merged_state(trained)
        large = sum(value.numel() for value in state.values()) > LARGE
        save_network(
            where,
            trained.kind,
            asdict(trained.config),
            state,
            shard_bytes=LARGE_SHARD_BYTES if large else SHARD_BYTES,
            tokenizer=store.tokenizer,
            no_sequence=options["no_sequence"],
            **named,
        )

    trainer = Trainer(
        model,
        loss,
        lambda step: language_model_batch(
            sampler,
            stores,
            options["residues"],
            loop.seed,
            step,
            options["no_sequence"],
            told,
            options["chains"],
            options["crop"],
        ),
        validate,
        export,
        directory,
        loop,
        device,
        {
            "model": asdict(model.config),
            "data": options,
            "tokens": {"tokenizer": store.tokenizer},
            "fine_tuning": asdict(tuning),
            "embeddings": {"embeddings": told and told.embeddings},
        },
    )
    if resume:
        trainer.load_checkpoint()
    trainer.run(time_limit, decay, progress)
    return Path(directory) / ("decayed" if decay else "model")


def _check_embeddings(
    model: nn.Module, told: EmbeddingStore | None, init_from: str | os.PathLike | None
) -> None:
    """Raise SLMError if the embeddings differ from those of the model or of `init_from`."""
    size, found = model.config.condition, told and told.size
    if size != found:
        raise SLMError(
            f"model.condition is {size}, but the embeddings have {found} numbers per residue; "
            + ("give --embeddings" if told is None else f"set model.condition to {found}")
        )
    before = None if init_from is None else read_config(init_from).get("embeddings")
    if before and told and before != told.embeddings:
        raise SLMError(
            f"{init_from} was trained with embeddings of {before}, but {told.directory} has those "
            f"of {told.embeddings}; give the former, or start without --init-from"
        )
