"""Reconstruction errors of frames and backbones (torch, differentiable, nm).

The likelihood of stage 1 is an isotropic Laplace distribution of coordinates in residue frames.
Up to a constant, -log p(x|z,c) is the mean distance of atoms in these frames divided by the
scale. `local_error` computes it for pairs near in sequence, `frame_aligned_error` for all pairs
(FAPE; Jumper et al., 2021).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..networks.rigid_frames import RigidFrames, full_precision, to_local
from ..protein.geometry import C_N

_EPS = 1e-6  # nm^2, keeps the gradient of the square root finite


def _distance(difference: torch.Tensor) -> torch.Tensor:
    return (difference.pow(2).sum(-1) + _EPS).sqrt()


def local_error(
    predicted: torch.Tensor,
    predicted_frames: RigidFrames,
    true: torch.Tensor,
    true_frames: RigidFrames,
    mask: torch.Tensor,
    band: int = 6,
    clamp: float = 1.0,
) -> torch.Tensor:
    """Mean error (nm) of atom positions of residues i-band..i+band, except i, in the frame of i.

    Parameters
    ----------
    predicted, true : Tensor [B, L, 4, 3]
        Backbones, nm.
    predicted_frames, true_frames : (rotation [B, L, 3, 3], origin [B, L, 3])
        Their residue frames.
    mask : Tensor, bool [B, L]
    band : int
        Largest sequence separation.
    clamp : float
        Largest error of an atom, nm.
    """
    total = weight = 0.0
    length = mask.shape[1]
    with full_precision(predicted):
        for offset in [*range(-band, 0), *range(1, band + 1)]:
            i = slice(max(0, -offset), length - max(0, offset))
            j = slice(max(0, offset), length - max(0, -offset))

            def local(frames: RigidFrames, atoms: torch.Tensor, i: slice = i, j: slice = j):
                return to_local((frames[0][:, i], frames[1][:, i]), atoms[:, j])

            both = (mask[:, i] & mask[:, j]).float()
            error = _distance(local(predicted_frames, predicted) - local(true_frames, true))
            total = total + (error.clamp(max=clamp).mean(-1) * both).sum()
            weight = weight + both.sum()
    return total / weight.clamp(min=1) if torch.is_tensor(weight) else predicted.sum() * 0


def frame_aligned_error(
    predicted: torch.Tensor,
    predicted_frames: RigidFrames,
    true: torch.Tensor,
    true_frames: RigidFrames,
    mask: torch.Tensor,
    counted: torch.Tensor,
    chosen: torch.Tensor,
    clamp: torch.Tensor,
) -> torch.Tensor:
    """Mean error (nm) of the atoms of `counted` residues in the frames of `chosen` residues.

    Parameters
    ----------
    predicted, true : Tensor [B, L, 4, 3]
        Backbones, nm.
    predicted_frames, true_frames : (rotation [B, L, 3, 3], origin [B, L, 3])
        Their residue frames.
    mask, counted : Tensor, bool [B, L]
    chosen : Tensor, int64 [B, n]
        Residues whose frames are used.
    clamp : Tensor [B]
        Largest error of an atom in each batch entry, nm.
    """

    def pick(values: torch.Tensor) -> torch.Tensor:
        shape = (*chosen.shape, *([1] * (values.dim() - 2)))
        return values.gather(1, chosen.view(shape).expand(*chosen.shape, *values.shape[2:]))

    with full_precision(predicted):

        def local(frames: RigidFrames, atoms: torch.Tensor) -> torch.Tensor:
            delta = atoms.flatten(1, 2).unsqueeze(1) - pick(frames[1]).unsqueeze(2)
            return delta @ pick(frames[0])

        error = _distance(local(predicted_frames, predicted) - local(true_frames, true))
        error = torch.minimum(error, clamp.view(-1, 1, 1))
        weight = pick(mask.float()).unsqueeze(-1)
        weight = weight * counted.float().repeat_interleave(predicted.shape[2], 1).unsqueeze(1)
        return (error * weight).sum() / weight.sum().clamp(min=1)


def distogram_loss(
    logits: torch.Tensor, ca: torch.Tensor, mask: torch.Tensor, rows: torch.Tensor
) -> torch.Tensor:
    """Cross entropy (nats) of CA-CA distance bins, 0.1 nm wide.

    Parameters
    ----------
    logits : Tensor [B, n, L, bins]
        Of residues `rows` with all residues.
    ca : Tensor [B, L, 3]
    mask : Tensor, bool [B, L]
    rows : Tensor, int64 [B, n]
    """
    with full_precision(ca):
        entry = torch.arange(len(ca), device=ca.device).unsqueeze(1)
        bins = (torch.cdist(ca[entry, rows], ca) * 10).long().clamp(0, logits.shape[-1] - 1)
        both = mask[entry, rows].unsqueeze(2) & mask.unsqueeze(1)
        bins = bins.masked_fill(~both, -100)  # ignored by cross_entropy
        return F.cross_entropy(logits.flatten(0, 2).float(), bins.flatten())


@torch.no_grad()
def lddt_per_residue(
    predicted: torch.Tensor, true: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """lDDT [B, L] (0 to 1) of CA [B, L, 3] over pairs within 1.5 nm (Mariani et al., 2013).

    A residue without such pairs has 0.
    """
    distance = torch.cdist(true, true)
    pair = mask.unsqueeze(1) & mask.unsqueeze(2) & (distance < 1.5)
    pair &= ~torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    error = (torch.cdist(predicted, predicted) - distance).abs()
    preserved = sum((error < limit).float() for limit in (0.05, 0.1, 0.2, 0.4)) / 4
    return (preserved * pair).sum(-1) / pair.sum(-1).clamp(min=1)


def lddt_loss(
    logits: torch.Tensor, predicted: torch.Tensor, true: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Cross entropy (nats) of the predicted lDDT bins, with logits [B, L, bins]."""
    with full_precision(true):
        bins = logits.shape[-1]
        target = (lddt_per_residue(predicted, true, mask) * bins).long().clamp(max=bins - 1)
        target = target.masked_fill(~mask, -100)
        return F.cross_entropy(logits.flatten(0, 1).float(), target.flatten())


def peptide_bond_error(backbone: torch.Tensor, bonded: torch.Tensor) -> torch.Tensor:
    """Mean |d(C-N) - 0.133| (nm, clamped at 0.3) over the peptide bonds `bonded` [B, L-1]."""
    with full_precision(backbone):
        length = _distance(backbone[:, 1:, 0] - backbone[:, :-1, 2])
        error = (length - C_N).abs().clamp(max=0.3)
        return (error * bonded).sum() / bonded.sum().clamp(min=1)
