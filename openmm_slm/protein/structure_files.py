"""Read the protein of PDB and mmCIF files with gemmi.

- Models with the same residues as the first become frames. A warning counts the others.
- Waters, ligands (also free amino acids), nucleic acids and hydrogens are dropped. MSE becomes M;
  other modified residues of the chain (SEP, HYP, D-amino acids, ...) become X with N, CA, C, O, CB.
- Of alternative locations, the one with the largest total occupancy in the residue is kept (the
  first letter in a tie); locations are never mixed. The same holds for alternative residues at one
  position.
- Author chain names, residue numbers and insertion codes are kept. Missing atoms are NaN.
- Chains without names end at TER and are named A, B, ... Chains with a name end at TER only if the
  residue numbers restart there, because some programs write a TER at every gap. A new segment, or
  numbers that restart, begin a new chain where there is no bond.
- A modified residue behind the end of its chain is moved to the residues it is bonded to. Caps
  (ACE, NME, NH2) are no residues; they are read separately.
- Frames separated by END are models. Residue names of four letters (HISE, NALA) are understood.
- A file truncated within an atom is an error. Truncation between two atoms shows only if END,
  ENDMDL or the last ``#`` is missing; then a warning is logged.
"""

from __future__ import annotations

import gzip
import logging
import math
import os
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StructureError, require
from .atoms import ATOM14, ATOM_ALIASES, residue_letter
from .box import box_of_cell
from .caps import attached, caps_of_models, moved_with
from .periodic import structure_made_whole
from .sequence import ONE_LETTER
from .structure import PEPTIDE_BOND, ProteinStructure, chain_names, find_chain_breaks
from .structure_text import check_mmcif, check_pdb, normalised_pdb
from .variants import stated_variant

if TYPE_CHECKING:
    import gemmi

logger = logging.getLogger(__name__)

LARGEST = 1e5  # Å; a larger coordinate is an error
_ABSENT = [float("nan")] * 3
_SLOTS = {letter: (*names, *(None,) * (14 - len(names))) for letter, names in ATOM14.items()}


class NoProteinError(StructureError):
    """The file is readable but holds no protein."""


@dataclass(eq=False)
class _Residue:
    """A residue of one model: `atoms` maps names to positions (Å); `alternative` is its altloc."""

    number: int
    code: str
    name: str
    atoms: dict[str, list[float]]
    ligand: bool
    alternative: str
    occupancy: float
    segment: str
    variant: str

    @property
    def key(self) -> tuple[int, str, str]:
        return self.number, self.code, self.name


_Chain = tuple[str, list[_Residue]]


@dataclass(eq=False)
class ParsedFile:
    """A file as parsed by gemmi, before its contents are interpreted.

    Attributes
    ----------
    path : Path
    models : gemmi.Structure or list
        Models to iterate over.
    resolution : float or None
        Å; None for NMR structures, predicted models and files without it.
    doubt : str
        Sign of truncation in a file that could be parsed; empty if none was found.
    """

    path: Path
    models: gemmi.Structure | list
    resolution: float | None = None
    doubt: str = ""


def read(path: str | os.PathLike, chains: str | Iterable[str] | None = None) -> ProteinStructure:
    """Protein of a PDB or mmCIF file (also ``.gz``); the format is detected from the text.

    Parameters
    ----------
    path : path
    chains : str or iterable of str, optional
        Names of the chains to keep, in this order; default all.

    Raises
    ------
    StructureError
        The file is missing, empty, unreadable or truncated, lacks protein or a requested chain, or
        has coordinates that are not finite or beyond 1e5 Å. The message names the file.
    """
    file = parse(path)
    if file.doubt:
        logger.warning("%s: %s; is the file complete?", file.path, file.doubt)
    return interpret(file, chains)


def interpret(
    file: ParsedFile, chains: str | Iterable[str] | None = None, *, first_model: bool = False
) -> ProteinStructure:
    """Protein of a parsed file; see `read`. `first_model` ignores all other models."""
    path = file.path
    found = ((_chains(model, path), model) for model in file.models)
    pairs = list(islice(filter(itemgetter(0), found), 1 if first_model else None))
    models = [model for model, _ in pairs]
    if models and chains is not None:
        models = [_select(model, chains, path) for model in models]
    count = sum(len(residues) for _, residues in models[0]) if models else 0
    if count < 2:
        raise NoProteinError(
            f"{path}: {count} protein residues; at least 2 are needed (is it a protein, with ATOM "
            "records of N, CA, C?)"
        )
    keys = [[(name, r.key) for name, chain in model for r in chain] for model in models]
    same = [model for model, key in zip(models, keys, strict=True) if key == keys[0]]
    raw = [model for (_, model), key in zip(pairs, keys, strict=True) if key == keys[0]]
    if len(same) < len(models):
        logger.warning(
            "%s: %d of %d models differ from the first in their residues and are left out",
            path, len(models) - len(same), len(models),
        )  # fmt: skip
    rows = [residue for _, chain in same[0] for residue in chain]
    sequence = "".join(residue_letter(residue.name) for residue in rows)
    atom14 = np.array([_atom14(model, sequence) for model in same])
    atom14 = (atom14 / 10).astype(np.float32)
    chain_index = np.repeat(np.arange(len(same[0])), [len(c) for _, c in same[0]]).astype(np.int32)
    chain_break = find_chain_breaks(atom14[0], chain_index)
    structure = ProteinStructure(
        sequence,
        atom14,
        chain_index,
        tuple(name for name, _ in same[0]),
        np.array([residue.number for residue in rows], np.int32),
        np.array([residue.code for residue in rows], "<U1"),
        chain_break,
        tuple(residue.name for residue in rows),
        tuple(residue.variant for residue in rows),
        attached(caps_of_models(raw), atom14, chain_break, PEPTIDE_BOND),
    )
    whole = structure_made_whole(structure, box_of_cell(file.models), path)
    return replace(whole, caps=moved_with(whole.caps, atom14, whole.atom14))


