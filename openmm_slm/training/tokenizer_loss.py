"""Training loss of stage 1: a weighted ELBO, and auxiliary terms for the global fold.

    log p(x|c) >= E_q(z|x)[log p(x|z,c)] - KL(q(z|x) || uniform)

Likelihood: the four backbone atoms of a residue are compared in the local frames of all residues
within six positions in sequence. The distance r between decoded and true atom has the density
exp(-r / b) / (8 pi b^3), an isotropic Laplace distribution with scale b (``scale``, nm), and frames
are averaged. In nats per residue

    -log p = 4 (mean r / b + log(8 pi b^3)).

The loss is b / 2 times (-log p + beta KL), that is 2 mean r + beta b / 2 KL in nm, plus the
auxiliary terms, which are weighted on the same scale. ``nll``, ``kl`` and ``elbo`` (with beta = 1)
are logged.
"""

from __future__ import annotations

import math

import torch

from ..networks.rigid_frames import frames_from_backbone, full_precision, oxygen_torsion
from ..tokenizer.dvae import DVAE
from ..tokenizer.losses import (
    distogram_loss,
    frame_aligned_error,
    lddt_loss,
    local_error,
    peptide_bond_error,
)
from ..tokenizer.starts import Start

LOSS = {
    "scale": 0.05,  # nm, scale b of the likelihood
    "beta": 0.4,  # weight of the KL in the ELBO
    "beta_steps": 0,  # steps over which beta grows from 0
    "beta_usage": 0.1,  # weight of the KL of the average code usage
    "soft_steps": 600,  # first steps, with additive noise instead of rounding
    "ramp_steps": 500,  # steps over which the global terms grow from 0
    "sharpness": 1.0,  # final sharpness of the posterior
    "sharpness_steps": 0,  # steps over which it is reached
}


WARM_UP = ("beta_steps", "soft_steps", "ramp_steps")  # only for randomly initialised weights


def take_crops(values: torch.Tensor, chain: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Take crops [C, crop, ...] from padded values [B, L, ...].

    `chain` [C] is the entry of each crop and `rows` [C, crop] its residues; values at rows of -1
    are arbitrary.
    """
    return values[chain.unsqueeze(1), rows.clamp(min=0)]


def batch_codes(model: DVAE, batch: dict, step: int, options: dict):
    """Codes [B, L, n] of a batch, the encoder's part of the loss, and values to log.

    If the batch has ``tokens``, the encoder is frozen and the codes are those of the tokens.
    """
    mask, quantizer = batch["mask"], model.quantizer
    if "tokens" in batch:
        codes = quantizer.codes(batch["tokens"].clamp(min=0))
        return codes * mask.unsqueeze(-1), 0.0, {}
    quantizer.soft = step < options["soft_steps"]
    softest = model.config.sharpness
    risen = _grown(step, options["sharpness_steps"])
    quantizer.sharpness = softest + risen * (options["sharpness"] - softest)
    quantized = quantizer(model.encoder(batch["backbone"], mask, batch["index"]))
    codes = quantized.codes.new_zeros(*mask.shape, quantized.codes.shape[-1])
    codes[mask] = quantized.codes
    kl = quantized.kl.mean()
    used = torch.bincount(quantized.tokens, minlength=quantizer.size).float()
    share = used[used > 0] / used.sum()
    beta = options["beta"] * _grown(step, options["beta_steps"])
    return (
        codes,
        options["scale"] / 2 * beta * kl
        + options["beta_usage"] * quantized.usage_kl
        + quantized.auxiliary,
        {
            "kl": kl.detach(),
            "beta": beta,
            "usage_kl": quantized.usage_kl.detach(),
            "perplexity": (-(share * share.log()).sum()).exp(),
        },
    )


def tokenizer_loss(model: DVAE, batch: dict, step: int, crop: int, options: dict):
    """Loss of a batch (nm), and values to log.

    Whole chains are encoded and crops of them decoded, so that tokens mean the same in a crop as
    in the whole chain.
    """
    codes, encoder_loss, figures = batch_codes(model, batch, step, options)
    chain, rows = batch["crop_chain"], batch["crop_rows"]
    names = ("backbone", "mask", "index", "amino_acids")
    codes, true, mask, index, amino_acids = (
        take_crops(values, chain, rows) for values in (codes, *(batch[name] for name in names))
    )
    mask = mask & (rows >= 0)
    start, moving = None, mask
    if "level" in batch:
        start = Start.from_backbone(batch["start"], batch["level"].masked_fill(~mask, torch.inf))
        moving = mask & ~start.fixed
    out = model.decoder(codes, amino_acids, mask, index, start)

    with full_precision(true):
        true = torch.where(mask[..., None, None], true, _FAR.to(true.device))
        true_frames = frames_from_backbone(true)
        near_chain = local_error(out.backbones[0], out.frames[0], true, true_frames, mask)
        near = local_error(out.backbones[-1], out.frames[-1], true, true_frames, mask)
        chosen = torch.multinomial(mask.float() + 1e-9, min(32, crop))
        free = torch.rand(len(true), device=true.device) < 0.25
        clamp = torch.where(free, 4.0, 1.0)
        far = [
            frame_aligned_error(b, f, true, true_frames, mask, moving, chosen, clamp)
            for b, f in zip(out.backbones[1:], out.frames[1:], strict=True)
        ]
        bonded = mask[:, 1:] & mask[:, :-1] & (index[:, 1:] - index[:, :-1] == 1)
        bond = peptide_bond_error(out.backbones[-1], bonded)
        torsion = torch.nn.functional.normalize(out.end_torsion, dim=-1)
        turned = 1 - (torsion * oxygen_torsion(true)).sum(-1)
        turned = (turned * mask).sum() / mask.sum()
    some = chosen[:, : max(1, crop // 4)]  # rows of the pair tensor; all rows cost a third more
    picked = out.pair[torch.arange(len(mask)).unsqueeze(1), some]
    distogram = distogram_loss(model.decoder.distogram(picked), true[:, :, 1], mask, some)
    lddt = lddt_loss(out.lddt, out.backbones[-1][:, :, 1], true[:, :, 1], mask)
    ramp = _grown(step, options["ramp_steps"])
    loss = (
        4 * near_chain
        + 2 * near
        + ramp * (sum(far) / len(far) + far[-1])
        + 0.3 * distogram
        + encoder_loss
        + 0.1 * turned
        + ramp * 2 * bond
        + 0.02 * lddt
    )
    terms = {
        "near_chain": near_chain,
        "near": near,
        "fape": far[-1],
        "distogram": distogram,
        "bond": bond,
        "torsion": turned,
        "lddt": lddt,
    }
    terms = {name: value.detach() for name, value in terms.items()}
    terms["nll"] = negative_log_likelihood(terms["near"], options["scale"])
    if "kl" in figures:
        terms["elbo"] = -terms["nll"] - figures["kl"]
    return loss, {"residues": mask.sum(), **terms, **figures}


def negative_log_likelihood(distance: torch.Tensor, scale: float) -> torch.Tensor:
    """Nats per residue for a mean distance (nm) between decoded and true atoms."""
    return 4 * (distance / scale + math.log(8 * math.pi * scale**3))


def _grown(step: int, steps: int) -> float:
    """Linear ramp from 0 at step 0 to 1 at `steps`."""
    return min(1.0, step / steps) if steps else 1.0


# Coordinates given to absent residues: any finite, non-degenerate frame.
_FAR = torch.tensor([[-0.05, 0.13, 0.0], [0.0, 0.0, 0.0], [0.15, 0.0, 0.0], [0.2, 0.1, 0.0]])
