"""The published loss that turns ESM3 into ESMDiff (Lu et al., 2025; Sahoo et al., 2024).

At time t each token is masked with probability (1 - eps) t. The time is an input of the denoiser,
and its MASK logit is set to minus infinity. With the log-linear schedule a masked token has the
weight 1/t:

    loss = sum over masked l of -log u_l(z_l | z_t, c, t) / t, divided by the number of tokens.

The mean over t is an upper bound of -log p(z|c), except that times below 0.001 are left out.
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
    """Convert a padded batch [B, L] to the token layout of ESM3 (see `esm3_layout`).

    If all amino acids of an entry are unknown, its sequence tokens are masked.

    Returns
    -------
    sequence_tokens : Tensor, int64 [B, P]
    positions : Tensor, int64 [B, L]
        Position of each residue in the row; 0 at padding.
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
    """Stratified times in [0.001, 1]: one in each of `rows` equal intervals, in random order."""
    parts = torch.randperm(rows, device=device) + torch.rand(rows, device=device)
    return FIRST_TIME + (1 - FIRST_TIME) * parts / rows


def published_loss(
    logits: torch.Tensor, tokens: torch.Tensor, masked: torch.Tensor, time: torch.Tensor
) -> torch.Tensor:
    """Sum over the masked tokens of each row of their nats, divided by the time.

    Parameters
    ----------
    logits : Tensor [B, L, 4101]
    tokens : Tensor, int64 [B, L]
        True tokens.
    masked : Tensor, bool [B, L]
    time : Tensor [B]

    Returns
    -------
    Tensor [B]
    """
    outside = torch.arange(logits.shape[-1], device=logits.device) == MASK
    chosen = logits[masked].float().masked_fill(outside, -torch.inf)
    each = F.cross_entropy(chosen, tokens[masked], reduction="none")
    total = torch.zeros_like(time).index_add(0, masked.nonzero()[:, 0], each.to(time.dtype))
    return total / time


def esmdiff_terms(
    network: ESMDiffNetwork, batch: dict[str, torch.Tensor], maskings: int, infilling: float
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Published loss of each row [B], averaged over `maskings`, and its number of tokens.

    On average a share `infilling` of the maskings masks the spans of the batch instead. Their time
    is the masked share.
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
