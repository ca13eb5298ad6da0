"""Stage 1: train the dVAE."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from ..frames import frames_from_backbone, full_precision, oxygen_torsion
from ..models.storage import load_network, load_weights, save_network
from ..tokenizer.dvae import DVAE, DVAEConfig
from ..tokenizer.losses import (
    distogram_loss,
    frame_aligned_error,
    local_error,
    peptide_bond_error,
)
from .batches import ClusterSampler, pad_entries, tokenizer_batch
from .loop import LoopConfig, Trainer
from .reconstruction import validation_metrics
from .shards import ShardDataset

KIND = "dvae"
DEFAULTS = {
    "model": {},
    "training": {},
    "data": {"residues": 1536, "crop": 64, "max_length": 512, "prefix": None},
    "loss": {"beta": 0.01, "beta_usage": 0.1, "soft_steps": 600, "ramp_steps": 500},
    "freeze_encoder": False,
}


def take_crops(values: torch.Tensor, chain: torch.Tensor, start: torch.Tensor, crop: int):
    """Crops [C, crop, ...] of padded [B, L, ...]; rows beyond L repeat the last one."""
    rows = (start.unsqueeze(1) + torch.arange(crop, device=start.device)).clamp(
        max=values.shape[1] - 1
    )
    return values[chain.unsqueeze(1), rows]


def tokenizer_loss(model: DVAE, batch: dict, step: int, crop: int, options: dict):
    """Negative ELBO of a batch up to constants, with the auxiliary terms; and its parts.

    Whole chains are encoded, crops of them decoded, so that a token means the same in a crop as
    in its chain. Distances enter in nm.
    """
    frozen = options["frozen"]
    encoder, quantizer = model.encoder, model.quantizer
    quantizer.soft = not frozen and step < options["soft_steps"]
    with torch.set_grad_enabled(not frozen):
        quantizer.train(not frozen)
        encoded = encoder(batch["backbone"], batch["mask"], batch["index"])
        quantized = quantizer(encoded)
    codes = encoded.new_zeros(*batch["mask"].shape, encoded.shape[-1])
    codes[batch["mask"]] = quantized.codes

    chain, start = batch["crop_chain"], batch["crop_start"]
    codes, true, mask, index, amino_acids = (
        take_crops(values, chain, start, crop)
        for values in (
            codes, batch["backbone"], batch["mask"], batch["index"], batch["amino_acids"]
        )
    )
    rows = start.unsqueeze(1) + torch.arange(crop, device=start.device)
    mask = mask & (rows < batch["mask"].shape[1])
    out = model.decoder(codes, amino_acids, mask, index)

    with full_precision(true):
        true = torch.where(mask[..., None, None], true, _FAR.to(true.device))
        true_frames = frames_from_backbone(true)
        near_chain = local_error(out.backbones[0], out.frames[0], true, true_frames, mask)
        near = local_error(out.backbones[-1], out.frames[-1], true, true_frames, mask)
        chosen = torch.multinomial(mask.float() + 1e-9, min(32, crop))
        free = torch.rand(len(true), device=true.device) < 0.25
        clamp = torch.where(free, 4.0, 1.0)
        far = [
            frame_aligned_error(b, f, true, true_frames, mask, chosen, clamp)
            for b, f in zip(out.backbones[1:], out.frames[1:], strict=True)
        ]
        bonded = mask[:, 1:] & mask[:, :-1] & (index[:, 1:] - index[:, :-1] == 1)
        bond = peptide_bond_error(out.backbones[-1], bonded)
        torsion = torch.nn.functional.normalize(out.end_torsion, dim=-1)
        turned = 1 - (torsion * oxygen_torsion(true)).sum(-1)
        turned = (turned * mask).sum() / mask.sum()
    distogram = distogram_loss(out.distogram, true[:, :, 1], mask)
    kl = quantized.kl.mean()
    ramp = min(1.0, step / options["ramp_steps"])
    loss = (
        4 * near_chain
        + 2 * near
        + ramp * (sum(far) / len(far) + far[-1])
        + 0.3 * distogram
        + options["beta"] * kl
        + options["beta_usage"] * quantized.usage_kl
        + 0.1 * turned
        + ramp * 2 * bond
    )
    used = torch.bincount(quantized.tokens, minlength=quantizer.size).float()
    share = used[used > 0] / used.sum()
    return loss, {
        "residues": mask.sum(),
        "near_chain": near_chain,
        "near": near,
        "fape": far[-1],
        "distogram": distogram,
        "kl": kl,
        "usage_kl": quantized.usage_kl,
        "bond": bond,
        "torsion": turned,
        "perplexity": (-(share * share.log()).sum()).exp(),
    }


# Coordinates of absent residues: any finite, non-degenerate frame.
_FAR = torch.tensor([[-0.05, 0.13, 0.0], [0.0, 0.0, 0.0], [0.15, 0.0, 0.0], [0.2, 0.1, 0.0]])


def calibrate(model: DVAE, sampler: ClusterSampler, chains: int = 400, seed: int = 0) -> None:
    """Set the quantizer's statistics with the final encoder over `chains` random chains."""
    rng = np.random.default_rng([seed, 7])
    stream, outputs = sampler.entries(rng), []
    with torch.no_grad():
        for _ in range(-(-chains // 8)):
            batch = pad_entries([next(stream) for _ in range(8)])
            batch = {k: torch.as_tensor(v) for k, v in batch.items()}
            outputs.append(model.encoder(batch["backbone"], batch["mask"], batch["index"]))
    model.quantizer.calibrate(torch.cat(outputs))


def save_tokenizer(model: DVAE, directory: str | os.PathLike) -> None:
    """Write the dVAE as a model directory."""
    save_network(directory, KIND, model.config.as_dict(), model.state_dict())


def train_tokenizer(
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
    """Train the dVAE on the ``train`` split of a shard directory.

    Parameters
    ----------
    config : dict
        Sections ``model`` (`DVAEConfig`), ``training`` (`LoopConfig`), ``data``, ``loss``;
        ``freeze_encoder`` trains the decoder alone on the posterior samples of a fixed encoder.
    data, directory : path
        Shards; where checkpoints, logs and the exported model go.
    time_limit : float, optional
        Seconds.
    resume : bool
        Continue the checkpoint in `directory`.
    init_from : path, optional
        Model directory whose weights to start from.
    decay : int, optional
        Anneal to zero over this many steps and export to ``decayed/``.

    Returns
    -------
    Path
        The exported model directory.
    """
    options = {key: {**DEFAULTS[key], **config.get(key, {})} for key in ("data", "loss")}
    loss_options = {**options["loss"], "frozen": bool(config.get("freeze_encoder", False))}
    torch.manual_seed(config.get("training", {}).get("seed", 0))
    model = DVAE(DVAEConfig.from_dict(config.get("model", {})))
    if init_from is not None:
        values, state = load_network(init_from, KIND)
        model = DVAE(DVAEConfig.from_dict(values))
        load_weights(model, state, init_from)
    if loss_options["frozen"]:
        model.encoder.requires_grad_(False)
    chosen = options["data"]
    prefix = tuple(chosen["prefix"]) if chosen["prefix"] else ("backbone", "heavy", "shard")
    loop = LoopConfig.from_dict(config.get("training", {}))
    sampler = ClusterSampler(
        ShardDataset(data, "train", prefix), max_length=chosen["max_length"]
    )
    crop = chosen["crop"]

    def export(trained: DVAE, where: Path) -> None:
        if not loss_options["frozen"]:
            calibrate(trained, sampler)
        save_tokenizer(trained, where)

    trainer = Trainer(
        model,
        lambda m, batch, step: tokenizer_loss(m, batch, step, crop, loss_options),
        lambda step: tokenizer_batch(sampler, chosen["residues"], crop, loop.seed, step),
        validation_metrics(data),
        export,
        directory,
        loop,
        device,
    )
    if resume:
        trainer.load_checkpoint()
    trainer.run(time_limit, decay, progress)
    return Path(directory) / ("decayed" if decay else "model")
