"""What the trainers of single networks share: validation chains, the loop, the export."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from ..data.shards import Entry, ShardDataset
from ..errors import StructureError
from ..networks.storage import save_module
from .loop import LoopConfig, Trainer

Validate = Callable[[torch.nn.Module], dict[str, float]]


def one_of_each_cluster(dataset: ShardDataset, residues: int) -> list[Entry]:
    """First entry of each cluster, until the entries have `residues` residues together."""
    chosen: list[Entry] = []
    filled = 0
    for group in dataset.clusters():
        if filled < residues:
            chosen.append(dataset[int(group[0])])
            filled += len(chosen[-1].sequence)
    return chosen


def if_there_is_data(make: Callable[[], Validate]) -> Validate | None:
    """The validation, or None: user data may have no validation split."""
    try:
        return make()
    except StructureError:
        return None


def train_network(
    model: torch.nn.Module,
    loss: Callable,
    make_batch: Callable[[int], dict],
    validate: Validate | None,
    directory: str | os.PathLike,
    loop: LoopConfig,
    device: str,
    settings: dict[str, dict],
    *,
    time_limit: float | None,
    resume: bool,
    decay: int | None,
    progress: bool,
    export: Callable | None = None,
) -> Path:
    """Train a network that has a ``config`` dataclass; returns the exported model directory.

    `export` writes the trained network, a module, to a directory; by default with `save_module`.

    For the arguments see `Trainer` and `openmm_slm.training.train_packer.train_packer`.
    """
    trainer = Trainer(
        model,
        loss,
        make_batch,
        validate,
        export or (lambda trained, where: save_module(where, trained)),
        directory,
        loop,
        device,
        {"model": asdict(model.config), **settings},
    )
    if resume:
        trainer.load_checkpoint()
    trainer.run(time_limit, decay, progress)
    return Path(directory) / ("decayed" if decay else "model")
