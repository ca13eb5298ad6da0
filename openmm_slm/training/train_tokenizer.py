"""Stage 1: train the dVAE."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from ..data.padding import pad_entries
from ..data.shards import ShardDataset
from ..data.tokens import TokenStore
from ..errors import ModelError
from ..files.json_settings import build, check_names, merge
from ..networks.storage import load_module, save_module, tokenizer_fingerprint
from ..tokenizer.dvae import DVAE, DVAEConfig
from .batches import ClusterSampler, tokenizer_batch
from .deepening import deepened
from .loop import LoopConfig, Trainer
from .reconstruction import validation_metrics
from .starts import StartConfig
from .tokenizer_loss import LOSS, WARM_UP, tokenizer_loss

DATA = {"residues": 1536, "crop": 64, "max_length": 512, "complexes": 0.0, "prefix": None}


def calibrate(model: DVAE, sampler: ClusterSampler, chains: int = 400, seed: int = 0) -> None:
    """Set the quantizer's statistics from the trained encoder on `chains` random chains."""
    rng = np.random.default_rng([seed, 7])
    device = next(model.parameters()).device
    outputs = []
    with torch.no_grad():
        for _ in range(-(-chains // 8)):
            batch = pad_entries([sampler.dataset[sampler.number(rng)] for _ in range(8)])
            backbone, mask, index = (
                torch.as_tensor(batch[name], device=device)
                for name in ("backbone", "mask", "index")
            )
            outputs.append(model.encoder(backbone, mask, index))
    model.quantizer.calibrate(torch.cat(outputs))


def save_tokenizer(model: DVAE, directory: str | os.PathLike) -> None:
    """Write the dVAE as a model directory."""
    model.config = replace(model.config, sharpness=model.quantizer.sharpness)
    save_module(directory, model)


def train_tokenizer(
    config: dict,
    data: str | os.PathLike,
    directory: str | os.PathLike,
    *,
    tokens: str | os.PathLike | None = None,
    device: str = "cpu",
    time_limit: float | None = None,
    resume: bool = False,
    init_from: str | os.PathLike | None = None,
    decay: int | None = None,
    progress: bool = True,
) -> Path:
    """Train the dVAE on the ``train`` split of a shard directory.

    Parameters
    ----------
    config : dict
        Sections ``model`` (`DVAEConfig`), ``training`` (`LoopConfig`), ``data``, ``loss`` and
        ``starts`` (`StartConfig`; without it the decoder gets no starting frames). The list
        ``trained`` holds prefixes of weight names; all other weights are frozen.
    data : path
        Shard directory.
    directory : path
        Folder to write: checkpoints, logs and the exported model.
    tokens : path, optional
        Tokens of `data` made by `init_from`. The encoder is then frozen and only the decoder is
        trained, so that language models trained on the tokens remain usable.
    device : str
    time_limit : float, optional
        Seconds after which training stops.
    resume : bool
        Continue from the checkpoint in `directory`.
    init_from : path, optional
        Model directory with the initial weights. Layer sizes are those of that model, except that
        a larger ``decoder_layers`` in section ``model`` makes the decoder deeper.
    decay : int, optional
        Anneal the learning rate to zero over this many steps and export to ``decayed/``.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Path
        The exported model directory.
    """
    check_names(config, {"model", "training", "data", "loss", "starts", "trained"}, "config")
    starts = build(StartConfig, config["starts"], "starts") if "starts" in config else None
    chosen = merge(DATA, config.get("data", {}), "data")
    weights = merge(LOSS, config.get("loss", {}), "loss")
    loop = build(LoopConfig, config.get("training", {}), "training")
    torch.manual_seed(loop.seed)
    if init_from is None:
        model = DVAE(build(DVAEConfig, config.get("model", {}), "model"))
    else:
        model = load_module(init_from, DVAE)
        layers = config.get("model", {}).get("decoder_layers", model.config.decoder_layers)
        if layers > model.config.decoder_layers:
            model = deepened(model, layers)
        weights |= {name: 0 for name in WARM_UP}  # a trained model needs no warm-up
    store = None
    if tokens is not None:
        store = TokenStore(tokens, data)
        if init_from is None or tokenizer_fingerprint(init_from) != store.tokenizer:
            raise ModelError(
                f"{tokens} has tokens of tokenizer {store.tokenizer}; give that tokenizer as "
                "init_from"
            )
        model.encoder.requires_grad_(False)
        model.quantizer.requires_grad_(False)  # some quantizers have learned code vectors
    if "trained" in config:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith(tuple(config["trained"])))
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ModelError(
                f"trained is {config['trained']!r}: no weights have such names; use names that "
                "start with 'encoder.' or 'decoder.'"
            )
    encoder = (parameter.requires_grad for parameter in model.encoder.parameters())
    model.quantizer.frozen = not any(encoder)
    prefix = tuple(chosen["prefix"] or ("backbone", "heavy", "shard", "complex"))
    sampler = ClusterSampler(
        ShardDataset(data, "train", prefix),
        max_length=chosen["max_length"],
        complexes=chosen["complexes"],
    )
    crop = chosen["crop"]

    def export(trained: DVAE, where: Path) -> None:
        if not trained.quantizer.frozen:
            calibrate(trained, sampler)
        save_tokenizer(trained, where)

    trainer = Trainer(
        model,
        lambda m, batch, step: tokenizer_loss(m, batch, step, crop, weights),
        lambda step: tokenizer_batch(
            sampler, chosen["residues"], crop, loop.seed, step, store, starts
        ),
        validation_metrics(data),
        export,
        directory,
        loop,
        device,
        {
            "model": asdict(model.config),
            "data": chosen,
            "loss": weights,
            "starts": asdict(starts) if starts else {},
        },
    )
    if resume:
        trainer.load_checkpoint()
    trainer.run(time_limit, decay, progress)
    return Path(directory) / ("decayed" if decay else "model")
