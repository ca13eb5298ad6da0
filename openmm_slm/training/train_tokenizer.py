"""Stage 1: train the dVAE."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from ..configuration import build, check_names, merge
from ..errors import ModelError
from ..frames import frames_from_backbone, full_precision, oxygen_torsion
from ..models.storage import load_module, save_module, tokenizer_fingerprint
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
from .tokens import TokenStore

DATA = {"residues": 1536, "crop": 64, "max_length": 512, "prefix": None}
LOSS = {"beta": 0.01, "beta_usage": 0.1, "soft_steps": 600, "ramp_steps": 500}


def take_crops(values: torch.Tensor, chain: torch.Tensor, start: torch.Tensor, crop: int):
    """Crops [C, crop, ...] of padded [B, L, ...]; rows beyond L repeat the last one."""
    rows = (start.unsqueeze(1) + torch.arange(crop, device=start.device)).clamp(
        max=values.shape[1] - 1
    )
    return values[chain.unsqueeze(1), rows]


def batch_codes(model: DVAE, batch: dict, step: int, options: dict):
    """Codes [B, L, n] of a batch, the encoder's part of the loss, and its figures.

    With ``tokens`` in the batch the encoder is frozen and its work is done already.
    """
    mask, quantizer = batch["mask"], model.quantizer
    if "tokens" in batch:
        codes = quantizer.codes(batch["tokens"].clamp(min=0))
        return codes * mask.unsqueeze(-1), 0.0, {}
    quantizer.soft = step < options["soft_steps"]
    quantized = quantizer(model.encoder(batch["backbone"], mask, batch["index"]))
    codes = quantized.codes.new_zeros(*mask.shape, quantized.codes.shape[-1])
    codes[mask] = quantized.codes
    kl = quantized.kl.mean()
    used = torch.bincount(quantized.tokens, minlength=quantizer.size).float()
    share = used[used > 0] / used.sum()
    return (
        codes,
        options["beta"] * kl + options["beta_usage"] * quantized.usage_kl,
        {
            "kl": kl.detach(),
            "usage_kl": quantized.usage_kl.detach(),
            "perplexity": (-(share * share.log()).sum()).exp(),
        },
    )


def tokenizer_loss(model: DVAE, batch: dict, step: int, crop: int, options: dict):
    """Negative ELBO of a batch up to constants, with the auxiliary terms; and its parts.

    Whole chains are encoded, crops of them decoded, so that a token means the same in a crop as
    in its chain. Distances enter in nm.
    """
    codes, encoder_loss, figures = batch_codes(model, batch, step, options)
    chain, start = batch["crop_chain"], batch["crop_start"]
    codes, true, mask, index, amino_acids = (
        take_crops(values, chain, start, crop)
        for values in (
            codes,
            batch["backbone"],
            batch["mask"],
            batch["index"],
            batch["amino_acids"],
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
    ramp = min(1.0, step / options["ramp_steps"])
    loss = (
        4 * near_chain
        + 2 * near
        + ramp * (sum(far) / len(far) + far[-1])
        + 0.3 * distogram
        + encoder_loss
        + 0.1 * turned
        + ramp * 2 * bond
    )
    terms = {
        "near_chain": near_chain,
        "near": near,
        "fape": far[-1],
        "distogram": distogram,
        "bond": bond,
        "torsion": turned,
    }
    terms = {name: value.detach() for name, value in terms.items()}
    return loss, {"residues": mask.sum(), **terms, **figures}


# Coordinates of absent residues: any finite, non-degenerate frame.
_FAR = torch.tensor([[-0.05, 0.13, 0.0], [0.0, 0.0, 0.0], [0.15, 0.0, 0.0], [0.2, 0.1, 0.0]])


def calibrate(model: DVAE, sampler: ClusterSampler, chains: int = 400, seed: int = 0) -> None:
    """Set the quantizer's statistics with the final encoder over `chains` random chains."""
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
        Sections ``model`` (`DVAEConfig`), ``training`` (`LoopConfig`), ``data``, ``loss``.
    data, directory : path
        Shards; where checkpoints, logs and the exported model go.
    tokens : path, optional
        Tokens that `init_from` gave these shards: the encoder stays as it is and the decoder
        trains alone, so that language models trained on the tokens stay right.
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
    check_names(config, {"model", "training", "data", "loss"}, "config")
    chosen = merge(DATA, config.get("data", {}), "data")
    weights = merge(LOSS, config.get("loss", {}), "loss")
    loop = build(LoopConfig, config.get("training", {}), "training")
    torch.manual_seed(loop.seed)
    if init_from is None:
        model = DVAE(build(DVAEConfig, config.get("model", {}), "model"))
    else:
        model = load_module(init_from, DVAE)
    store = None
    if tokens is not None:
        store = TokenStore(tokens, data)
        if init_from is None or tokenizer_fingerprint(init_from) != store.tokenizer:
            raise ModelError(
                f"{tokens} holds tokens of tokenizer {store.tokenizer}; give that one as init_from"
            )
        model.encoder.requires_grad_(False)
    prefix = tuple(chosen["prefix"]) if chosen["prefix"] else ("backbone", "heavy", "shard")
    sampler = ClusterSampler(ShardDataset(data, "train", prefix), max_length=chosen["max_length"])
    crop = chosen["crop"]

    def export(trained: DVAE, where: Path) -> None:
        if store is None:
            calibrate(trained, sampler)
        save_tokenizer(trained, where)

    trainer = Trainer(
        model,
        lambda m, batch, step: tokenizer_loss(m, batch, step, crop, weights),
        lambda step: tokenizer_batch(sampler, chosen["residues"], crop, loop.seed, step, store),
        validation_metrics(data),
        export,
        directory,
        loop,
        device,
        {"model": asdict(model.config), "data": chosen, "loss": weights},
    )
    if resume:
        trainer.load_checkpoint()
    trainer.run(time_limit, decay, progress)
    return Path(directory) / ("decayed" if decay else "model")
