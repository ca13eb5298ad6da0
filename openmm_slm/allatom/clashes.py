"""Give clashing side chains other rotamers, in a few vectorised passes (torch).

Each residue that overlaps others is offered rotamers drawn from the packer's distribution. It takes
the one with the best sum of log probability and overlap with what surrounds it, unless a neighbour
gains more by a change in the same pass.
"""

from __future__ import annotations

import math

import torch

from ..sequence import AMINO_ACIDS
from ..structure import ATOM14
from .packer_network import Backbones, PackerNetwork

NEIGHBOURS = 32  # residues (by CA) a side chain may touch
CANDIDATES = 20  # rotamers offered
TOLERATED = 0.2  # overlap of a side chain that is left alone
TRUST = 0.25  # overlap that weighs as much as one nat
_SOFTNESS = 0.04  # nm; an overlap of this much costs 1
_RADII = {"C": 0.17, "N": 0.155, "O": 0.15, "S": 0.18}  # nm
_POLAR = 0.275  # nm; hydrogen bonds are shorter at times, but valid frames have none under 0.25
_OWN = 0.85  # of the distances, against N, C and O of the residue itself
_FIRST = 5  # slot of the first atom that turns
_SULFUR = list(_RADII).index("S")
_PROLINE = AMINO_ACIDS.index("P")


def _elements() -> torch.Tensor:
    """Place in `_RADII` of each atom, [21, 14]."""
    table = torch.zeros(21, 14, dtype=torch.int64)
    for row, letter in enumerate(AMINO_ACIDS + "X"):
        for slot, name in enumerate(ATOM14[letter]):
            table[row, slot] = list(_RADII).index(name[0])
    return table


def _contacts() -> torch.Tensor:
    """Distance below which two elements overlap, [4, 4], nm."""
    radii = torch.tensor(list(_RADII.values()))
    table = radii.unsqueeze(0) + radii.unsqueeze(1) - 0.04
    polar = torch.tensor([name in "NO" for name in _RADII])
    table[polar.unsqueeze(0) & polar.unsqueeze(1)] = _POLAR
    return table


class _Surroundings:
    """What is around each of the R residues of a batch of frames of equal length."""

    def __init__(self, network: PackerNetwork, encoded: Backbones, frames: int) -> None:
        device = encoded.atoms.device
        kinds = encoded.amino_acids
        self.present = network.builder.present[kinds]
        self.element = _elements().to(device)[kinds]
        self.contact = _contacts().to(device)
        length = len(kinds) // frames
        ca = encoded.atoms[:, 1].view(frames, length, 3)
        distance = torch.cdist(ca, ca, compute_mode="donot_use_mm_for_euclid_dist")
        nearest = distance.topk(min(NEIGHBOURS, length), largest=False).indices
        first = torch.arange(frames, device=device).view(-1, 1, 1) * length
        self.near = (nearest + first).flatten(0, 1)

    def overlap(self, rows: torch.Tensor, moved: torch.Tensor, atoms: torch.Tensor) -> torch.Tensor:
        """Cost [S, K] of side chains `moved` [S, K, 14, 3] of residues `rows` [S] among `atoms`.

        Atoms from the second of the side chain on count: CB does not turn. None of them is bonded
        to another residue (but the sulfurs of disulfides), or shares a neighbour with it.
        """
        s, k = moved.shape[:2]
        # The atoms there are, one after another: most side chains have few.
        which, slot = torch.nonzero(self.present[rows][:, _FIRST:], as_tuple=True)
        slot = slot + _FIRST
        mine = moved[which, :, slot]  # [M, K, 3]
        element = self.element[rows][which, slot]
        near = self.near[rows]
        others = self.present[near] & (near != rows.unsqueeze(1)).unsqueeze(-1)
        around = atoms[near].flatten(1, 2)  # [S, N, 3]
        theirs = self.element[near].flatten(1)[which]
        limit = self.contact[element.unsqueeze(1), theirs] * others.flatten(1)[which]
        distance = torch.cdist(mine, around[which], compute_mode="donot_use_mm_for_euclid_dist")
        deep = ((limit.unsqueeze(1) - distance) / _SOFTNESS).clamp(min=0)
        sulfurs = (element == _SULFUR).unsqueeze(1) & (theirs == _SULFUR)
        if sulfurs.any():
            deep = torch.where(sulfurs.unsqueeze(1) & (distance < 0.25), 0.0, deep)
        cost = deep.square().sum(-1)
        own = [0, 2, 3]
        limit = _OWN * self.contact[element.unsqueeze(1), self.element[rows][which][:, own]]
        distance = torch.cdist(
            mine, atoms[rows][which][:, own], compute_mode="donot_use_mm_for_euclid_dist"
        )
        deep = ((limit.unsqueeze(1) - distance) / _SOFTNESS).clamp(min=0).square().sum(-1)
        cost = cost + deep * (slot > _FIRST).unsqueeze(1)
        return cost.new_zeros(s, k).index_add_(0, which, cost)


