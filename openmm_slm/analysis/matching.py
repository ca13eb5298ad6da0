"""Which residues and atoms two trajectories of one protein have in common."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StructureError
from ..protein.alignment import align
from ..protein.atoms import residue_letter
from ..protein.trajectory import protein_chains

if TYPE_CHECKING:
    import mdtraj
    from mdtraj.core.topology import Residue

logger = logging.getLogger(__name__)
_OXYGEN = ("O", "OT1", "O1", "OC1")  # of the archive, CHARMM and GROMACS
FAR = 1000  # step in position to another chain
Pair = tuple["Residue", "Residue"]


@dataclass(frozen=True, eq=False)
class Matched:
    """The R residues whose CA both ensembles have.

    Attributes
    ----------
    sequence : str
        R letters; those of the reference where the samples have X.
    labels : tuple of str
        Residue names and numbers of the samples: "ALA12".
    position : ndarray, int [R]
        Along the sequence; neighbours differ by 1, residues with k missing between them by
        k + 1, those of different chains by 1,000 or more.
    chain : ndarray, int [R]
    samples, reference : ndarray, float32 [N or M, R, 3]
        CA (nm).
    backbone_rows : ndarray, int [Q]
        Rows of the residues that have N, CA, C and O in both.
    samples_backbone, reference_backbone : ndarray, float32 [N or M, Q, 4, 3]
    """

    sequence: str
    labels: tuple[str, ...]
    position: np.ndarray
    chain: np.ndarray
    samples: np.ndarray
    reference: np.ndarray
    backbone_rows: np.ndarray
    samples_backbone: np.ndarray
    reference_backbone: np.ndarray

    @property
    def chain_break(self) -> np.ndarray:
        """bool [R]: row i is not the neighbour of row i - 1 in the sequence."""
        return np.diff(self.position, prepend=-FAR) != 1


def match(samples: mdtraj.Trajectory, reference: mdtraj.Trajectory) -> Matched:
    """Match residues of two trajectories.

    Chains are taken in their order where both have as many, else all residues in a row. Equal
    sequences match residue by residue, whatever their numbers; otherwise residues match by number
    where that explains the shorter chain wholly, else by an alignment. Residues may be missing in
    either, but none may differ.

    Raises
    ------
    StructureError
        No protein, fewer than 2 frames, other residues, fewer than 4 in common, or coordinates
        that are not finite.
    """
    chains = [_residues(samples, "samples"), _residues(reference, "reference")]
    if len(chains[0]) != len(chains[1]):
        chains = [[[r for chain in part for r in chain]] for part in chains]
    pairs: list[Pair] = []
    positions: list[int] = []
    for ours, theirs in zip(*chains, strict=True):
        start = positions[-1] + FAR if positions else 0
        found, columns = _match_chain(ours, theirs)
        pairs += found
        positions += [start + column for column in columns]
    kept = [i for i, pair in enumerate(pairs) if all("CA" in _atoms(r) for r in pair)]
    pairs, position = [pairs[i] for i in kept], np.array([positions[i] for i in kept])
    total = [sum(map(len, part)) for part in chains]
    if len(pairs) < 4:
        raise StructureError(
            f"{len(pairs)} residues with a CA in both ensembles; at least 4 are needed"
        )
    if len(pairs) < max(total):
        logger.warning("%d residues in common of %d and %d", len(pairs), *total)
    rows = np.array([i for i, pair in enumerate(pairs) if all(map(_backbone, pair))], int)
    arrays = []
    for side, (whose, trajectory) in enumerate((("samples", samples), ("reference", reference))):
        ours = [pair[side] for pair in pairs]
        atoms = [_atoms(r)["CA"] for r in ours]
        quartets = [_backbone(ours[row]) for row in rows]
        _check_finite(trajectory, sorted({*atoms, *(a for q in quartets for a in q)}), whose)
        arrays.append(trajectory.xyz[:, atoms])
        quartets = np.array(quartets, int).reshape(-1, 4)
        arrays.append(trajectory.xyz[:, quartets])
    letters = [[residue_letter(r.name) for r in pair] for pair in pairs]
    return Matched(
        "".join(b if a == "X" else a for a, b in letters),
        tuple(f"{a.name}{a.resSeq}" for a, _ in pairs),
        position,
        np.cumsum([0, *(a.chain.index != b.chain.index for (a, _), (b, _) in _steps(pairs))]),
        arrays[0],
        arrays[2],
        rows,
        arrays[1],
        arrays[3],
    )


def _steps(items: list) -> list:
    return list(zip(items[1:], items[:-1], strict=True))


def _residues(trajectory: mdtraj.Trajectory, whose: str) -> list[list[Residue]]:
    if not hasattr(trajectory, "topology") or not hasattr(trajectory, "xyz"):
        raise StructureError(
            f"the {whose} are of type {type(trajectory).__name__}; pass an mdtraj.Trajectory"
        )
    if trajectory.n_frames < 2:
        raise StructureError(
            f"the {whose} have {trajectory.n_frames} frame; a distribution needs at least 2 "
            "(mdtraj.join puts trajectories together)"
        )
    chains = [residues for _, residues in protein_chains(trajectory.topology)]
    if not chains:
        raise StructureError(
            f"the {whose} have no protein residue in {trajectory.n_residues} residues; check names"
        )
    return chains


def _match_chain(ours: list[Residue], theirs: list[Residue]) -> tuple[list[Pair], list[int]]:
    """Pairs of residues, and their places in the sequence that both are parts of."""
    a, b = ("".join(residue_letter(r.name) for r in chain) for chain in (ours, theirs))
    places = [(i, i) for i in range(len(a))] if a == b else _by_number(ours, theirs, a, b)
    if places is None:
        places = align(a, b)
    column, columns = 0, []
    for k, (i, j) in enumerate(places):
        if k:
            steps = ((ours, i, places[k - 1][0]), (theirs, j, places[k - 1][1]))
            column += max(i - steps[0][2], j - steps[1][2], _jump(*steps))
        columns.append(column)
    return [(ours[i], theirs[j]) for i, j in places], columns


def _jump(*steps: tuple[list[Residue], int, int]) -> int:
    """What both numberings say of the distance: numbers that jump in both tell of residues that
    both lack."""
    pairs = [(chain[row], chain[before]) for chain, row, before in steps]
    if any(r.chain.index != before.chain.index for r, before in pairs):
        return FAR
    return min(r.resSeq - before.resSeq for r, before in pairs)


def _by_number(ours, theirs, a: str, b: str) -> list[tuple[int, int]] | None:
    """Places by residue number, if they are unique and hold the whole shorter chain."""
    rows = [{r.resSeq: i for i, r in enumerate(chain)} for chain in (ours, theirs)]
    shared = [n for n in rows[0] if n in rows[1]]
    places = [(rows[0][n], rows[1][n]) for n in shared]
    whole = len(rows[0]) == len(a) and len(rows[1]) == len(b)
    whole = whole and len(shared) == min(len(a), len(b))
    same = all(a[i] == b[j] or "X" in (a[i], b[j]) for i, j in places)
    rising = all(j > before for (_, j), (_, before) in _steps(places))
    return places if whole and same and rising else None


def _atoms(residue: Residue) -> dict[str, int]:
    return {atom.name: atom.index for atom in residue.atoms}


def _backbone(residue: Residue) -> list[int] | None:
    """Indices of N, CA, C and O; None if one is absent."""
    atoms = _atoms(residue)
    oxygen = next((atoms[name] for name in _OXYGEN if name in atoms), None)
    found = [atoms.get("N"), atoms.get("CA"), atoms.get("C"), oxygen]
    return None if None in found else found


def _check_finite(trajectory: mdtraj.Trajectory, atoms: list[int], whose: str) -> None:
    finite = np.isfinite(trajectory.xyz[:, atoms]).all(-1)
    if not finite.all():
        frame, atom = np.argwhere(~finite)[0]
        name = trajectory.topology.atom(atoms[atom])
        raise StructureError(
            f"frame {frame} of the {whose} has coordinates that are not finite ({name}); leave "
            "such frames out: traj[np.isfinite(traj.xyz).all((1, 2))]"
        )
