"""Protein chains of a model that gemmi read: which residues, in which order, in which chain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ..errors import StructureError, require
from .atoms import (
    ATOM_ALIASES,
    CAPS,
    CAPS_BEFORE,
    FIRST_ATOMS,
    LAST_ATOMS,
    residue_letter,
)
from .structure import PEPTIDE_BOND, chain_names
from .variants import stated_variant

LARGEST = 1e5  # Å; a larger coordinate is an error
LONGEST_STEP = 4.0  # Å from one CA to the next; it is 3.8 in a trans peptide


@dataclass(eq=False)
class FileResidue:
    """A residue of one model: `atoms` maps names to positions (Å); `alternative` is its altloc.

    `b_factor` is that of CA, NaN without CA. `first` and `last` tell whether atoms or a cap beside
    it mark the first or the last residue of a chain. `place` holds the numbers of its chain and
    residue in the model of gemmi, and `members` those of its atoms, hydrogens included.
    """

    number: int
    code: str
    name: str
    atoms: dict[str, list[float]]
    ligand: bool
    alternative: str
    occupancy: float
    segment: str
    variant: str
    b_factor: float
    members: list[int]
    first: bool
    last: bool
    place: tuple[int, int] = (0, 0)

    @property
    def key(self) -> tuple[int, str, str]:
        return self.number, self.code, self.name

    @property
    def modified(self) -> bool:
        """Whether it is not one of the 20 standard residues."""
        return self.name == "MSE" or residue_letter(self.name) == "X"

    def __str__(self) -> str:
        return f"{self.name} {self.number}{self.code}"


Chain = tuple[str, list[FileResidue]]


def model_chains(model, path: Path) -> tuple[list[Chain], list[str]]:
    """Protein chains of a model with unique names, and the amino acids that are in none of them.

    Free standard amino acids that the file calls ligands (HETATM) are not listed.
    """
    pieces = [
        (part.name.strip(), residues)
        for number, part in enumerate(model)
        for residues in _segments(_alternatives(part, number, path), bool(part.name.strip()))
    ]
    _put_in_place(pieces)
    parts: list[Chain] = []
    for name, residues in pieces:
        residues = _polymer(residues)
        if not residues:
            continue
        before = next((r for n, r in reversed(parts) if n == name), None)
        last, first = before[-1] if before else None, residues[0]
        # Behind a TER, a bonded piece or a higher number of the same segment continues the chain.
        rises = last and first.number > last.number and first.segment == last.segment
        rises = rises and not _ends_between(last, first, named=True)
        if (rises and name) or (last and _bonded(last, first)):
            before += residues
        else:
            parts.append((name, residues))
    # A single residue is a ligand, not a chain. A model of one residue is left to the caller.
    parts = [part for part in parts if len(part[1]) > 1] or parts
    kept = {id(residue) for _, residues in parts for residue in residues}
    left_out = [
        f"{residue} of chain {name}" if name else str(residue)
        for name, residues in pieces
        for residue in residues
        if id(residue) not in kept and not (residue.ligand and not residue.modified)
    ]
    names = chain_names([name for name, _ in parts])
    chains = [(name, residues) for name, (_, residues) in zip(names, parts, strict=True)]
    return chains, left_out


def _segments(residues: list[FileResidue], named: bool) -> list[list[FileResidue]]:
    """Residues of one chain name, split where a chain ends.

    That is where another segment begins, the numbers restart, or terminal atoms or caps stand
    between. Programs that write no chain names tell chains apart in this way only. Bonded residues
    are never split.
    """
    out: list[list[FileResidue]] = [[]]
    for residue in residues:
        last = out[-1][-1] if out[-1] else None
        restarts = last and (
            residue.number < last.number
            or residue.segment != last.segment
            or _ends_between(last, residue, named)
        )
        if restarts and not _bonded(last, residue):
            out.append([])
        out[-1].append(residue)
    return out


def _ends_between(a: FileResidue, b: FileResidue, named: bool) -> bool:
    """Whether terminal atoms or caps stand between two residues that are not bonded.

    In a chain with a name, a jump of the numbers says that they stand at a gap.
    """
    return (a.last or b.first) and not (named and b.number - a.number > 1)


def _put_in_place(pieces: list[Chain]) -> None:
    """Move modified residues that stand behind the end of their chain to their places.

    A run of modified residues goes to the residues it is bonded to, or into the gap of a chain that
    its numbers and positions fit. Of two such runs the later one moves to the earlier one.
    """
    for name, residues in reversed(pieces):
        for run in _loose_runs(residues):
            others = [piece for other, piece in pieces if other == name]
            at = residues.index(run[0])
            del residues[at : at + len(run)]
            misplaced = at == 0 or residues[at - 1].number > run[0].number
            piece, place = _place(run, others, by_number=misplaced) or (residues, at)
            piece[place:place] = run


def _loose_runs(residues: list[FileResidue]) -> list[list[FileResidue]]:
    """Runs of modified residues that are bonded to each other, but to no standard residue."""
    runs: list[list[FileResidue]] = [[]]
    for before, residue in pairwise([None, *residues]):
        if before is not None and not _bonded(before, residue):
            runs.append([])
        runs[-1].append(residue)
    return [run for run in runs if run and all(residue.modified for residue in run)]


def _place(
    run: list[FileResidue], pieces: list[list[FileResidue]], *, by_number: bool
) -> tuple[list[FileResidue], int] | None:
    """Piece and place where a run belongs; None if there is none."""
    joints = [
        (abs(residue.number - end.number), piece, k + after)
        for piece in pieces
        for k, residue in enumerate(piece)
        for end, after in ((run[0], True), (run[-1], False))
        if (_bonded(residue, end) if after else _bonded(end, residue))
    ]
    if joints:  # in a ring there are two; the numbers decide
        return min(joints, key=lambda joint: joint[0])[1:]
    if not by_number:
        return None
    gaps = [
        (max(_reach(before, run[0]), _reach(run[-1], after)), piece, k)
        for piece in pieces
        for k, (before, after) in enumerate(pairwise([None, *piece, None]))
        if _is_gap(before, after, run)
    ]
    place = min(gaps, key=lambda gap: gap[0], default=None)
    return place[1:] if place and place[0] < 1 else None


def _is_gap(before: FileResidue | None, after: FileResidue | None, run: list[FileResidue]) -> bool:
    """Whether a run may stand between two residues; at an end its numbers have to go on."""
    if before and after:
        return not _bonded(before, after)
    if before:
        return run[0].number - before.number <= 1
    return after is not None and after.number - run[-1].number <= 1


def _reach(a: FileResidue | None, b: FileResidue | None) -> float:
    """Distance of two residues, divided by the largest that their numbers allow; 0 at an end."""
    if a is None or b is None:
        return 0.0
    if a.number > b.number:
        return math.inf
    start, end = (r.atoms.get("CA") or next(iter(r.atoms.values())) for r in (a, b))
    return math.dist(start, end) / (LONGEST_STEP * (b.number - a.number + 1))


def _bonded(a: FileResidue, b: FileResidue) -> bool:
    """Whether C of `a` and N of `b` are close enough for a peptide bond."""
    ends = a.atoms.get("C"), b.atoms.get("N")
    return None not in ends and not _apart(*ends, PEPTIDE_BOND * 10)


def _alternatives(chain, number: int, path: Path) -> list[FileResidue]:
    """Protein residues of a gemmi chain with a number, one for each position."""
    out: list[FileResidue] = []
    cap_before = False
    for at, group in enumerate(chain):
        if group.name in CAPS:
            cap_before = group.name in CAPS_BEFORE
            if out and not cap_before:
                out[-1].last = True
            continue
        for residue in _conformers(group, path):
            residue.place, residue.first = (number, at), residue.first or cap_before
            cap_before = False
            last = out[-1] if out else None
            here = last and (last.number, last.code) == (residue.number, residue.code)
            # Microheterogeneity: of several residues modelled at one position, keep one.
            if here and last.alternative and residue.alternative:
                if residue.occupancy > last.occupancy:
                    out[-1] = residue
            else:
                out.append(residue)
    return out


def best_location(group) -> str:
    """Alternative location with the largest total occupancy in a gemmi residue; empty for none."""
    total: dict[str, float] = {}
    for atom in group:
        if atom.has_altloc():
            total[atom.altloc] = total.get(atom.altloc, 0.0) + atom.occ
    return max(sorted(total), key=lambda letter: total[letter]) if total else ""


def _conformers(group, path: Path) -> list[FileResidue]:
    """Residues in one gemmi residue: usually one, or several with the same number and name."""
    best = best_location(group)
    copies: list[dict[str, list[float]]] = [{}]
    members: list[list[int]] = [[]]
    hydrogens: set[str] = set()
    b_factors = [math.nan]
    occupancies = []
    before = ""
    for number, atom in enumerate(group):
        name, position = atom.name, atom.pos.tolist()
        repeated, before = name == before, name
        if repeated and name in copies[-1] or (atom.has_altloc() and atom.altloc != best):
            continue
        if atom.is_hydrogen():
            if name not in hydrogens:
                members[-1].append(number)
            hydrogens.add(name)
            continue
        if not all(-LARGEST <= x <= LARGEST for x in position):  # catches NaN too
            raise StructureError(
                f"{path}: atom {name} of {group.name} {group.seqid} has the coordinates "
                f"{position}, not finite or beyond {LARGEST:g} Å; remove the residue"
            )
        if name in copies[-1]:  # a second residue with the same number
            copies.append({})
            members.append([])
            b_factors.append(math.nan)
            hydrogens.clear()
        copies[-1][name] = position
        members[-1].append(number)
        b_factors[-1] = atom.b_iso if name == "CA" else b_factors[-1]
        occupancies.append(atom.occ)
    ca, names = copies[0].get("CA"), {atom.name for atom in group}
    return [
        FileResidue(
            group.seqid.num or 0,  # ligands in mmCIF without author numbers have none
            group.seqid.icode.strip(),
            group.name,
            _standard_names(atoms),
            group.het_flag == "H" and group.name != "MSE",
            best,
            math.fsum(occupancies) / len(occupancies),
            group.segment.strip(),
            stated_variant(group.name, names),
            b_factors[i],
            members[i],
            bool(names & FIRST_ATOMS),
            bool(names & LAST_ATOMS),
        )
        for i, atoms in enumerate(copies)
        # A second set of atoms at the same position is an unlabelled alternative location.
        if _is_protein(group, atoms) and (i == 0 or _apart(ca, atoms.get("CA")))
    ]


def _standard_names(atoms: dict[str, list[float]]) -> dict[str, list[float]]:
    if not ATOM_ALIASES.keys() & atoms.keys():
        return atoms
    renamed = {ATOM_ALIASES.get(name, name): xyz for name, xyz in atoms.items()}
    return {**renamed, **atoms}


def _apart(a: list[float] | None, b: list[float] | None, distance: float = 1.0) -> bool:
    return a is not None and b is not None and math.dist(a, b) > distance


def _is_protein(residue, atoms: dict[str, list[float]]) -> bool:
    backbone = {"N", "CA", "C"} & atoms.keys()
    if residue_letter(residue.name) != "X":
        # `_polymer` recognises free amino acids (HETATM) by their lack of bonded neighbours.
        return bool(backbone or (atoms and residue.het_flag != "H"))
    tabulated = require("gemmi").find_tabulated_residue(residue.name)
    return len(backbone) == 3 or (tabulated.is_amino_acid() and bool(atoms))


def _polymer(residues: list[FileResidue]) -> list[FileResidue]:
    """Residues of the chain: standard ones, and ligands bonded to a neighbour or between these."""
    bonded = [_bonded(a, b) for a, b in pairwise(residues)]
    kept = [not r.ligand or any(bonded[max(0, i - 1) : i + 1]) for i, r in enumerate(residues)]
    inside = [i for i, keep in enumerate(kept) if keep]
    return residues[inside[0] : inside[-1] + 1] if inside else []
