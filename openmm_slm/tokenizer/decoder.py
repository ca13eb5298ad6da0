"""p(x|z,c): tokens and sequence to rigid frames.

A transformer trunk with a small pair tensor predicts each residue's frame relative to the one
before; these are chained (prefix composition) into a first fold, which weight-shared point
attention then refines with the pair tensor's help. Where starting frames are known (`starts`), the
trunk is told, and refinement begins at them.
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
from .starts import Start, StartFeatures, first_frames, hold

OFFSET = 32
DISTOGRAM_BINS = 40  # 0.1 nm each
LDDT_BINS = 20


@dataclass
class Decoded:
    """Output of the decoder.

    Attributes
    ----------
    backbones : list of Tensor [B, L, 4, 3]
        After the chain, then after each refinement; nm. The last is the answer.
    frames : list of (rotation, origin)
    end_torsion : Tensor [B, L, 2]
    pair : Tensor [B, L, L, P]
    lddt : Tensor [B, L, 20]
        Logits of bins of the lDDT (CA) of the answer.
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
    """Low-rank outer product of residue states, added to the pair tensor, and a transition."""

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
        # out(left_i * right_j) as one product: the factor's weights go with j, so that no tensor
        # of L x L x 2 pair channels is made.
        weighted = right.unsqueeze(2) * self.out.weight.to(right.dtype)
        outer = left @ weighted.flatten(1, 2).transpose(1, 2)
        pair = pair + outer.view(pair.shape) + self.out.bias.to(pair.dtype)
        return pair + self.transition(pair)


class Decoder(nn.Module):
    """Codes and amino acids to backbones.

    Parameters
    ----------
    code : int
        Dimensions of a code.
    width, heads, layers : int
        Trunk.
    pair : int
        Channels of the pair tensor.
    refinements : int
        Passes of the weight-shared refinement block.
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
        with torch.no_grad():  # start near a helix-like step, and with small refinements
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
        """Codes [B, L, n], amino acids, mask and residue index [B, L] -> `Decoded`.

        With `start` the answer lies in its coordinates; residues of level 0 are where it has them.
        """
        waves = [f(codes * w) for w in self.frequency for f in (torch.sin, torch.cos)]
        x = self.code(torch.cat([codes, *waves], -1)) + self.amino_acid(amino_acids)
        offset = index.unsqueeze(2) - index.unsqueeze(1)
        pair = self.relative(offset.clamp(-OFFSET - 1, OFFSET + 1) + OFFSET + 1)
        if torch.is_autocast_enabled(x.device.type):  # the largest tensor: half the traffic
            pair = pair.to(torch.get_autocast_dtype(x.device.type))
        if start is not None:
            node, of_pair = self.start(start)
            x, pair = x + node, pair + of_pair
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
        # The global losses of later frames must not flow back through the chain: their gradients
        # grow with its length and swamp the local signal.
        current = tuple(part.detach() for part in frames[0])
        with full_precision(x):
            if start is not None:  # attention over points wants the molecule at the origin
                centre = start.centre()
                start = Start(start.rotation, start.origin - centre, start.level)
                current = first_frames(current, start)
        for _ in range(self.refinements):
            current = (current[0].detach(), current[1])
            x = self.refine(x, mask, bias, current)
            update = self.update(x).float()
            with full_precision(x):
                step = (rotation_from_vector(update[..., :3]), update[..., 3:])
                current = compose(current, step)
                if start is not None:
                    current = hold(current, start)
            frames.append(current)
        bonded = (index[:, 1:] - index[:, :-1] == 1) & mask[:, 1:]
        bonded = F.pad(bonded, (0, 1))
        with full_precision(x):
            if start is not None:
                frames = [frames[0], *((turn, at + centre) for turn, at in frames[1:])]
            backbones = [place_backbone(frame, end_torsion, bonded) for frame in frames]
        return Decoded(backbones, frames, end_torsion, pair, self.lddt(x.detach()))

    def _chain(self, head: torch.Tensor, mask: torch.Tensor) -> RigidFrames:
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