def _atom14(model: list[_Chain], sequence: str) -> list[list[list[float]]]:
    """Positions [L, 14, 3] of one model in Å, NaN where absent."""
    residues = [residue for _, chain in model for residue in chain]
    return [
        [residue.atoms.get(name, _ABSENT) for name in _SLOTS[letter]]
        for letter, residue in zip(sequence, residues, strict=True)
    ]


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except FileNotFoundError:
        raise StructureError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise StructureError(f"{path}: cannot be read ({error}); is it complete?") from None
    if b"\0" in data:
        raise StructureError(
            f"{path}: a binary file, expected PDB or mmCIF text (load a trajectory with "
            "mdtraj.load(file, top=...) and pass the result)"
        )
    if not data.strip():
        raise StructureError(f"{path}: the file is empty")
    # One ASCII character per byte keeps the columns, and gemmi returns no partial characters.
    return data.removeprefix(b"\xef\xbb\xbf").decode("ascii", "replace").replace("\ufffd", "?")


def parse(path: str | os.PathLike) -> ParsedFile:
    """Parse a file with gemmi and look for signs of truncation.

    Raises
    ------
    StructureError
        The file is missing, empty, unreadable or truncated.
    """
    path = Path(path)
    text = _text(path)
    gemmi = require("gemmi")
    first = re.search(r"^[ \t]*([^#\s]\S*)", text, re.MULTILINE)
    mmcif = (first and first[1].lower().startswith("data_")) or ".cif" in path.name.lower()
    try:
        if mmcif:
            blocks = gemmi.cif.read_string(text)
            doubt = check_mmcif(text, blocks, path)
            with_atoms = [block for block in blocks if block.find_loop("_atom_site.id")]
            if not with_atoms:
                return ParsedFile(path, [])
            structure = gemmi.make_structure_from_block(with_atoms[0])
        else:
            doubt = check_pdb(text, path)
            structure = gemmi.read_pdb_string(normalised_pdb(text), split_chain_on_ter=True)
    except StructureError:
        raise
    except (RuntimeError, ValueError, IndexError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StructureError(
            f"{path}: cannot be read as {'mmCIF' if mmcif else 'PDB'} ({reason}); is it complete?"
        ) from None
    return ParsedFile(path, structure, structure.resolution or None, doubt)


def _chains(model, path: Path) -> list[_Chain]:
    """Protein chains of a model, with unique names."""
    pieces = [
        (part.name.strip(), residues)
        for part in model
        for residues in _segments(_alternatives(part, path))
    ]
    _put_in_place(pieces)
    parts: list[_Chain] = []
    for name, residues in pieces:
        residues = _polymer(residues)
        if not residues:
            continue
        before = next((r for n, r in reversed(parts) if n == name), None) if name else None
        last, first = before[-1] if before else None, residues[0]
        # Behind a TER, a bonded piece or a higher number of the same segment continues the chain.
        rises = last and first.number > last.number and first.segment == last.segment
        if rises or (last and _bonded(last, first)):
            before += residues
        else:
            parts.append((name, residues))
    # A single residue is a ligand, not a chain. A model of one residue is left to the caller.
    parts = [part for part in parts if len(part[1]) > 1] or parts
    names = chain_names([name for name, _ in parts])
    return [(name, residues) for name, (_, residues) in zip(names, parts, strict=True)]


def _segments(residues: list[_Residue]) -> list[list[_Residue]]:
    """Residues of one chain name, split where another segment begins or the numbers restart.

    Programs that write no chain names tell chains apart in this way only. Bonded residues are never
    split.
    """
    out: list[list[_Residue]] = [[]]
    for residue in residues:
        last = out[-1][-1] if out[-1] else None
        restarts = last and (residue.number < last.number or residue.segment != last.segment)
        if restarts and not _bonded(last, residue):
            out.append([])
        out[-1].append(residue)
    return out


def _put_in_place(pieces: list[_Chain]) -> None:
    """Move modified residues behind the end of their chain to the residues they are bonded to."""
    for name, residues in pieces:
        strange = [r for r in residues if r.name not in ONE_LETTER]
        for residue in strange:
            at = residues.index(residue)
            if any(_bonded(a, b) for a, b in pairwise(residues[max(0, at - 1) : at + 2])):
                continue
            for other, neighbours in pieces:
                if other != name or neighbours is residues:
                    continue
                places = [k + 1 for k, r in enumerate(neighbours) if _bonded(r, residue)]
                places += [k for k, r in enumerate(neighbours) if _bonded(residue, r)]
                if places:
                    residues.remove(residue)
                    neighbours.insert(places[0], residue)
                    break


def _bonded(a: _Residue, b: _Residue) -> bool:
    """Whether C of `a` and N of `b` are close enough for a peptide bond."""
    ends = a.atoms.get("C"), b.atoms.get("N")
    return None not in ends and not _apart(*ends, PEPTIDE_BOND * 10)


def _select(model: list[_Chain], chains: str | Iterable[str], path: Path) -> list[_Chain]:
    wanted = [chains] if isinstance(chains, str) else list(chains)
    present = dict(model)
    for name in wanted:
        if name not in present:
            raise StructureError(
                f"{path}: no protein chain {name!r}; it has {', '.join(map(repr, present))}"
            )
    return [(name, present[name]) for name in dict.fromkeys(wanted)]


def _alternatives(chain, path: Path) -> list[_Residue]:
    """Protein residues of a gemmi chain, one for each position."""
    out: list[_Residue] = []
    for group in chain:
        for residue in _conformers(group, path):
            last = out[-1] if out else None
            here = last and (last.number, last.code) == (residue.number, residue.code)
            # Microheterogeneity: of several residues modelled at one position, keep one.
            if here and last.alternative and residue.alternative:
                if residue.occupancy > last.occupancy:
                    out[-1] = residue
            else:
                out.append(residue)
    return out


def _conformers(group, path: Path) -> list[_Residue]:
    """Residues in one gemmi residue: usually one, or several with the same number and name."""
    total: dict[str, float] = {}
    for atom in group:
        if atom.has_altloc():
            total[atom.altloc] = total.get(atom.altloc, 0.0) + atom.occ
    best = max(sorted(total), key=lambda letter: total[letter]) if total else ""
    copies: list[dict[str, list[float]]] = [{}]
    occupancies = []
    for atom in group:
        if atom.is_hydrogen() or (total and atom.has_altloc() and atom.altloc != best):
            continue
        name, position = atom.name, atom.pos.tolist()
        if not all(-LARGEST <= x <= LARGEST for x in position):  # catches NaN too
            raise StructureError(
                f"{path}: atom {name} of {group.name} {group.seqid} has the coordinates "
                f"{position}, not finite or beyond {LARGEST:g} Å; remove the residue"
            )
        if name in copies[-1]:  # a second residue with the same number
            copies.append({})
        copies[-1][name] = position
        occupancies.append(atom.occ)
    first = copies[0].get("CA")
    return [
        _Residue(
            group.seqid.num,
            group.seqid.icode.strip(),
            group.name,
            _standard_names(atoms),
            group.het_flag == "H" and group.name != "MSE",
            best,
            math.fsum(occupancies) / len(occupancies),
            group.segment.strip(),
            stated_variant(group.name, [atom.name for atom in group]),
        )
        for i, atoms in enumerate(copies)
        # A second set of atoms at the same position is an unlabelled alternative location.
        if _is_protein(group, atoms) and (i == 0 or _apart(first, atoms.get("CA")))
    ]


def _standard_names(atoms: dict[str, list[float]]) -> dict[str, list[float]]:
    if not ATOM_ALIASES.keys() & atoms.keys():
        return atoms
    renamed = {ATOM_ALIASES.get(name, name): xyz for name, xyz in atoms.items()}
    return {**renamed, **atoms}


def _apart(a: list[float] | None, b: list[float] | None, distance: float = 1.0) -> bool:
    return a is not None and b is not None and math.dist(a, b) > distance


def _is_protein(residue, atoms: dict[str, list[float]]) -> bool:
    if residue_letter(residue.name) != "X":
        # `_polymer` recognises free amino acids (HETATM) by their lack of bonded neighbours.
        return bool({"N", "CA", "C"} & atoms.keys())
    tabulated = require("gemmi").find_tabulated_residue(residue.name)
    return {"N", "CA", "C"} <= atoms.keys() or (tabulated.is_amino_acid() and "CA" in atoms)


def _polymer(residues: list[_Residue]) -> list[_Residue]:
    """Residues of the chain: standard ones, and ligands bonded to a neighbour or between these."""
    bonded = [_bonded(a, b) for a, b in pairwise(residues)]
    kept = [not r.ligand or any(bonded[max(0, i - 1) : i + 1]) for i, r in enumerate(residues)]
    inside = [i for i, keep in enumerate(kept) if keep]
    return residues[inside[0] : inside[-1] + 1] if inside else []
