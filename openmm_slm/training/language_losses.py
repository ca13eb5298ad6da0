"""Training losses of the families of language models, in nats."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn as nn

from ..errors import SLMError
from ..language.autoregressive import token_nats
from ..language.esm3_network import ESMDiffNetwork
from ..language.gpt import GPT
from ..language.masked_diffusion import MaskedDiffusion
from ..language.t5 import T5
from .esmdiff_loss import esmdiff_terms

#: By predicted quantity (token, amino_acid): nats of each row [B], and number of predictions [B].
Terms = dict[str, tuple[torch.Tensor, torch.Tensor]]


def given_condition(network: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor | None:
    """Condition [B, L, D] of a batch; None if the network has none.

    Raises
    ------
    SLMError
        The condition of the batch has another size than the network's, or only one of them has a
        condition.
    """
    condition, wanted = batch.get("condition"), network.config.condition
    found = None if condition is None else condition.shape[-1]
    if found != wanted:
        raise SLMError(
            f"the network has a condition of {wanted} numbers per residue, but the data have "
            f"embeddings of {found}; give the embeddings of its training (--embeddings), or none "
            "if it has no condition"
        )
    return condition


def diffusion_bound(
    model: MaskedDiffusion, batch: dict[str, torch.Tensor], maskings: int, infilling: float = 0
) -> torch.Tensor:
    """Upper bound of -log p(z|c) in nats for each chain [B], averaged over stratified maskings.

    On average a share `infilling` of the maskings masks the spans of the batch instead.
    """
    condition = model.condition(
        batch["amino_acids"], batch["mask"], batch["index"], given_condition(model, batch)
    )
    tokens = batch["tokens"].repeat_interleave(maskings, 0)
    rows = len(tokens)
    # Stratified over all rows; the maskings of each chain also cover all of [0, 1].
    stratum = torch.arange(rows, device=tokens.device).view(maskings, -1).T.flatten()
    share = (stratum + torch.rand(1, device=tokens.device)) / rows
    masked = None
    if infilling:
        spans = batch["spans"].repeat_interleave(maskings, 0) & (tokens >= 0)
        masked = spans & (torch.rand(rows, 1, device=tokens.device) < infilling)
    loss = model.loss(tokens, condition.repeat(maskings), tokens >= 0, share, masked)
    return loss.view(-1, maskings).mean(1)


def diffusion_terms(
    network: MaskedDiffusion, batch: dict[str, torch.Tensor], maskings: int, infilling: float
) -> Terms:
    """Loss terms of masked diffusion (see `diffusion_bound`)."""
    bound = diffusion_bound(network, batch, maskings, infilling)
    return {"token": (bound, (batch["tokens"] >= 0).sum(1))}


def autoregressive_terms(
    network: T5 | GPT, batch: dict[str, torch.Tensor], maskings: int, infilling: float
) -> Terms:
    """Loss terms of autoregressive families: -log p(z|c).

    On average in a share `infilling` of the rows, tokens outside of the spans are known and only
    the spans are predicted. A GPT that also models the sequence predicts it in the other rows.
    """
    tokens, mask = batch["tokens"], batch["mask"]
    known, infilled = torch.full_like(tokens, -1), None
    if infilling:
        infilled = torch.rand(len(tokens), 1, device=tokens.device) < infilling
        known = torch.where(infilled & ~batch["spans"], tokens, known)
    condition = given_condition(network, batch)
    memory = network.read(batch["amino_acids"], mask, batch["index"], known, condition)
    counted = (tokens >= 0) & (known < 0)
    terms = {"token": (token_nats(network, memory, tokens, counted), counted.sum(1))}
    if isinstance(network, GPT) and network.config.use_sequence and condition is None:
        counted = mask & (batch["amino_acids"] < 20)
        if infilled is not None:
            counted = counted & ~infilled
        nats = network.amino_acid_nats(memory, batch["amino_acids"], counted)
        terms["amino_acid"] = (nats, counted.sum(1))
    return terms


TERMS: dict[str, Callable[[nn.Module, dict, int, float], Terms]] = {
    MaskedDiffusion.kind: diffusion_terms,
    T5.kind: autoregressive_terms,
    GPT.kind: autoregressive_terms,
    ESMDiffNetwork.kind: esmdiff_terms,
}
