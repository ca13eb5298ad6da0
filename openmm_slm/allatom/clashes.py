"""Replace the rotamers of clashing side chains, in a few vectorised passes (torch).

Candidates for each clashing residue are rotamers drawn from the packer's distribution. The best one
minimises the overlap with the surrounding atoms minus the weighted log probability. A residue
changes unless a neighbour gains more in the same pass. In the last passes, the candidates are small
rotations of the current side chain, for residues whose clashes would make the frame invalid.
"""

from __future__ import annotations

import math

import torch

from ..protein.atoms import ATOM14
from ..protein.sequence import AMINO_ACIDS
from ..validity.criteria import CLASH, PACKING_RADII
from .packer_network import EncodedBackbones, PackerNetwork
from .packing_obstacles import PackingObstacles, contacts

NEIGHBOURS = 32  # nearest residues (by CA) considered
CANDIDATES = 20  # candidate rotamers per residue
TOLERATED = 0.2  # cost below which a side chain is not changed
TRUST = 0.25  # cost per nat of log probability
_SOFTNESS = 0.04  # nm; an overlap of this depth costs 1
_OWN = 0.85  # scales the contact distances to N, C and O of the same residue
_CLASH = CLASH + 0.002  # nm; the clash distance of invalid frames plus a margin
_CLASH_COST = 1.0  # extra cost of a pair below that distance
_RESOLUTION = 1e-3  # of costs: the batch composition changes their last digits
_SAME_RESIDUE = 10.0  # weight of overlaps within a residue: moving the backbone cannot remove them
_ROTATION_PASSES = 4  # passes with small rotations
_ROTATION = 0.25  # radians, standard deviation of these rotations
_NEAREST_ATOMS = 128  # nearest atoms considered
_CENTRE = 0.25  # nm from CA along CA-CB: near the centre of most side chains
_FIRST = 5  # slot of the first atom that rotates
_SULFUR = list(PACKING_RADII).index("S")
_PROLINE = AMINO_ACIDS.index("P")


def _elements() -> torch.Tensor:
    """Index in `PACKING_RADII` of each atom, [21, 14]."""
    table = torch.zeros(21, 14, dtype=torch.int64)
    for row, letter in enumerate(AMINO_ACIDS + "X"):
        for slot, name in enumerate(ATOM14[letter]):
            table[row, slot] = list(PACKING_RADII).index(name[0])
    return table


