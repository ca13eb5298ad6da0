"""Train the network that builds backbones from CA traces."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ..allatom.backmapping_network import (
    BackmappingConfig,
    BackmappingNetwork,
    find_peptides,
    to_space,
)
from ..data.padding import pad_entries
from ..data.shards import ShardDataset
from ..files.json_settings import build, check_names, merge
from ..networks.storage import load_module
from .batches import ClusterSampler
from .loop import LoopConfig
from .network_training import if_there_is_data, one_of_each_cluster, train_network

DATA = {"residues": 2048, "max_length": 512, "prefix": None, "noised": 0.5, "noise_nm": 0.035}


def backmapping_loss(model: BackmappingNetwork, batch: dict, options: dict):
    """Mean distance (nm) of C, O and N from their true positions, and values to log.

    In a share ``noised`` of the chains the CA are displaced by up to ``noise_nm`` (root mean
    square), as those of coarse-grained models are.
    """
    backbone, mask = batch["backbone"], batch["mask"]
    rms = torch.rand(len(mask), 1, 1) * options["noise_nm"] / 3**0.5
    rms = rms * (torch.rand(len(mask), 1, 1) < options["noised"])
    ca = backbone[:, :, 1] + rms.to(backbone) * torch.randn_like(backbone[:, :, 1])
    off = _distances(model, ca, batch)
    return off.mean(), {"residues": mask.sum(), "oxygen": off[:, 1].detach().mean()}


def _distances(model: BackmappingNetwork, ca: torch.Tensor, batch: dict) -> torch.Tensor:
    """Distances [P, 3] of C, O and N from the truth, nm."""
    peptides = find_peptides(
        ca, batch["amino_acids"], batch["mask"], batch["index"], model.config.near
    )
    row, first = peptides.where
    backbone = batch["backbone"]
    true = torch.stack(
        [backbone[row, first, 2], backbone[row, first, 3], backbone[row, first + 1, 0]], 1
    )
    return (to_space(peptides, model(peptides)) - true).norm(dim=-1)


def validation(dataset: ShardDataset, residues: int = 20_000) -> Callable:
    """Function that measures a network on one chain per cluster, up to `residues` residues.

    It returns root mean square distances in nm, from exact CA.
    """
    chosen = one_of_each_cluster(dataset, residues)
    batches = [pad_entries(chosen[i : i + 8]) for i in range(0, len(chosen), 8)]

    def evaluate(model: BackmappingNetwork) -> dict[str, float]:
        device = next(model.parameters()).device
        parts = []
        for arrays in batches:
            batch = {k: torch.as_tensor(v, device=device) for k, v in arrays.items()}
            parts.append(_distances(model, batch["backbone"][:, :, 1], batch))
        rms = torch.cat(parts).square().mean(0).sqrt().tolist()
        return dict(zip(("C", "O", "N"), rms, strict=True))

    return evaluate


def train_backmapping(
    config: dict,
    data: str | os.PathLike,
    directory: str | os.PathLike,
    *,
    device: str = "cpu",
    time_limit: float | None = None,
    resume: bool = False,
    init_from: str | os.PathLike | None = None,
    decay: int | None = None,
    progress: bool = True,
) -> Path:
    """Train the network that builds backbones from CA traces (see `train_packer`).

    The config has the sections ``model`` (`BackmappingConfig`), ``training`` (`LoopConfig`) and
    ``data``.
    """
    check_names(config, {"model", "training", "data"}, "config")
    chosen = merge(DATA, config.get("data", {}), "data")
    loop = build(LoopConfig, config.get("training", {}), "training")
    prefix = tuple(chosen["prefix"] or ("backbone", "heavy", "shard"))
    sampler = ClusterSampler(ShardDataset(data, "train", prefix), max_length=chosen["max_length"])
    torch.manual_seed(loop.seed)
    if init_from is None:
        model = BackmappingNetwork(build(BackmappingConfig, config.get("model", {}), "model"))
    else:
        model = load_module(init_from, BackmappingNetwork)
    validate = if_there_is_data(lambda: validation(ShardDataset(data, "val", prefix)))

    def batch(step: int) -> dict[str, np.ndarray]:
        rng, entries, filled = np.random.default_rng([loop.seed, step]), [], 0
        while filled < chosen["residues"]:
            entries.append(sampler.dataset[sampler.number(rng)])
            filled += len(entries[-1].sequence)
        return pad_entries(entries)

    return train_network(
        model,
        lambda m, arrays, step: backmapping_loss(m, arrays, chosen),
        batch,
        validate,
        directory,
        loop,
        device,
        {"data": chosen},
        time_limit=time_limit,
        resume=resume,
        decay=decay,
        progress=progress,
    )
