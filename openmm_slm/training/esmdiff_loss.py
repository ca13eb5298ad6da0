"""The loss that makes an ESMDiff of ESM3, as published (Lu et al., 2025; Sahoo et al., 2024).

A token is masked with probability (1 - eps) t. The denoiser is told the time; of its logits that
of MASK counts as minus infinity. With the log-linear schedule the weight of a masked token is 1/t:

    loss = sum over masked l of -log u_l(z_l | z_t, c, t) / t, divided by the number of tokens.

Its mean over t bounds -log p(z|c) from above, but for the 1/1000 of the times it leaves out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..language.esm3_network import ESMDiffNetwork
from ..networks.esm3_tokens import MASK, SEQUENCE
from ..protein.sequence import AMINO_ACIDS, UNKNOWN, UNRELATED

FIRST_TIME = 1e-3
_LETTERS = [SEQUENCE[letter] for letter in AMINO_ACIDS + "X"]


def esm3_rows(
    amino_acids: torch.Tensor, mask: torch.Tensor, index: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A padded batch [B, L] as ESM3 writes it (`esm3_layout`).

    A chain whose amino acids are all unknown has its sequence hidden.

    Returns
    -------
    sequence_tokens : Tensor, int64 [B, P]
    positions : Tensor, int64 [B, L]
        Of the residues; 0 at padding.
    inside : Tensor, bool [B, P]
        False at padding.
    """
    breaks = F.pad(index[:, 1:] - index[:, :-1] >= UNRELATED, (1, 0)) & mask
    positions = (torch.arange(1, mask.shape[1] + 1, device=mask.device) + breaks.cumsum(1)) * mask
    last = positions.amax(1, keepdim=True)
    row = torch.arange(int(last.max()) + 2, device=mask.device)
    tokens = torch.where(row <= last, SEQUENCE["BREAK"], SEQUENCE["PAD"])
    tokens[:, 0] = SEQUENCE["BOS"]
    tokens.scatter_(1, last + 1, SEQUENCE["EOS"])
    letters = torch.tensor(_LETTERS, device=mask.device)[amino_acids]
    hidden = ((amino_acids == UNKNOWN) | ~mask).all(1, keepdim=True)
    letters = torch.where(hidden, SEQUENCE["_"], letters)
    which = mask.nonzero()[:, 0]
    tokens[which, positions[mask]] = letters[mask]
    return tokens, positions, row <= last + 1


def stratified_times(rows: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Times [rows] in [0.001, 1], one in each of as many equal parts, in random order."""
    parts = torch.randperm(rows, device=device) + torch.rand(rows, device=device)
    return FIRST_TIME + (1 - FIRST_TIME) * parts / rows


def published_loss(
    logits: torch.Tensor, tokens: torch.Tensor, masked: torch.Tensor, time: torch.Tensor
) -> torch.Tensor:
    """Weighted nats of the masked tokens of each row [B].

    Parameters
    ----------
    logits : Tensor [B, L, 4101]
    tokens : Tensor, int64 [B, L]
    masked : Tensor, bool [B, L]
    time : Tensor [B]
    """
    outside = torch.arange(logits.shape[-1], device=logits.device) == MASK
    chosen = logits[masked].float().masked_fill(outside, -torch.inf)
    each = F.cross_entropy(chosen, tokens[masked], reduction="none")
    total = torch.zeros_like(time).index_add(0, masked.nonzero()[:, 0], each.to(time.dtype))
    return total / time


def esmdiff_terms(
    network: ESMDiffNetwork, batch: dict[str, torch.Tensor], maskings: int, infilling: float
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """The published loss of each row [B], averaged over `maskings`, and its tokens.

    A share `infilling` of them (an expectation) masks the batch's spans instead, at the time when
    as many are masked.
    """
    tokens = batch["tokens"].long()
    present = tokens >= 0
    sequence, positions, inside = esm3_rows(batch["amino_acids"], batch["mask"], batch["index"])

    def repeated(values: torch.Tensor) -> torch.Tensor:
        return values.repeat_interleave(maskings, 0)

    tokens, given, places = repeated(tokens), repeated(present), repeated(positions)
    time = stratified_times(len(tokens), tokens.device)
    rate = (1 - network.config.eps) * time
    masked = (torch.rand(tokens.shape, device=tokens.device) < rate.unsqueeze(1)) & given
    if infilling:
        spans = repeated(batch["spans"]) & given
        some = (torch.rand(len(spans), device=spans.device) < infilling) & spans.any(1)
        masked = torch.where(some.unsqueeze(1), spans, masked)
        share = spans.sum(1) / given.sum(1).clamp(min=1)
        time = torch.where(some, share.clamp(FIRST_TIME, 1), time)
    structure = torch.full(repeated(sequence).shape, MASK, device=tokens.device)
    seen = given & ~masked
    structure[seen.nonzero()[:, 0], places[seen]] = tokens[seen]
    logits = network(repeated(sequence), structure, time, repeated(inside))
    logits = logits.gather(1, places.unsqueeze(-1).expand(-1, -1, logits.shape[-1]))
    nats = published_loss(logits, tokens, masked, time)
    return {"token": (nats.view(-1, maskings).mean(1), present.sum(1))}
