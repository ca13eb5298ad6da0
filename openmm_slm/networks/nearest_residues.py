"""Nearest-neighbour graph of the residues of a padded batch (torch)."""

from __future__ import annotations

import torch

from .rigid_frames import full_precision


@torch.no_grad()
def nearest_residues(
    points: torch.Tensor, mask: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k nearest residues of each residue, itself included.

    Parameters
    ----------
    points : Tensor, float32 [B, L, 3]
        One point per residue; any finite value where `mask` is False.
    mask : Tensor, bool [B, L]
        True for residues, False for padding.

    Returns
    -------
    neighbours : Tensor, int64 [R, k]
        Row numbers among the R unpadded residues of the batch; `k` is capped at L.
    weight : Tensor, float32 [R, k]
        1 for an edge; 0 for the filler where a chain has fewer than k residues.
    """
    b, length = mask.shape
    with full_precision(points):
        distance = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
        distance = distance + (~mask).unsqueeze(1) * 1e4
        nearest = distance.topk(min(k, length), largest=False).indices[mask]
    first = torch.arange(b, device=mask.device).repeat_interleave(mask.sum(1)) * length
    flat = nearest + first.unsqueeze(-1)
    present = mask.flatten()
    row = (present.cumsum(0) - 1).clamp(min=0)
    return row[flat], present[flat].float()
