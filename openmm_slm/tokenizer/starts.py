"""Starting frames: where the decoder begins when some of the structure is known.

One mechanism serves loops, templates and sampling from nothing: each residue has a frame and a
level s, the displacement of its CA to expect (nm). 0 holds it, larger is softer, infinite means
that nothing is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn as nn

from ..networks.rigid_frames import RigidFrames, compose, frames_from_backbone, invert

_LEVELS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64)  # nm, centres of the features of s
_DISTANCES = torch.linspace(0.4, 3.0, 16)  # nm
_NODE = 2 + len(_LEVELS) + 12
_PAIR = 1 + 1 + len(_DISTANCES) + 3 + 9


@dataclass(frozen=True)
class Start:
    """Starting frames of a batch.

    Attributes
    ----------
    rotation : Tensor [B, L, 3, 3]
    origin : Tensor [B, L, 3]
        nm; anything finite where absent.
    level : Tensor [B, L]
        s of each residue, nm; infinite where absent.
    """

    rotation: torch.Tensor
    origin: torch.Tensor
    level: torch.Tensor

    @classmethod
    def from_backbone(cls, backbone: torch.Tensor, level: torch.Tensor) -> Start:
        """Frames of N, CA, C [B, L, 4, 3]; a residue without finite coordinates is absent."""
        known = backbone[..., :3, :].isfinite().all(-1).all(-1) & level.isfinite()
        ideal = backbone.new_tensor(_SOME_RESIDUE)
        atoms = torch.where(known[..., None, None], backbone[..., :3, :], ideal)
        rotation, origin = frames_from_backbone(atoms)
        return cls(rotation, origin, level.masked_fill(~known, float("inf")))

    @property
    def known(self) -> torch.Tensor:
        """bool [B, L]"""
        return self.level.isfinite()

    @property
    def fixed(self) -> torch.Tensor:
        """bool [B, L]"""
        return self.level == 0

    def centre(self) -> torch.Tensor:
        """Mean origin [B, 1, 3] of the known residues."""
        weight = self.known.unsqueeze(-1).float()
        return (self.origin * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(1)


_SOME_RESIDUE = ((-0.05, 0.13, 0.0), (0.0, 0.0, 0.0), (0.15, 0.0, 0.0))


class StartFeatures(nn.Module):
    """What the trunk is told about the starting frames: residues and pairs.

    Without known residues it adds exactly nothing.
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
    """[B, L, 21]: presence, level, and the next residue's frame in this one's."""
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
    """[B, L, L, 30]: distance, direction and relative orientation of two known residues."""
    known = start.known.unsqueeze(2) & start.known.unsqueeze(1)
    level = start.level.masked_fill(~start.known, 0)
    apart = start.origin.unsqueeze(1) - start.origin.unsqueeze(2)  # i to j
    distance = apart.norm(dim=-1, keepdim=True)
    direction = (apart / (distance + 1e-4)) @ start.rotation
    axes = start.rotation.transpose(-1, -2).flatten(1, 2)  # tiny matrices are slow one by one
    turn = (axes @ axes.transpose(1, 2)).unflatten(1, (-1, 3)).unflatten(-1, (-1, 3))
    turn = turn.transpose(2, 3)
    rings = torch.exp(-(((distance - _DISTANCES.to(apart.device)) / 0.2) ** 2))
    soft = ((level.unsqueeze(2) + level.unsqueeze(1)) / 0.4).clamp(max=2)
    features = [torch.ones_like(distance), soft.unsqueeze(-1), rings, direction, turn.flatten(-2)]
    return torch.cat(features, -1) * known.unsqueeze(-1)


def first_frames(chained: RigidFrames, start: Start) -> RigidFrames:
    """Where refinement begins: known residues at their frames, others chained to the nearest.

    Residue i without a frame stands to the known residue a that is nearest in sequence as it does
    in `chained`: S_a C_a^-1 C_i. Entries without known residues keep `chained`.
    """
    known = start.known
    length = known.shape[1]
    row = torch.arange(length, device=known.device).expand_as(known)
    before = row.masked_fill(~known, -length).cummax(1).values
    after = row.masked_fill(~known, 2 * length).flip(1).cummin(1).values.flip(1)
    anchor = torch.where(row - before <= after - row, before, after).clamp(0, length - 1)

    def at(values: torch.Tensor) -> torch.Tensor:
        index = anchor.view(*anchor.shape, *([1] * (values.dim() - 2))).expand_as(values)
        return values.gather(1, index)

    there = at(start.rotation), at(start.origin)
    here = at(chained[0]), at(chained[1])
    placed = compose(there, compose(invert(here), chained))
    some = known.any(1)
    return tuple(
        torch.where(_like(known, own), own, torch.where(_like(some, own), moved, old))
        for own, moved, old in zip((start.rotation, start.origin), placed, chained, strict=True)
    )


def hold(frames: RigidFrames, start: Start) -> RigidFrames:
    """`frames` with fixed residues back at their starting frames."""
    return tuple(
        torch.where(_like(start.fixed, own), own, value)
        for own, value in zip((start.rotation, start.origin), frames, strict=True)
    )


def _like(mask: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return mask.view(*mask.shape, *([1] * (values.dim() - mask.dim())))
