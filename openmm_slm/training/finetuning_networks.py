"""The two networks that `finetune` trains: the language model and the springs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn

from ..data.shards import ShardDataset
from ..data.tokens import TokenStore
from ..errors import ModelError, SLMError
from ..language.families import FAMILIES, family_of
from ..models.registry import find_part
from ..motions.spring_network import SpringNetwork
from ..motions.springs import unconnected
from ..networks.storage import load_module, read_config, save_module, tokenizer_fingerprint
from ..tokenizer.dvae import DVAE
from .early_stopping import BEST, HELD_BACK, StoppingTrainer
from .finetuning_settings import FinetuningSettings
from .loop import LoopConfig
from .md_contexts import MDBatches
from .md_frames import HELD, TRAIN, MDFrames
from .md_motions import LOSS, MDMotions
from .structure_losses import hidden_nats, pooled
from .train_motions import motion_loss

_FAMILIES = ("t5", "gpt", "diffusion")
_RESIDUES = 512  # of a batch
_MASKINGS = 4  # of masked diffusion
CHECKPOINT_MINUTES = 1.0
_ENDLESS = 1_000_000  # steps


@dataclass(frozen=True)
class Tuned:
    """A network after training.

    Attributes
    ----------
    directory : Path
        The best weights, or those of the start.
    figures : dict of float
        Held-back loss of the ``start`` and of the ``best`` weights, the ``step`` of the best, and
        the ``steps`` and ``minutes`` of training; empty if it was not trained.
    """

    directory: Path
    figures: dict[str, float]


def check_family(model: str | os.PathLike) -> str:
    """Family of a model that can be tuned.

    Raises
    ------
    ModelError
        Its family, its tokenizer or a condition rules it out.
    """
    found = read_config(find_part(model, "language_model"))
    family = family_of(found.get("kind"))
    tokenizer = read_config(find_part(model, "tokenizer")).get("kind")
    if family not in _FAMILIES or tokenizer != DVAE.kind:
        raise ModelError(
            f"model {str(model)!r} is of the family {family}, with the tokenizer {tokenizer}; "
            f"fine-tuning takes {', '.join(_FAMILIES)} with {DVAE.kind} (the default model, say), "
            "other families are tuned with `openmm-slm train lm`"
        )
    if found["config"].get("condition"):
        raise ModelError(
            f"model {str(model)!r} has a condition, which frames of a simulation lack; start from "
            "a model without"
        )
    return family


def tune_language_model(
    model: str | os.PathLike,
    work: Path,
    chosen: FinetuningSettings,
    *,
    seconds: float,
    device: str,
    progress: bool,
) -> Tuned:
    """Tune the language model of a model to the frames in ``work/frames``."""
    where, part = work / "language_model", find_part(model, "language_model")
    network = load_module(part, FAMILIES[check_family(model)].network)
    told = bool(getattr(network.config, "structure", 0))
    encoder = load_module(find_part(model, "tokenizer"), DVAE).to(device).eval()
    store = TokenStore(work / "tokens", work / "frames")
    batches = MDBatches(ShardDataset(work / "frames", TRAIN), store, _RESIDUES, chosen.seed)
    fixed = batches.fixed(ShardDataset(work / "frames", HELD))

    def loss(trained: nn.Module, batch: dict, step: int) -> tuple[torch.Tensor, dict]:
        nats, count = hidden_nats(trained, batch, encoder.tokenize, _MASKINGS, told)
        return pooled(nats, count), {"residues": batch["mask"].sum()}

    def validate(trained: nn.Module) -> dict[str, float]:
        total = tokens = 0.0
        with torch.random.fork_rng():
            torch.manual_seed(0)
            for batch in fixed:
                moved = {name: values.to(device) for name, values in batch.items()}
                nats, count = hidden_nats(trained, moved, encoder.tokenize, _MASKINGS, told)
                total, tokens = total + float(nats.sum()), tokens + float(count.sum())
        return {HELD_BACK: total / max(1.0, tokens)}

    extra = {
        "tokenizer": tokenizer_fingerprint(find_part(model, "tokenizer")),
        "no_sequence": read_config(part).get("no_sequence", 0.0),
    }
    loop = LoopConfig(
        steps=chosen.steps or _ENDLESS, learning_rate=chosen.learning_rate, warmup=10, ema=0.98,
        seed=chosen.seed, bf16=False, log_every=10, validate_every=25,
        checkpoint_minutes=CHECKPOINT_MINUTES,
    )  # fmt: skip
    return _run(network, loss, batches.batch, validate, extra, where, loop, chosen,
                device, seconds, progress)  # fmt: skip


def tune_motions(
    frames: MDFrames,
    model: str | os.PathLike,
    where: Path,
    chosen: FinetuningSettings,
    *,
    seconds: float,
    device: str,
    progress: bool,
) -> Tuned:
    """Tune the springs of a model; those of the start if parts of the protein touch nowhere."""
    part = find_part(model, "motions")
    together = (unconnected(backbone[:, 1].astype(np.float64)) for backbone in frames.train)
    if any(piece.any() for piece in together):
        return Tuned(part, {})
    data = MDMotions(frames, chosen.seed)
    loop = LoopConfig(
        steps=chosen.steps or _ENDLESS, learning_rate=5e-4, warmup=10, ema=0.95, seed=chosen.seed,
        bf16=False, log_every=10, validate_every=25, checkpoint_minutes=CHECKPOINT_MINUTES,
    )  # fmt: skip
    network = load_module(part, SpringNetwork)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    if network.crystal_network is not None:  # simulations say nothing about crystals
        network.crystal_network.requires_grad_(False)
    # These springs know the motion in these simulations best; `near` is fitted after training.
    return _run(
        network,
        lambda trained, batch, step: motion_loss(trained, batch, LOSS),
        data.batch,
        data.validation(LOSS),
        {"near": 1.0, "learned_share": 1.0},
        where, loop, chosen, device, seconds, progress,
    )  # fmt: skip


def _run(
    network: nn.Module,
    loss: Callable,
    make_batch: Callable,
    validate: Callable,
    extra: dict[str, Any],
    where: Path,
    loop: LoopConfig,
    chosen: FinetuningSettings,
    device: str,
    seconds: float,
    progress: bool,
) -> Tuned:
    """Train until it is done, or for what is left of the time; at least one step."""
    trainer = StoppingTrainer(
        network, loss, make_batch, validate,
        lambda trained, out: save_module(out, trained, **extra),
        where, loop, device, {"model": asdict(network.config)}, patience=chosen.patience,
    )  # fmt: skip
    if (where / "checkpoint.safetensors").exists():
        trainer.load_checkpoint()
    finished = where / "model"  # exported last
    if not finished.exists():
        shown = progress and chosen.steps is not None  # else the bar has no end
        trainer.run(max(0.0, seconds - trainer.seconds), progress=shown)
    if not finished.exists():
        raise SLMError(f"{where.parent.parent}: stopped; repeat the command to continue")
    best = trainer.best()
    figures = {
        "start": trainer.start()[HELD_BACK], "best": best[HELD_BACK], "step": best["step"],
        "steps": trainer.step, "minutes": trainer.seconds / 60,
    }  # fmt: skip
    return Tuned(where / BEST, figures)
