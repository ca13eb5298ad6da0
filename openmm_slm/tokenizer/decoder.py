"""Decoder p(x|z,c): residue frames from tokens and sequence.

A transformer trunk with a small pair tensor predicts the frame of each residue relative to the
previous one. Composing these along the chain gives a first fold. A weight-shared block of
invariant point attention then refines it. Known starting frames (`starts`) are input features of
the trunk, and refinement begins at them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

from ..networks.rigid_frames import (
    RigidFrames,
    chain_frames,
    compose,
    full_precision,
    place_backbone,
    rotation_from_6d,
    rotation_from_vector,
)
from ..networks.transformer import Block, FeedForward, PointBlock, rotary_angles
from .starts import Start, StartFeatures, initial_frames, reset_fixed

OFFSET = 32
DISTOGRAM_BINS = 40  # 0.1 nm each
LDDT_BINS = 20


@dataclass
class Decoded:
    """Output of the decoder.

    Attributes
    ----------
    backbones : list of Tensor [B, L, 4, 3]
        N, CA, C, O (nm) of the first fold and after each refinement. The last is the result.
    frames : list of (rotation, origin)
        Residue frames of `backbones`.
    end_torsion : Tensor [B, L, 2]
        Unnormalised (cos, sin) of the angle of O about CA-C.
    pair : Tensor [B, L, L, P]
        Final pair tensor.
    lddt : Tensor [B, L, 20]
        Logits of the lDDT (CA) bins of the result.
    """

    backbones: list[torch.Tensor]
    frames: list[RigidFrames]
    end_torsion: torch.Tensor
    pair: torch.Tensor
    lddt: torch.Tensor

    def predicted_lddt(self) -> torch.Tensor:
        """Expected lDDT (CA) of each residue [B, L], 0 to 1."""
        centres = (torch.arange(LDDT_BINS, device=self.lddt.device) + 0.5) / LDDT_BINS
        return self.lddt.float().softmax(-1) @ centres


class PairUpdate(nn.Module):
    """Update the pair tensor: low-rank outer product of residue states, then a transition."""

    def __init__(self, width: int, pair: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.left = nn.Linear(width, 2 * pair)
        self.right = nn.Linear(width, 2 * pair)
        self.out = nn.Linear(2 * pair, pair)
        self.transition = FeedForward(pair, 2)

    def forward(self, x: torch.Tensor, pair: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        left, right = self.left(y), self.right(y)
        # out(left_i * right_j) as one matrix product. Multiplying the weights into right_j first
        # avoids a tensor with L x L x 2 pair channels.
        weighted = right.unsqueeze(2) * self.out.weight.to(right.dtype)
        outer = left @ weighted.flatten(1, 2).transpose(1, 2)
        pair = pair + outer.view(pair.shape) + self.out.bias.to(pair.dtype)
        return pair + self.transition(pair)


class Decoder(nn.Module):
    """Backbones from codes and amino acids.

    Parameters
    ----------
    code : int
        Dimension of a code.
    width, heads, layers : int
        Size of the trunk.
    pair : int
        Channels of the pair tensor.
    refinements : int
        Number of passes through the weight-shared refinement block.
    """

    def __init__(
        self,
        code: int = 3,
        width: int = 192,
        heads: int = 8,
        layers: int = 6,
        pair: int = 32,
        refinements: int = 4,
    ) -> None:
        super().__init__()
        self.heads, self.refinements = heads, refinements
        self.register_buffer("frequency", 2.0 ** torch.arange(3) * math.pi / 2, persistent=False)
        self.code = nn.Sequential(nn.Linear(code * 7, width), nn.GELU(), nn.Linear(width, width))
        self.amino_acid = nn.Embedding(21, width)
        self.relative = nn.Embedding(2 * OFFSET + 3, pair)
        self.trunk = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.pair_bias = nn.ModuleList(nn.Linear(pair, heads, bias=False) for _ in range(layers))
        self.pair_after = (layers // 3, 2 * layers // 3)
        self.pair_updates = nn.ModuleList(PairUpdate(width, pair) for _ in self.pair_after)
        self.distogram = nn.Linear(pair, DISTOGRAM_BINS)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 9))
        self.refine = PointBlock(width, heads, pair)
        self.update = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 6))
        self.end_torsion = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2))
        self.start = StartFeatures(width, pair)
        self.lddt = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, LDDT_BINS)
        )
        with torch.no_grad():  # initial output: a helix-like step and small refinements
            self.head[1].weight.mul_(0.3)
            step = [0, 1, 0, -0.5, 0, 1, 2.5 / 15, 1 / 15, 2.5 / 15]
            self.head[1].bias.copy_(torch.tensor(step))
            nn.init.normal_(self.update[1].weight, std=2e-3)
            nn.init.zeros_(self.update[1].bias)

    def forward(
        self,
        codes: torch.Tensor,
        amino_acids: torch.Tensor,
        mask: torch.Tensor,
        index: torch.Tensor,
        start: Start | None = None,
    ) -> Decoded:
        """Decode codes [B, L, n] with amino acids, mask and residue index [B, L].

        With `start`, the result is in its coordinate system and residues of level 0 keep their
        starting frames.
        """
        waves = [f(codes * w) for w in self.frequency for f in (torch.sin, torch.cos)]
        x = self.code(torch.cat([codes, *waves], -1)) + self.amino_acid(amino_acids)
        offset = index.unsqueeze(2) - index.unsqueeze(1)
        pair = self.relative(offset.clamp(-OFFSET - 1, OFFSET + 1) + OFFSET + 1)
        if torch.is_autocast_enabled(x.device.type):  # halves the traffic of the largest tensor
            pair = pair.to(torch.get_autocast_dtype(x.device.type))
        if start is not None:
            node_term, pair_term = self.start(start)
            x, pair = x + node_term, pair + pair_term
        padding = torch.zeros_like(mask, dtype=torch.float32).masked_fill(~mask, -1e4)
        padding = padding[:, None, None]
        angles = rotary_angles(index, x.shape[-1] // self.heads)
        for number, block in enumerate(self.trunk):
            if number in self.pair_after:
                pair = self.pair_updates[self.pair_after.index(number)](x, pair)
            bias = self.pair_bias[number](pair).permute(0, 3, 1, 2) + padding
            x = block(x, angles, bias)

        end_torsion = self.end_torsion(x).float()
        frames = [self._chain(self.head(x).float(), mask)]
        bias = self.refine.bias(pair).permute(0, 3, 1, 2) + padding
        # Stop gradients here: those of the global losses grow with chain length and would swamp
        # the local signal in the chained frames.
        current = tuple(part.detach() for part in frames[0])
        with full_precision(x):
            if start is not None:  # point attention needs the molecule near the origin
                centre = start.centre()
                start = Start(start.rotation, start.origin - centre, start.level)
                current = initial_frames(current, start)
        for _ in range(self.refinements):
            current = (current[0].detach(), current[1])
            x = self.refine(x, mask, bias, current)
            update = self.update(x).float()
            with full_precision(x):
                step = (rotation_from_vector(update[..., :3]), update[..., 3:])
                current = compose(current, step)
                if start is not None:
                    current = reset_fixed(current, start)
            frames.append(current)
        bonded = (index[:, 1:] - index[:, :-1] == 1) & mask[:, 1:]
        bonded = F.pad(bonded, (0, 1))
        with full_precision(x):
            if start is not None:
                frames = [frames[0], *((r, origin + centre) for r, origin in frames[1:])]
            backbones = [place_backbone(frame, end_torsion, bonded) for frame in frames]
        return Decoded(backbones, frames, end_torsion, pair, self.lddt(x.detach()))

    def _chain(self, head: torch.Tensor, mask: torch.Tensor) -> RigidFrames:
        """Compose the predicted steps [B, L, 9] into frames centred on the mean CA."""
        with full_precision(head):
            rotation, shift = rotation_from_6d(head[..., :6]), head[..., 6:] * 1.5
            eye = torch.eye(3, device=head.device).expand(len(head), 1, 3, 3)
            rotation, origin = chain_frames(
                (
                    torch.cat([eye, rotation[:, :-1]], 1),
                    torch.cat([torch.zeros_like(shift[:, :1]), shift[:, :-1]], 1),
                )
            )
            weight = mask.unsqueeze(-1).float()
            count = weight.sum(1, keepdim=True).clamp(min=1)
            centre = (origin * weight).sum(1, keepdim=True) / count
        return rotation, origin - centre