def relieve_clashes(
    network: PackerNetwork,
    encoded: Backbones,
    nodes: torch.Tensor,
    atoms: torch.Tensor,
    given: torch.Tensor,
    chi_given: torch.Tensor,
    free: torch.Tensor,
    frames: int,
    passes: int,
) -> torch.Tensor:
    """Atoms [R, 14, 3] with fewer overlaps.

    Parameters
    ----------
    network, encoded, nodes
        What rotamers are drawn from (`PackerNetwork.environments`).
    atoms : Tensor [R, 14, 3]
        nm; R residues of `frames` frames of equal length.
    given, chi_given : Tensor [R, 14, 3], [R, 4]
        What is known, NaN elsewhere; it stays.
    free : Tensor, bool [R]
        Residues whose side chain may change.
    passes : int
    """
    around = _Surroundings(network, encoded, frames)
    turns = network.builder.chi.amax(1) + 1  # number of chi angles
    free = free & (turns[encoded.amino_acids] > 0) & (encoded.amino_acids != _PROLINE)
    atoms = atoms.clone()
    cost = atoms.new_zeros(len(atoms))
    # A place in `built` and `log_prob` for each residue that was offered rotamers.
    place = torch.full((len(atoms),), -1, dtype=torch.int64, device=atoms.device)
    built = atoms.new_zeros((0, CANDIDATES, 14, 3))
    log_prob = atoms.new_zeros((0, CANDIDATES))
    stale = free
    for _ in range(passes):
        for part in torch.nonzero(stale).squeeze(1).split(2048):
            cost[part] = around.overlap(part, atoms[part].unsqueeze(1), atoms)[:, 0]
        rows = torch.nonzero(free & (cost > TOLERATED)).squeeze(1)
        if not len(rows):
            break
        fresh = rows[place[rows] < 0]
        if len(fresh):
            place[fresh] = len(built) + torch.arange(len(fresh), device=atoms.device)
            length = len(atoms) // frames
            offer = _offer(network, encoded, nodes, given, chi_given, fresh, length)
            built, log_prob = torch.cat([built, offer[0]]), torch.cat([log_prob, offer[1]])
        total = torch.cat([
            around.overlap(part, built[place[part]], atoms) for part in rows.split(128)
        ]) - TRUST * log_prob[place[rows]]  # fmt: skip
        best, choice = total.min(1)
        # What stands counts as the likeliest of the rotamers offered.
        now = cost[rows] - TRUST * log_prob[place[rows]].amax(1)
        gain = atoms.new_full((len(atoms),), -math.inf)
        gain[rows] = now - best
        changing = rows[(now - best > 1e-4) & _first_among(gain, rows, around.near[rows])]
        if not len(changing):
            break
        picked = torch.zeros_like(place)
        picked[rows] = choice
        atoms[changing] = built[place[changing], picked[changing]]
        stale = torch.zeros_like(free)
        stale[around.near[changing].flatten()] = True
        stale &= free
    return atoms


def _first_among(gain: torch.Tensor, rows: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
    """bool [S]: no neighbour gains more (of equal ones, the first goes)."""
    mine = gain[rows].unsqueeze(1)
    rival = torch.where(near == rows.unsqueeze(1), -math.inf, gain[near])
    beaten = (rival > mine) | ((rival == mine) & (near < rows.unsqueeze(1)))
    return ~beaten.any(1)


def _offer(network, encoded, nodes, given, chi_given, rows, length):
    """Rotamers [S, K, 14, 3] of residues `rows`, and their log probabilities [S, K]."""
    # The draws depend on a residue's place in its frame, not on the frames beside it.
    generator = torch.Generator().manual_seed(0)
    draws = torch.rand(length, CANDIDATES, 4, generator=generator).to(nodes.device)

    def repeat(values: torch.Tensor) -> torch.Tensor:
        return values[rows].repeat_interleave(CANDIDATES, 0)

    chi, log_prob = network.choose(repeat(nodes), draws[rows % length].view(-1, 4))
    fixed, aa = repeat(chi_given), repeat(encoded.amino_acids)
    chi = torch.where(torch.isfinite(fixed), fixed, chi)
    built = network.builder(repeat(encoded.atoms), aa, chi, repeat(given))
    turns = network.builder.chi.amax(1)[aa].unsqueeze(1)
    log_prob = (log_prob * (torch.arange(4, device=chi.device) <= turns)).sum(-1)
    return built.view(-1, CANDIDATES, 14, 3), log_prob.view(-1, CANDIDATES)
