"""Starting frames of the decoder, for residues whose structure is known.

One mechanism serves loops, templates and sampling without a template. Each residue has a frame and
a level s, the expected displacement of its CA (nm): 0 fixes the residue, larger values restrain it
less, and infinity means that nothing is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn as nn

from ..networks.rigid_frames import RigidFrames, compose, frames_from_backbone, invert

_LEVELS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64)  # nm, centres of the radial basis of s
_DISTANCES = torch.linspace(0.4, 3.0, 16)  # nm, centres of the radial basis of distances
_NODE = 2 + len(_LEVELS) + 12
_PAIR = 1 + 1 + len(_DISTANCES) + 3 + 9


@dataclass(frozen=True)
class Start:
    """Starting frames of a batch.

    Attributes
    ----------
    rotation : Tensor [B, L, 3, 3]
    origin : Tensor [B, L, 3]
        CA, nm; any finite value where absent.
    level : Tensor [B, L]
        s of each residue, nm; infinite where absent.
    """

    rotation: torch.Tensor
    origin: torch.Tensor
    level: torch.Tensor

    @classmethod
    def from_backbone(cls, backbone: torch.Tensor, level: torch.Tensor) -> Start:
        """Frames from N, CA, C [B, L, 4, 3]; residues without finite coordinates are absent."""
        known = backbone[..., :3, :].isfinite().all(-1).all(-1) & level.isfinite()
        ideal = backbone.new_tensor(_PLACEHOLDER)
        atoms = torch.where(known[..., None, None], backbone[..., :3, :], ideal)
        rotation, origin = frames_from_backbone(atoms)
        return cls(rotation, origin, level.masked_fill(~known, float("inf")))

    @property
    def known(self) -> torch.Tensor:
        """Residues with a frame, bool [B, L]."""
        return self.level.isfinite()

    @property
    def fixed(self) -> torch.Tensor:
        """Residues of level 0, bool [B, L]."""
        return self.level == 0

    def centre(self) -> torch.Tensor:
        """Mean origin [B, 1, 3] of the known residues."""
        weight = self.known.unsqueeze(-1).float()
        return (self.origin * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(1)


# N, CA, C (nm) that stand in for absent residues.
_PLACEHOLDER = ((-0.05, 0.13, 0.0), (0.0, 0.0, 0.0), (0.15, 0.0, 0.0))


class StartFeatures(nn.Module):
    """Embed the starting frames for the trunk, per residue and per pair.

    The terms are zero where nothing is known.
    """

    def __init__(self, width: int, pair: int) -> None:
        super().__init__()
        self.node = nn.Linear(_NODE, width, bias=False)
        self.pair = nn.Linear(_PAIR, pair, bias=False)
        nn.init.zeros_(self.node.weight)
        nn.init.zeros_(self.pair.weight)

    def forward(self, start: Start) -> tuple[torch.Tensor, torch.Tensor]:
        """Terms for the residue states [B, L, width] and the pair tensor [B, L, L, pair]."""
        return self.node(residue_features(start)), self.pair(pair_features(start))


@torch.no_grad()
def residue_features(start: Start) -> torch.Tensor:
    """Features [B, L, 21]: presence, level, and the next frame relative to this one."""
    known = start.known
    level = start.level.masked_fill(~known, 1.0)
    scale = torch.log2((level.unsqueeze(-1) + 1e-3) / level.new_tensor(_LEVELS))
    frames = start.rotation, start.origin
    after = tuple(torch.cat([x[:, 1:], x[:, -1:]], 1) for x in frames)
    rotation, shift = compose(invert(frames), after)
    both = known & torch.cat([known[:, 1:], torch.zeros_like(known[:, :1])], 1)
    step = torch.cat([rotation.flatten(-2), shift.clamp(-1, 1) / 0.38], -1)
    return torch.cat(
        [
            known.unsqueeze(-1).float(),
            start.fixed.unsqueeze(-1).float(),
            torch.exp(-(scale**2)) * known.unsqueeze(-1),
            step * both.unsqueeze(-1),
        ],
        -1,
    )


@torch.no_grad()
def pair_features(start: Start) -> torch.Tensor:
    """Features [B, L, L, 30]: distance, direction and relative rotation of known residues."""
    known = start.known.unsqueeze(2) & start.known.unsqueeze(1)
    level = start.level.masked_fill(~start.known, 0)
    vector = start.origin.unsqueeze(1) - start.origin.unsqueeze(2)  # from i to j
    distance = vector.norm(dim=-1, keepdim=True)
    direction = (vector / (distance + 1e-4)) @ start.rotation
    axes = start.rotation.transpose(-1, -2).flatten(1, 2)  # one product of all 3 x 3 matrices
    relative = (axes @ axes.transpose(1, 2)).unflatten(1, (-1, 3)).unflatten(-1, (-1, 3))
    relative = relative.transpose(2, 3).flatten(-2)
    radial = torch.exp(-(((distance - _DISTANCES.to(vector.device)) / 0.2) ** 2))
    levels = ((level.unsqueeze(2) + level.unsqueeze(1)) / 0.4).clamp(max=2).unsqueeze(-1)
    features = [torch.ones_like(distance), levels, radial, direction, relative]
    return torch.cat(features, -1) * known.unsqueeze(-1)


def initial_frames(chained: RigidFrames, start: Start) -> RigidFrames:
    """Frames at which refinement begins.

    Known residues have their starting frames S. Any other residue i keeps its pose relative to
    the known residue a nearest in sequence, as in the chained frames C: S_a C_a^-1 C_i. Batch
    entries without known residues keep `chained`.
    """
    known = start.known
    length = known.shape[1]
    row = torch.arange(length, device=known.device).expand_as(known)
    before = row.masked_fill(~known, -length).cummax(1).values
    after = row.masked_fill(~known, 2 * length).flip(1).cummin(1).values.flip(1)
    anchor = torch.where(row - before <= after - row, before, after).clamp(0, length - 1)

    def at_anchor(values: torch.Tensor) -> torch.Tensor:
        index = anchor.view(*anchor.shape, *([1] * (values.dim() - 2))).expand_as(values)
        return values.gather(1, index)

    anchor_start = at_anchor(start.rotation), at_anchor(start.origin)
    anchor_chained = at_anchor(chained[0]), at_anchor(chained[1])
    placed = compose(anchor_start, compose(invert(anchor_chained), chained))
    any_known = known.any(1)
    return tuple(
        torch.where(
            _expand_mask(known, own), own, torch.where(_expand_mask(any_known, own), moved, old)
        )
        for own, moved, old in zip((start.rotation, start.origin), placed, chained, strict=True)
    )


def reset_fixed(frames: RigidFrames, start: Start) -> RigidFrames:
    """Set the fixed residues of `frames` to their starting frames."""
    return tuple(
        torch.where(_expand_mask(start.fixed, own), own, value)
        for own, value in zip((start.rotation, start.origin), frames, strict=True)
    )


def _expand_mask(mask: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Append dimensions to `mask` so that it broadcasts against `values`."""
    return mask.view(*mask.shape, *([1] * (values.dim() - mask.dim())))
