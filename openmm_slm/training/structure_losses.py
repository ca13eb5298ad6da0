"""Loss of language models with structure input: nats of hidden tokens given a context."""

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
    """Nats of the hidden tokens of each row [B], and their number [B].

    Parameters
    ----------
    network : T5, GPT or MaskedDiffusion
    batch : dict of Tensor
        As made by `structure_batches.batch_of`.
    tokenize : callable
    maskings : int
        Stratified maskings for the bound of masked diffusion; other families are exact.
    told : bool
        False: the network gets no structure context.
    counted : Tensor, bool [B, L], optional
        Count these tokens only (not for masked diffusion). Default: all hidden tokens.
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
    """Weighted mean of the nats per token of rows; weights are square roots of token numbers.

    A compromise: with equal weights per token, whole chains dominate short segments; with equal
    weights per row, the few tokens of short segments dominate.
    """
    count = count.float()
    weight = count.sqrt()
    mean = nats / count.clamp(min=1)
    return (mean * weight).sum() / weight.sum().clamp(min=1)
