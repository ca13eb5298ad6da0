"""Read the protein of PDB and mmCIF files with gemmi.

- Models with the same residues as the first become frames. A warning counts the others.
- Waters, ligands (also free amino acids), nucleic acids and hydrogens are dropped. MSE becomes M;
  other modified residues of the chain (SEP, HYP, D-amino acids, ...) become X with N, CA, C, O, CB.
- Of alternative locations, the one with the largest total occupancy in the residue is kept (the
  first letter in a tie); locations are never mixed. The same holds for alternative residues at one
  position.
- Author chain names, residue numbers and insertion codes are kept. Missing atoms are NaN.
- Chains without names end at TER and are named A, B, ... Chains with a name end at TER only if the
  residue numbers restart there, because some programs write a TER at every gap. A new segment,
  numbers that restart, and terminal atoms or caps between two residues begin a new chain; these
  atoms and caps do not where the numbers of a chain with a name jump. A chain never ends at a
  peptide bond.
- A modified residue behind the end of its chain is moved to the residues it is bonded to, or to the
  gap that its number fits. Single residues that are bonded to no chain are left out, with a
  warning. Caps (ACE, NME, NH2) are no residues; they are read separately.
- Frames separated by END are models, each with its own box. Residue names of four letters (HISE,
  NALA), names in small letters and residue numbers over 9,999 (`pdb_numbers`) are understood.
- A file truncated within an atom is an error. Truncation between two atoms shows only if END,
  ENDMDL or the last ``#`` is missing; then a warning is logged.
"""

from __future__ import annotations

import gzip
import logging
import os
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StructureError, counted, require
from .atoms import ATOM14, residue_letter
from .box import cell_vectors, is_crystal
from .caps import attached, caps_of_models, moved_with
from .model_chains import Chain, model_chains
from .periodic import structure_made_whole
from .plddt import Origin, origin_of_mmcif, origin_of_pdb
from .structure import PEPTIDE_BOND, ProteinStructure, find_chain_breaks
from .structure_text import cells_of_models, check_mmcif, check_pdb, normalised_pdb

if TYPE_CHECKING:
    import gemmi

logger = logging.getLogger(__name__)

_NAMED = 10  # residues that a message names
_ABSENT = [float("nan")] * 3
_SLOTS = {letter: (*names, *(None,) * (14 - len(names))) for letter, names in ATOM14.items()}


