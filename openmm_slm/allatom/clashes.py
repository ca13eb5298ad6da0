"""Give clashing side chains other rotamers, in a few vectorised passes (torch).

Each residue that overlaps others is offered rotamers drawn from the packer's distribution. It takes
the one with the best sum of log probability and overlap with what surrounds it, unless a neighbour
gains more by a change in the same pass. In the last passes, residues with a pair that would make
the frame invalid are offered small turns of what they have.
"""

from __future__ import annotations

import math

import torch

from ..protein.atoms import ATOM14
from ..protein.sequence import AMINO_ACIDS
from ..validity.criteria import CLASH, PACKING_RADII
from .packer_network import EncodedBackbones, PackerNetwork

NEIGHBOURS = 32  # residues (by CA) a side chain may touch
CANDIDATES = 20  # rotamers offered
TOLERATED = 0.2  # overlap of a side chain that is left alone
TRUST = 0.25  # overlap that weighs as much as one nat
_SOFTNESS = 0.04  # nm; an overlap of this much costs 1
_POLAR = 0.275  # nm; hydrogen bonds are shorter at times, but valid frames have none under 0.25
_OWN = 0.85  # of the distances, against N, C and O of the residue itself
_CLASH = CLASH + 0.002  # nm; a margin over the distance that makes a frame invalid
_ALIKE = 1e-3  # costs that differ by less are equal: last digits depend on the frames beside one
_CLASHES = 1.0  # cost of such a pair, besides its overlap
_FIXED = 10.0  # weight of overlaps inside a residue: no motion of the backbone mends them
_NUDGES = 4  # passes of small turns
_TURN = 0.25  # radians, standard deviation of these turns
_AROUND = 128  # atoms a side chain may touch
_REACH = 0.25  # nm from CA through CB: in the midst of most side chains
_FIRST = 5  # slot of the first atom that turns
_SULFUR = list(PACKING_RADII).index("S")
_PROLINE = AMINO_ACIDS.index("P")


def _elements() -> torch.Tensor:
    """Place in `PACKING_RADII` of each atom, [21, 14]."""
    table = torch.zeros(21, 14, dtype=torch.int64)
    for row, letter in enumerate(AMINO_ACIDS + "X"):
        for slot, name in enumerate(ATOM14[letter]):
            table[row, slot] = list(PACKING_RADII).index(name[0])
    return table


def _contacts() -> torch.Tensor:
    """Distance below which two elements overlap, [4, 4], nm."""
    radii = torch.tensor(list(PACKING_RADII.values()))
    table = radii.unsqueeze(0) + radii.unsqueeze(1) - 0.04
    polar = torch.tensor([name in "NO" for name in PACKING_RADII])
    table[polar.unsqueeze(0) & polar.unsqueeze(1)] = _POLAR
    return table


