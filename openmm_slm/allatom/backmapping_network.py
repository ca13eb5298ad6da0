"""Network that places the peptide group between two bonded CA atoms, given the CA trace.

The peptide plane is nearly rigid, so that a CA trace leaves one angle per peptide open. The network
predicts the positions of C, O and the next N in the local frame of the two CA, from the CA of eight
consecutive residues, the nearest other CA, and the amino acids.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn as nn

BEFORE, AFTER = 3, 4  # residues before and after the first CA of a peptide in its window
_WINDOW = BEFORE + 1 + AFTER
_NEXT_TO = slice(BEFORE - 1, BEFORE + 3)  # residues whose amino acids count: i - 1 to i + 2
_REACH = 1.0  # nm: residues within this distance of the centre count as near
_SCALE = 5.0  # 1 / nm: brings coordinates to about 1


@dataclass(frozen=True)
class BackmappingConfig:
    """Sizes of a `BackmappingNetwork`."""

    width: int = 128
    layers: int = 3
    near: int = 8
    near_width: int = 32


@dataclass
class Peptides:
    """The P peptides of a batch of CA traces.

    Attributes
    ----------
    where : tuple of Tensor, int64 [P]
        Row of the batch and first residue.
    rotation : Tensor [P, 3, 3]
        Axes as columns: e1 from CA to CA, e2 towards the CA before.
    centre : Tensor [P, 3]
        Midpoint of the two CA, nm.
    window, near : Tensor [P, 8, 3] and [P, k, 3]
        Local positions of CA, nm; 0 where there is none.
    there, close : Tensor, bool [P, 8] and [P, k]
        Which of these exist.
    amino_acids, near_amino_acids : Tensor, int64 [P, 4] and [P, k]
    """

    where: tuple[torch.Tensor, torch.Tensor]
    rotation: torch.Tensor
    centre: torch.Tensor
    window: torch.Tensor
    there: torch.Tensor
    amino_acids: torch.Tensor
    near: torch.Tensor
    close: torch.Tensor
    near_amino_acids: torch.Tensor


class BackmappingNetwork(nn.Module):
    """C, O and the next N of each peptide from a CA trace."""

    kind = "backmapping"
    config_class = BackmappingConfig

    def __init__(self, config: BackmappingConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or BackmappingConfig()
        width, near = config.width, config.near_width
        self.amino_acid = nn.Embedding(21, 8)
        self.neighbour = nn.Sequential(nn.Linear(3 + 1 + 8, near), nn.GELU(), nn.Linear(near, near))
        features = 4 * _WINDOW + 4 * 8 + (_WINDOW - 1) + (_WINDOW - 3) + 2 * near
        self.inputs = nn.Linear(features, width)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(),
                nn.Linear(2 * width, width),
            )
            for _ in range(config.layers)
        )  # fmt: skip
        self.out = nn.Linear(width, 9)

    def forward(self, peptides: Peptides) -> torch.Tensor:
        """Local positions [P, 3, 3] of C, O and N, nm."""
        window = peptides.window * _SCALE
        pairs = [(window[:, k:] - window[:, :-k]).norm(dim=-1) for k in (1, 3)]
        near = peptides.near * _SCALE
        near = torch.cat(
            [near, near.norm(dim=-1, keepdim=True), self.amino_acid(peptides.near_amino_acids)], -1
        )
        near = self.neighbour(near) * peptides.close.unsqueeze(-1)
        own = self.amino_acid(peptides.amino_acids).flatten(1)
        x = [window.flatten(1), peptides.there.float(), own, *pairs, near.mean(1), near.amax(1)]
        x = self.inputs(torch.cat(x, -1))
        for layer in self.layers:
            x = x + layer(x)
        return self.out(x).view(-1, 3, 3) / _SCALE


@torch.no_grad()
def find_peptides(
    ca: torch.Tensor, amino_acids: torch.Tensor, mask: torch.Tensor, index: torch.Tensor, near: int
) -> Peptides:
    """Peptides of CA traces and their features.

    Parameters
    ----------
    ca : Tensor [B, L, 3]
        nm; finite everywhere, ignored where `mask` is False.
    amino_acids : Tensor, int64 [B, L]
    mask : Tensor, bool [B, L]
        Residues with coordinates.
    index : Tensor, int64 [B, L]
        Residue index: steps of 1 between bonded residues.
    near : int
        Number of near residues.
    """
    length = ca.shape[1]
    bonded = (index.diff() == 1) & mask[:, 1:] & mask[:, :-1]
    piece = nn.functional.pad((~bonded).cumsum(1), (1, 0))
    row, first = where = bonded.nonzero(as_tuple=True)
    places = first.unsqueeze(1) + torch.arange(-BEFORE, AFTER + 1, device=ca.device)
    inside = (places >= 0) & (places < length)
    places = places.clamp(0, length - 1)
    each = row.unsqueeze(1)
    there = inside & (piece[each, places] == piece[row, first].unsqueeze(1))
    points = ca[each, places]

    start, end = points[:, BEFORE], points[:, BEFORE + 1]
    centre, e1 = (start + end) / 2, nn.functional.normalize(end - start, dim=-1)
    # Towards the CA before; at the start of a chain away from the CA after.
    side = torch.where(
        there[:, BEFORE - 1, None],
        points[:, BEFORE - 1] - start,
        torch.where(there[:, BEFORE + 2, None], points[:, BEFORE + 2] - end, e1.roll(1, -1)),
    )
    e2 = nn.functional.normalize(side - (side * e1).sum(-1, keepdim=True) * e1, dim=-1)
    rotation = torch.stack([e1, e2, torch.linalg.cross(e1, e2)], -1)

    apart = torch.cdist(centre_rows(centre, row, len(ca)), ca)[row, rank_in_row(row)]
    step = (torch.arange(length, device=ca.device) - first.unsqueeze(1)).abs()
    beside = (step <= AFTER) & (piece[row] == piece[row, first].unsqueeze(1))
    apart = apart.masked_fill(beside | ~mask[row], torch.inf)
    distance, found = apart.topk(min(near, length), largest=False)
    close = distance < _REACH

    def local(positions: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        return ((positions - centre.unsqueeze(1)) @ rotation) * kept.unsqueeze(-1)

    return Peptides(
        where, rotation, centre,
        local(points, there), there, amino_acids[each, places[:, _NEXT_TO]],
        local(ca[each, found], close), close, amino_acids[each, found],
    )  # fmt: skip


def rank_in_row(row: torch.Tensor) -> torch.Tensor:
    """Number of each element among those of its row; `row` int64 [P] is sorted."""
    start = torch.searchsorted(row, row)
    return torch.arange(len(row), device=row.device) - start


def centre_rows(centre: torch.Tensor, row: torch.Tensor, rows: int) -> torch.Tensor:
    """Points [P, 3] as [B, largest number of a row, 3]; 0 where a row has fewer."""
    rank = rank_in_row(row)
    out = centre.new_zeros(rows, int(rank.max()) + 1 if len(row) else 1, 3)
    out[row, rank] = centre
    return out


def to_space(peptides: Peptides, positions: torch.Tensor) -> torch.Tensor:
    """Positions [P, 3, 3] of C, O and N in space from local ones."""
    return positions @ peptides.rotation.mT + peptides.centre.unsqueeze(1)
