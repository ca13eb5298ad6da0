"""Stage 2: what each family of language models learns from a batch, in nats."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn as nn

from ..language.autoregressive import token_nats
from ..language.gpt import GPT
from ..language.masked_diffusion import MaskedDiffusion
from ..language.t5 import T5

#: By name of what is predicted: nats of each row [B], and how many it has [B].
Terms = dict[str, tuple[torch.Tensor, torch.Tensor]]


def diffusion_bound(
    model: MaskedDiffusion, batch: dict[str, torch.Tensor], maskings: int
) -> torch.Tensor:
    """Negative bound (nats) of each chain [B], averaged over stratified maskings."""
    condition = model.condition(batch["amino_acids"], batch["mask"], batch["index"])
    tokens = batch["tokens"].repeat_interleave(maskings, 0)
    rows = len(tokens)
    # Stratified over all rows, and each chain's maskings over the whole of [0, 1].
    stratum = torch.arange(rows, device=tokens.device).view(maskings, -1).T.flatten()
    share = (stratum + torch.rand(1, device=tokens.device)) / rows
    loss = model.loss(tokens, condition.repeat(maskings), tokens >= 0, share)
    return loss.view(-1, maskings).mean(1)


def diffusion_terms(
    network: MaskedDiffusion, batch: dict[str, torch.Tensor], maskings: int, infilling: float
) -> Terms:
    """The bound; every masking is an infilling."""
    return {"token": (diffusion_bound(network, batch, maskings), (batch["tokens"] >= 0).sum(1))}


def autoregressive_terms(
    network: T5 | GPT, batch: dict[str, torch.Tensor], maskings: int, infilling: float
) -> Terms:
    """-log p(z|c) of most rows, of the others that of spans given the tokens outside of them.

    A share `infilling` of the rows (an expectation) has known tokens. A network that predicts
    the sequence as well does so where there are none.
    """
    tokens, mask = batch["tokens"], batch["mask"]
    known, infilled = torch.full_like(tokens, -1), None
    if infilling:
        infilled = torch.rand(len(tokens), 1, device=tokens.device) < infilling
        known = torch.where(infilled & ~random_spans(mask), tokens, known)
    memory = network.read(batch["amino_acids"], mask, batch["index"], known)
    counted = (tokens >= 0) & (known < 0)
    terms = {"token": (token_nats(network, memory, tokens, counted), counted.sum(1))}
    if isinstance(network, GPT) and network.config.use_sequence:
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
}


def random_spans(mask: torch.Tensor, longest: int = 12) -> torch.Tensor:
    """Spans to be sampled, bool [B, L], within `mask` [B, L]: where smoothed noise is high.

    The share of a row's residues in spans is uniform in (0, 1]; the noise is smoothed over 1 to
    2 * `longest` + 1 residues, which sets the length of the spans: from lone residues to loops.
    """
    rows, length = mask.shape
    device = mask.device
    summed = torch.randn(rows, length + 1, device=device).cumsum(1)
    width = torch.randint(0, longest + 1, (rows, 1), device=device)
    here = torch.arange(length, device=device)
    first, last = (here - width).clamp(min=0), (here + width + 1).clamp(max=length)
    smooth = (summed.gather(1, last) - summed.gather(1, first)) / (last - first).sqrt()
    rank = smooth.masked_fill(~mask, -torch.inf).argsort(1, descending=True).argsort(1)
    number = (torch.rand(rows, device=device) * mask.sum(1)).floor() + 1
    return mask & (rank < number.unsqueeze(1))