class _Surroundings:
    """What is around each of the R residues of a batch of frames of equal length."""

    def __init__(
        self, network: PackerNetwork, encoded: EncodedBackbones, free: torch.Tensor, frames: int
    ) -> None:
        device = encoded.atoms.device
        self.free = free
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
        around, theirs, there, bonded = self._nearest(rows, atoms)
        limit = self.contact[element.unsqueeze(1), theirs[which]] * there[which]
        distance = torch.cdist(mine, around[which], compute_mode="donot_use_mm_for_euclid_dist")
        bonded = (element == _SULFUR).unsqueeze(1) & bonded[which]
        if bonded.any():
            limit = limit * ~(bonded & (distance < _CLASH).any(1))
        cost = _cost(distance, limit.unsqueeze(1))
        own = [0, 2, 3]
        limit = _OWN * self.contact[element.unsqueeze(1), self.element[rows][which][:, own]]
        distance = torch.cdist(
            mine, atoms[rows][which][:, own], compute_mode="donot_use_mm_for_euclid_dist"
        )
        cost = cost + _FIXED * _cost(distance, limit.clamp(min=_CLASH).unsqueeze(1))
        return cost.new_zeros(s, k).index_add_(0, which, cost)

    def _nearest(self, rows: torch.Tensor, atoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Atoms around residues: place [S, N, 3], element, whether there, whether a bonded SG."""
        near = self.near[rows]
        others = self.present[near] & (near != rows.unsqueeze(1)).unsqueeze(-1)
        around = atoms[near].flatten(1, 2)
        ca, cb = atoms[rows, 1], atoms[rows, 4]
        centre = ca + _REACH * torch.nn.functional.normalize(cb - ca, dim=-1)
        square = (around - centre.unsqueeze(1)).square().sum(-1)
        square = square.masked_fill(~others.flatten(1), math.inf)
        square, nearest = square.topk(min(_AROUND, square.shape[1]), largest=False, sorted=False)
        around = around.gather(1, nearest.unsqueeze(-1).expand(-1, -1, 3))
        element = self.element[near].flatten(1).gather(1, nearest)
        fixed = ~self.free[near].repeat_interleave(14, 1).gather(1, nearest)
        return around, element, torch.isfinite(square), fixed & (element == _SULFUR)


def _cost(distance: torch.Tensor, limit: torch.Tensor) -> torch.Tensor:
    """Cost [M, K] of distances [M, K, N] under their limits."""
    deep = ((limit - distance) / _SOFTNESS).clamp(min=0).square()
    return (deep + _CLASHES * ((distance < _CLASH) & (limit > 0))).sum(-1)


def relieve_clashes(
    network: PackerNetwork,
    encoded: EncodedBackbones,
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
    around = _Surroundings(network, encoded, free, frames)
    turns = network.builder.chi.amax(1) + 1  # number of chi angles
    free = free & (turns[encoded.amino_acids] > 0) & (encoded.amino_acids != _PROLINE)
    source = _Source(network, encoded, nodes, given, chi_given, len(atoms) // frames)
    atoms = atoms.clone()
    cost = atoms.new_zeros(len(atoms))
    stale, settled = free, False
    for number in range(passes + _NUDGES):
        nudged = number >= passes
        if settled and not nudged:
            continue
        for part in torch.nonzero(stale).squeeze(1).split(2048):
            cost[part] = around.overlap(part, atoms[part].unsqueeze(1), atoms)[:, 0]
        rows = torch.nonzero(free & (cost > (_CLASHES if nudged else TOLERATED))).squeeze(1)
        if not len(rows):
            break
        offers = source.turned(rows, atoms, number) if nudged else source.drawn(rows)
        built, log_prob, standing = offers
        total = [
            around.overlap(part, moved, atoms)
            for part, moved in zip(rows.split(128), built.split(128), strict=True)
        ]
        best, choice = _steps(torch.cat(total) - TRUST * log_prob).min(1)
        gain = atoms.new_full((len(atoms),), -math.inf)
        gain[rows] = _steps(cost[rows] - TRUST * standing) - best
        going = (gain[rows] > 0) & _first_among(gain, rows, around.near[rows])
        atoms[rows[going]] = built[going, choice[going]]
        stale = torch.zeros_like(free)
        stale[around.near[rows[going]].flatten()] = True
        stale &= free
        settled = not going.any()
    return atoms


def _steps(cost: torch.Tensor) -> torch.Tensor:
    """In whole steps: two that clash with each other alone gain the same, and the first must go."""
    return (cost / _ALIKE).round()


def _first_among(gain: torch.Tensor, rows: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
    """bool [S]: no neighbour gains more (of equal ones, the first goes)."""
    mine = gain[rows].unsqueeze(1)
    rival = torch.where(near == rows.unsqueeze(1), -math.inf, gain[near])
    beaten = (rival > mine) | ((rival == mine) & (near < rows.unsqueeze(1)))
    return ~beaten.any(1)


class _Source:
    """Rotamers for residues that clash.

    They depend on a residue's place in its frame, not on the frames beside it.
    """

    def __init__(self, network, encoded, nodes, given, chi_given, length) -> None:
        self.network, self.encoded, self.nodes = network, encoded, nodes
        self.given, self.chi_given, self.length = given, chi_given, length
        self.turns = network.builder.chi.amax(1)[encoded.amino_acids]
        # A place in `built` and `log_prob` for each residue that was offered rotamers.
        self.place = torch.full_like(encoded.amino_acids, -1)
        self.built = given.new_zeros((0, CANDIDATES, 14, 3))
        self.log_prob = given.new_zeros((0, CANDIDATES))

    def drawn(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rotamers [S, K, 14, 3] of residues `rows`, log probabilities [S, K], of what stands [S].

        What stands counts as the likeliest of the rotamers offered.
        """
        fresh = rows[self.place[rows] < 0]
        if len(fresh):
            self.place[fresh] = len(self.built) + torch.arange(len(fresh), device=rows.device)
            draws = self._numbers(torch.rand, 0)[fresh % self.length]
            nodes = self.nodes[fresh].repeat_interleave(CANDIDATES, 0)
            chi, log_prob = self.network.choose(nodes, draws.view(-1, 4))
            self.built = torch.cat([self.built, self._build(fresh, chi)])
            self.log_prob = torch.cat([self.log_prob, self._sum(fresh, log_prob)])
        log_prob = self.log_prob[self.place[rows]]
        return self.built[self.place[rows]], log_prob, log_prob.amax(1)

    def turned(
        self, rows: torch.Tensor, atoms: torch.Tensor, number: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The same of small turns of what stands in `atoms`, about which they are normal."""
        turn = self._numbers(torch.randn, number)[rows % self.length]
        chi = self.network.builder.known_chi(atoms[rows], self.encoded.amino_acids[rows])
        chi = torch.nan_to_num(chi).unsqueeze(1) + _TURN * turn
        log_density = self._sum(rows, -0.5 * turn.square().flatten(0, 1))
        return self._build(rows, chi.flatten(0, 1)), log_density, log_density.new_zeros(len(rows))

    def _numbers(self, draw, seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return draw(self.length, CANDIDATES, 4, generator=generator).to(self.nodes.device)

    def _build(self, rows: torch.Tensor, chi: torch.Tensor) -> torch.Tensor:
        atoms, aa, given, fixed = (
            values[rows].repeat_interleave(CANDIDATES, 0)
            for values in (
                self.encoded.atoms, self.encoded.amino_acids, self.given, self.chi_given,
            )
        )  # fmt: skip
        chi = torch.where(torch.isfinite(fixed), fixed, chi)
        return self.network.builder(atoms, aa, chi, given).view(-1, CANDIDATES, 14, 3)

    def _sum(self, rows: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Sums [S, K] over the chi that there are of values [S * K, 4]."""
        there = torch.arange(4, device=rows.device) <= self.turns[rows].unsqueeze(1)
        return (values.view(-1, CANDIDATES, 4) * there.unsqueeze(1)).sum(-1)