class _Environment:
    """Surroundings of each of the R residues of a batch of frames of equal length."""

    def __init__(
        self,
        network: PackerNetwork,
        encoded: EncodedBackbones,
        free: torch.Tensor,
        frames: int,
        obstacles: PackingObstacles | None,
    ) -> None:
        device = encoded.atoms.device
        self.free, self.obstacles = free, obstacles
        kinds = encoded.amino_acids
        self.present = network.builder.present[kinds]
        self.element = _elements().to(device)[kinds]
        self.contact = contacts(tuple(PACKING_RADII)).to(device)
        length = len(kinds) // frames
        ca = encoded.atoms[:, 1].view(frames, length, 3)
        distance = torch.cdist(ca, ca, compute_mode="donot_use_mm_for_euclid_dist")
        nearest = distance.topk(min(NEIGHBOURS, length), largest=False).indices
        first = torch.arange(frames, device=device).view(-1, 1, 1) * length
        self.near = (nearest + first).flatten(0, 1)
        self.length = length

    def overlap(self, rows: torch.Tensor, moved: torch.Tensor, atoms: torch.Tensor) -> torch.Tensor:
        """Overlap cost [S, K] of side chains `moved` [S, K, 14, 3] of `rows` [S] among `atoms`.

        CB does not rotate and is left out. Apart from the sulfurs of disulfides, the other atoms
        are at least three bonds away from any other residue.
        """
        s, k = moved.shape[:2]
        # A flat list of the atoms present: most side chains have few.
        which, slot = torch.nonzero(self.present[rows][:, _FIRST:], as_tuple=True)
        slot = slot + _FIRST
        mine = moved[which, :, slot]  # [M, K, 3]
        element = self.element[rows][which, slot]
        around, theirs, present, bonded = self._nearest(rows, atoms)
        limit = self.contact[element.unsqueeze(1), theirs[which]] * present[which]
        distance = torch.cdist(mine, around[which], compute_mode="donot_use_mm_for_euclid_dist")
        bonded = (element == _SULFUR).unsqueeze(1) & bonded[which]
        if bonded.any():
            limit = limit * ~(bonded & (distance < _CLASH).any(1))
        cost = _cost(distance, limit.unsqueeze(1))
        if self.obstacles is not None:
            points = self.obstacles.xyz[rows[which] // self.length]
            distance = torch.cdist(mine, points, compute_mode="donot_use_mm_for_euclid_dist")
            cost = cost + _cost(distance, self.obstacles.contact[element].unsqueeze(1))
        own = [0, 2, 3]
        limit = _OWN * self.contact[element.unsqueeze(1), self.element[rows][which][:, own]]
        distance = torch.cdist(
            mine, atoms[rows][which][:, own], compute_mode="donot_use_mm_for_euclid_dist"
        )
        cost = cost + _SAME_RESIDUE * _cost(distance, limit.clamp(min=_CLASH).unsqueeze(1))
        return cost.new_zeros(s, k).index_add_(0, which, cost)

    def _nearest(self, rows: torch.Tensor, atoms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Nearest atoms of residues: position [S, N, 3], element, presence, and if a bonded SG."""
        near = self.near[rows]
        others = self.present[near] & (near != rows.unsqueeze(1)).unsqueeze(-1)
        around = atoms[near].flatten(1, 2)
        ca, cb = atoms[rows, 1], atoms[rows, 4]
        centre = ca + _CENTRE * torch.nn.functional.normalize(cb - ca, dim=-1)
        square = (around - centre.unsqueeze(1)).square().sum(-1)
        square = square.masked_fill(~others.flatten(1), math.inf)
        count = min(_NEAREST_ATOMS, square.shape[1])
        square, nearest = square.topk(count, largest=False, sorted=False)
        around = around.gather(1, nearest.unsqueeze(-1).expand(-1, -1, 3))
        element = self.element[near].flatten(1).gather(1, nearest)
        fixed = ~self.free[near].repeat_interleave(14, 1).gather(1, nearest)
        return around, element, torch.isfinite(square), fixed & (element == _SULFUR)


def _cost(distance: torch.Tensor, limit: torch.Tensor) -> torch.Tensor:
    """Cost [M, K] of distances [M, K, N] below their limits."""
    overlap = ((limit - distance) / _SOFTNESS).clamp(min=0).square()
    return (overlap + _CLASH_COST * ((distance < _CLASH) & (limit > 0))).sum(-1)


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
    obstacles: PackingObstacles | None = None,
) -> torch.Tensor:
    """Change rotamers to reduce overlaps.

    Parameters
    ----------
    network, encoded, nodes
        Source of the rotamers (see `PackerNetwork.environments`).
    atoms : Tensor [R, 14, 3]
        nm; R residues of `frames` frames of equal length.
    given, chi_given : Tensor [R, 14, 3], [R, 4]
        Known atoms and chi angles, which are kept; NaN elsewhere.
    free : Tensor, bool [R]
        Residues whose side chain may change.
    frames : int
    passes : int
        Passes with rotamers; passes with small rotations follow.
    obstacles : PackingObstacles, optional
        Atoms beside the protein.

    Returns
    -------
    Tensor [R, 14, 3]
    """
    environment = _Environment(network, encoded, free, frames, obstacles)
    count = network.builder.chi.amax(1) + 1  # number of chi angles
    free = free & (count[encoded.amino_acids] > 0) & (encoded.amino_acids != _PROLINE)
    sampler = _RotamerSampler(network, encoded, nodes, given, chi_given, len(atoms) // frames)
    atoms = atoms.clone()
    cost = atoms.new_zeros(len(atoms))
    stale, settled = free, False
    for number in range(passes + _ROTATION_PASSES):
        rotating = number >= passes
        if settled and not rotating:
            continue
        for part in torch.nonzero(stale).squeeze(1).split(2048):
            cost[part] = environment.overlap(part, atoms[part].unsqueeze(1), atoms)[:, 0]
        rows = torch.nonzero(free & (cost > (_CLASH_COST if rotating else TOLERATED))).squeeze(1)
        if not len(rows):
            break
        candidates = sampler.rotated(rows, atoms, number) if rotating else sampler.drawn(rows)
        built, log_prob, current = candidates
        total = [
            environment.overlap(part, moved, atoms)
            for part, moved in zip(rows.split(128), built.split(128), strict=True)
        ]
        best, choice = _rounded(torch.cat(total) - TRUST * log_prob).min(1)
        gain = atoms.new_full((len(atoms),), -math.inf)
        gain[rows] = _rounded(cost[rows] - TRUST * current) - best
        accepted = (gain[rows] > 0) & _gains_most(gain, rows, environment.near[rows])
        atoms[rows[accepted]] = built[accepted, choice[accepted]]
        stale = torch.zeros_like(free)
        stale[environment.near[rows[accepted]].flatten()] = True
        stale &= free
        settled = not accepted.any()
    return atoms


def _rounded(cost: torch.Tensor) -> torch.Tensor:
    """Costs in units of `_RESOLUTION`, so that residues clashing with each other gain the same."""
    return (cost / _RESOLUTION).round()


def _gains_most(gain: torch.Tensor, rows: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
    """True, bool [S], if no neighbour gains more; of equal gains the first residue wins."""
    mine = gain[rows].unsqueeze(1)
    rival = torch.where(near == rows.unsqueeze(1), -math.inf, gain[near])
    beaten = (rival > mine) | ((rival == mine) & (near < rows.unsqueeze(1)))
    return ~beaten.any(1)


class _RotamerSampler:
    """Candidate side chains for clashing residues.

    The random numbers depend on the position of a residue in its frame, not on other frames.
    """

    def __init__(self, network, encoded, nodes, given, chi_given, length) -> None:
        self.network, self.encoded, self.nodes = network, encoded, nodes
        self.given, self.chi_given, self.length = given, chi_given, length
        self.last_chi = network.builder.chi.amax(1)[encoded.amino_acids]
        # Row of each residue in the cache `built` and `log_prob`; -1: not drawn yet.
        self.place = torch.full_like(encoded.amino_acids, -1)
        self.built = given.new_zeros((0, CANDIDATES, 14, 3))
        self.log_prob = given.new_zeros((0, CANDIDATES))

    def drawn(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rotamers [S, K, 14, 3] of `rows`, and log probabilities: theirs [S, K], the current [S].

        The log probability of the current side chain is taken as that of the best candidate.
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

    def rotated(
        self, rows: torch.Tensor, atoms: torch.Tensor, number: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As `drawn`, for normally distributed rotations of the side chains in `atoms`."""
        rotation = self._numbers(torch.randn, number)[rows % self.length]
        chi = self.network.builder.known_chi(atoms[rows], self.encoded.amino_acids[rows])
        chi = torch.nan_to_num(chi).unsqueeze(1) + _ROTATION * rotation
        log_density = self._sum(rows, -0.5 * rotation.square().flatten(0, 1))
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
        """Sum [S, K] of values [S * K, 4] over the chi angles of each residue."""
        present = torch.arange(4, device=rows.device) <= self.last_chi[rows].unsqueeze(1)
        return (values.view(-1, CANDIDATES, 4) * present.unsqueeze(1)).sum(-1)
