"""Nats of hidden tokens, given known tokens and a structure context."""

from __future__ import annotations

import torch
import torch.nn as nn

from ..language.autoregressive import token_nats
from ..language.bound import negative_bound
from ..language.masked_diffusion import MaskedDiffusion
from .structure_batches import Tokenize, context_of, known_tokens_of


def hidden_nats(
    network: nn.Module,
    batch: dict[str, torch.Tensor],
    tokenize: Tokenize,
    maskings: int = 4,
    told: bool = True,
    counted: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Nats of the hidden tokens of each row [B], and how many these are [B].

    Exact, or of masked diffusion the bound, averaged over stratified maskings. Not `told`: tokens
    only. Where a network gives each token its nats, these may be `counted` bool [B, L] alone.
    """
    hidden, known = batch["hidden"], known_tokens_of(batch, tokenize)
    layout = batch["amino_acids"], batch["mask"], batch["index"]
    context = context_of(batch) if told else None
    if not isinstance(network, MaskedDiffusion):
        memory = network.read(*layout, known, context=context)
        tokens = torch.where(hidden, batch["tokens"], known)
        counted = hidden if counted is None else counted
        return token_nats(network, memory, tokens, counted), counted.sum(1)
    condition = network.condition(*layout, context=context).repeat(maskings)
    count = hidden.sum(1)
    given = torch.where(known < 0, network.config.vocabulary, known)
    given, hidden, tokens = (
        values.repeat_interleave(maskings, 0) for values in (given, hidden, batch["tokens"])
    )

    def denoise(masked: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
        return network.denoise(torch.where(hidden, masked, given), where, condition)

    rows = len(tokens)
    stratum = torch.arange(rows, device=tokens.device).view(maskings, -1).T.flatten()
    share = (stratum + torch.rand(1, device=tokens.device)) / rows
    bound = negative_bound(denoise, tokens, hidden, share, network.config.vocabulary)
    return bound.view(-1, maskings).mean(1), count


def pooled(nats: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """One loss of rows: a row weighs as the square root of its tokens.

    By tokens, whole chains would drown the short stretches, and by rows it is the other way about.
    """
    count = count.float()
    weight = count.sqrt()
    mean = nats / count.clamp(min=1)
    return (mean * weight).sum() / weight.sum().clamp(min=1)
