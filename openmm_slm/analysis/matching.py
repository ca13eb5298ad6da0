"""Match the residues and atoms of two trajectories of one protein."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StructureError, counted
from ..protein.alignment import align
from ..protein.atoms import residue_letter
from ..protein.chains import divided, protein_chains, warn_of_lone_residues

if TYPE_CHECKING:
    import mdtraj
    from mdtraj.core.topology import Residue

logger = logging.getLogger(__name__)
_OXYGEN = ("O", "OT1", "O1", "OC1")  # names in the wwPDB archive, CHARMM and GROMACS
FAR = 1000  # step of the position between chains
Pair = tuple["Residue", "Residue"]


@dataclass(frozen=True, eq=False)
class Matched:
    """The R residues whose CA is present in both ensembles.

    Attributes
    ----------
    sequence : str
        R letters; from the reference where the samples have X.
    labels : tuple of str
        Residue names and numbers in the samples: "ALA12".
    position : ndarray, int [R]
        Position in the sequence: steps of 1 between neighbours, of k + 1 across k missing residues,
        and of 1,000 or more between chains.
    chain : ndarray, int [R]
        Chain number.
    samples, reference : ndarray, float32 [N or M, R, 3]
        CA (nm).
    backbone_rows : ndarray, int [Q]
        Rows of the residues with N, CA, C and O in both ensembles.
    samples_backbone, reference_backbone : ndarray, float32 [N or M, Q, 4, 3]
        N, CA, C, O of these residues (nm).
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
        """bool [R]: residue i does not follow residue i - 1 in the sequence."""
        return np.diff(self.position, prepend=-FAR) != 1


def match(samples: mdtraj.Trajectory, reference: mdtraj.Trajectory) -> Matched:
    """Match residues of two trajectories.

    If both have the same number of chains, chains match in order; otherwise all chains are
    concatenated. Identical sequences match residue by residue, whatever the residue numbers.
    Otherwise residues match by number if that covers the whole shorter chain, else by sequence
    alignment. Residues may be missing in either trajectory, but substitutions are errors.

    Raises
    ------
    StructureError
        A trajectory has no protein, fewer than 2 frames or coordinates that are not finite, the
        sequences differ, or fewer than 4 residues are shared.
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
            f"{counted(len(pairs), 'residue has', 'residues have')} a CA in both ensembles; at "
            "least 4 are needed"
        )
    if len(pairs) < max(total):
        logger.warning("%s in common of %d and %d", counted(len(pairs), "residue"), *total)
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
            f"the {whose} have {counted(trajectory.n_frames, 'frame')}; a distribution needs "
            "at least 2 (mdtraj.join concatenates trajectories)"
        )
    topology = divided(trajectory).topology
    warn_of_lone_residues(topology, f"the {whose}")
    chains = [residues for _, residues in protein_chains(topology)]
    if not chains:
        raise StructureError(
            f"the {whose} have no protein among {trajectory.n_residues} residues; check their names"
        )
    return chains


def _match_chain(ours: list[Residue], theirs: list[Residue]) -> tuple[list[Pair], list[int]]:
    """Matched residues, and their positions in the complete sequence."""
    a, b = ("".join(residue_letter(r.name) for r in chain) for chain in (ours, theirs))
    rows = [(i, i) for i in range(len(a))] if a == b else _by_number(ours, theirs, a, b)
    if rows is None:
        rows = align(a, b)
    column, columns = 0, []
    for k, (i, j) in enumerate(rows):
        if k:
            steps = ((ours, i, rows[k - 1][0]), (theirs, j, rows[k - 1][1]))
            column += max(i - steps[0][2], j - steps[1][2], _number_step(*steps))
        columns.append(column)
    return [(ours[i], theirs[j]) for i, j in rows], columns


def _number_step(*steps: tuple[list[Residue], int, int]) -> int:
    """Step of the residue numbers; a jump in both trajectories means that both lack residues."""
    pairs = [(chain[row], chain[before]) for chain, row, before in steps]
    if any(r.chain.index != before.chain.index for r, before in pairs):
        return FAR
    return min(r.resSeq - before.resSeq for r, before in pairs)


def _by_number(ours, theirs, a: str, b: str) -> list[tuple[int, int]] | None:
    """Rows matched by residue number, if numbers are unique and cover the whole shorter chain."""
    rows = [{r.resSeq: i for i, r in enumerate(chain)} for chain in (ours, theirs)]
    shared = [n for n in rows[0] if n in rows[1]]
    pairs = [(rows[0][n], rows[1][n]) for n in shared]
    complete = len(rows[0]) == len(a) and len(rows[1]) == len(b)
    complete = complete and len(shared) == min(len(a), len(b))
    same = all(a[i] == b[j] or "X" in (a[i], b[j]) for i, j in pairs)
    ascending = all(j > before for (_, j), (_, before) in _steps(pairs))
    return pairs if complete and same and ascending else None


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
            f"frame {frame} of the {whose} has coordinates that are not finite ({name}); remove "
            "such frames: traj[np.isfinite(traj.xyz).all((1, 2))]"
        )