class NoProteinError(StructureError):
    """The file is readable but holds no protein."""


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
    origin : Origin
    mmcif : bool
    box : ndarray [1 or M, 3, 3], optional
        Vectors (nm) of the cell, or of the box of each model.
    """

    path: Path
    models: gemmi.Structure | list
    resolution: float | None = None
    doubt: str = ""
    origin: Origin = Origin()
    mmcif: bool = False
    box: np.ndarray | None = None

    def box_of(self, models: list[int]) -> np.ndarray | None:
        """Box vectors [1 or F, 3, 3] (nm) of models, given by number."""
        return self.box if self.box is None or len(self.box) == 1 else self.box[models]


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
    same, numbers, left_out = alike_models(file, chains, first_model=first_model)
    raw = [file.models[number] for number in numbers]
    count = sum(len(residues) for _, residues in same[0]) if same else 0
    if count < 2:
        raise NoProteinError(
            f"{path}: {counted(count, 'protein residue')}; at least 2 are needed (is it a PDB or "
            "mmCIF file of a protein, with ATOM records of N, CA, C?)"
        )
    if left_out:
        names = ", ".join(left_out[:_NAMED]) + (", ..." if len(left_out) > _NAMED else "")
        logger.warning("%s: bonded to no chain and left out: %s", path, names)
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
        np.array([[r.b_factor for _, chain in model for r in chain] for model in same], np.float32)
        * np.float32(file.origin.scale),
        file.origin.kind,
    )
    box = None if is_crystal(file.models) else file.box_of(numbers)
    whole = structure_made_whole(structure, box, path)
    return replace(whole, caps=moved_with(whole.caps, atom14, whole.atom14))


def like_the_first(keys: list[object], what: str, path: object) -> list[bool]:
    """Whether each model has the key of the first; a warning counts the others."""
    alike = [key == keys[0] for key in keys]
    if not all(alike):
        logger.warning(
            "%s: left out: %d of %d models, with other %s than the first",
            path, alike.count(False), len(keys), what,
        )  # fmt: skip
    return alike


def alike_models(
    file: ParsedFile, chains: str | Iterable[str] | None = None, *, first_model: bool = False
) -> tuple[list[list[Chain]], list[int], list[str]]:
    """Protein chains of the models with the residues of the first; a warning counts the others.

    Returns the numbers of these models too, and the amino acids of the first that are in no chain.
    Models without protein are skipped.
    """
    path = file.path
    found = ((*model_chains(model, path), number) for number, model in enumerate(file.models))
    found = list(islice((part for part in found if part[0]), 1 if first_model else None))
    models = [part for part, _, _ in found]
    if models and chains is not None:
        models = [_select(model, chains, path) for model in models]
    keys = [[(name, r.key) for name, chain in model for r in chain] for model in models]
    alike = like_the_first(keys, "residues", path)
    return (
        [model for model, same in zip(models, alike, strict=True) if same],
        [number for (_, _, number), same in zip(found, alike, strict=True) if same],
        found[0][1] if found else [],
    )


def _atom14(model: list[Chain], sequence: str) -> list[list[list[float]]]:
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
            _tell_chains_apart(with_atoms[0])
            structure = gemmi.make_structure_from_block(with_atoms[0])
            origin = origin_of_mmcif(with_atoms[0])
            _put_in_capitals(structure)
        else:
            doubt = check_pdb(text, path)
            text = normalised_pdb(text)
            structure = gemmi.read_pdb_string(text, split_chain_on_ter=True)
            origin = origin_of_pdb(text)
    except StructureError:
        raise
    except (RuntimeError, ValueError, IndexError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StructureError(
            f"{path}: cannot be read as {'mmCIF' if mmcif else 'PDB'} ({reason}); is it complete?"
        ) from None
    cells = [] if mmcif else cells_of_models(text)
    box = cell_vectors(structure, cells if len(cells) == len(structure) else ())
    resolution = structure.resolution or None
    return ParsedFile(path, structure, resolution, doubt, origin, bool(mmcif), box)


def _tell_chains_apart(block: gemmi.cif.Block) -> None:
    """Give polymers with one author chain name and the same numbers their own (label) names."""
    names = ("auth_asym_id", "label_asym_id", "auth_seq_id", "label_seq_id", "pdbx_PDB_ins_code")
    columns = [list(block.find_values(f"_atom_site.{name}")) for name in names]
    if not all(columns[:4]):
        return
    places: dict[str, dict[str, set[tuple[str, ...]]]] = {}
    for auth, label, number, polymer, *code in zip(*filter(None, columns), strict=True):
        if polymer not in ".?":
            places.setdefault(auth, {}).setdefault(label, set()).add((number, *code))
    renamed = {
        (auth, label)
        for auth, parts in places.items()
        for k, label in enumerate(parts)
        if any(parts[label] & parts[other] for other in list(parts)[:k])
    }
    if renamed:
        for row in block.find("_atom_site.", list(names[:2])):
            if (row[0], row[1]) in renamed:
                row[0] = row[1]


def _put_in_capitals(structure: gemmi.Structure) -> None:
    """Write the names of residues, and of atoms where the residue's is not, in capitals."""
    for model in structure:
        for chain in model:
            for residue in chain:
                if residue.name != residue.name.upper():
                    residue.name = residue.name.upper()
                    for atom in residue:
                        atom.name = atom.name.upper()


def _select(model: list[Chain], chains: str | Iterable[str], path: Path) -> list[Chain]:
    wanted = [chains] if isinstance(chains, str) else list(chains)
    present = dict(model)
    for name in wanted:
        if name not in present:
            raise StructureError(
                f"{path}: no protein chain {name!r}; it has {', '.join(map(repr, present))}"
            )
    return [(name, present[name]) for name in dict.fromkeys(wanted)]
