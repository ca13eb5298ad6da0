"""Read the protein of PDB and mmCIF files through gemmi.

What is done with what files hold:

- every model with the residues of the first becomes a frame; others are counted in a warning;
- waters, ligands, nucleic acids and hydrogens are set aside; MSE becomes M, other modified residues
  of the chain (SEP, HYP, D-amino acids, ...) become X with N, CA, C, O, CB;
- of alternative locations the one with the largest total occupancy in the residue is taken (ties:
  the first letter), of alternative residues at one position likewise;
- author chain names and residue numbers with insertion codes are kept; missing atoms are NaN.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np

from .errors import StructureError, require
from .structure import (
    _ATOM_ALIASES,
    ATOM14,
    ProteinStructure,
    find_chain_breaks,
    residue_letter,
)

logger = logging.getLogger(__name__)

LARGEST = 1e5  # Å; beyond it a coordinate is a mistake


def read(path: str | os.PathLike) -> ProteinStructure:
    """Protein of a PDB or mmCIF file (``.pdb``, ``.ent``, ``.cif``, ``.mmcif``, each also ``.gz``).

    Raises
    ------
    StructureError
        Names the file and what is wrong with it: missing, empty, unreadable, truncated, without
        protein, with coordinates that are not finite or beyond 1e5 Å.
    """
    path = Path(path)
    try:
        models = [_residues(model, path) for model in _parse(path)]
    except UnicodeDecodeError:
        raise StructureError(f"{path}: names that are not text; the file is damaged") from None
    models = [model for model in models if model]
    if not models or len(models[0]) < 2:
        found = len(models[0]) if models else 0
        raise StructureError(
            f"{path}: {found} protein residues; at least 2 are needed (is it a protein, with ATOM "
            "records of N, CA, C?)"
        )
    keys = [[key for key, _ in model] for model in models]
    same = [model for model, key in zip(models, keys, strict=True) if key == keys[0]]
    if len(same) < len(models):
        logger.warning(
            "%s: %d of %d models have other residues than the first and are left out",
            path, len(models) - len(same), len(models),
        )  # fmt: skip
    sequence = "".join(residue_letter(name) for *_, name in keys[0])
    atom14 = np.full((len(same), len(sequence), 14, 3), np.nan, np.float32)
    for frame, model in enumerate(same):
        for row, (_, atoms) in enumerate(model):
            for slot, name in enumerate(ATOM14[sequence[row]]):
                if name in atoms:
                    atom14[frame, row, slot] = atoms[name]
    if np.nanmax(np.abs(atom14)) > LARGEST:
        raise StructureError(f"{path}: coordinates beyond {LARGEST:g} Å; the file is damaged")
    atom14 /= 10
    chain_ids = tuple(dict.fromkeys(key[0] for key in keys[0]))
    chain_index = np.array([chain_ids.index(key[0]) for key in keys[0]], np.int32)
    return ProteinStructure(
        sequence,
        atom14,
        chain_index,
        chain_ids,
        np.array([key[1] for key in keys[0]], np.int32),
        np.array([key[2] for key in keys[0]], "<U1"),
        find_chain_breaks(atom14[0], chain_index),
    )


def _parse(path: Path):
    """gemmi Structure of a file, entities set up."""
    gemmi = require("gemmi")
    if not path.is_file():
        raise StructureError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise StructureError(f"{path}: the file is empty")
    name = path.name.lower().removesuffix(".gz")
    form = {
        "pdb": gemmi.CoorFormat.Pdb, "ent": gemmi.CoorFormat.Pdb,
        "cif": gemmi.CoorFormat.Mmcif, "mmcif": gemmi.CoorFormat.Mmcif,
    }.get(name.rpartition(".")[2], gemmi.CoorFormat.Detect)  # fmt: skip
    try:
        structure = gemmi.read_structure(str(path), format=form)
    except (RuntimeError, ValueError, UnicodeDecodeError, OSError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StructureError(
            f"{path}: cannot be read as PDB or mmCIF ({reason}); is it complete?"
        ) from None
    structure.setup_entities()
    return structure


def _residues(model, path: Path) -> list[tuple[tuple[str, int, str, str], dict[str, list[float]]]]:
    """((chain, number, insertion code, name), {atom: xyz in Å}) of the protein residues."""
    out = []
    for chain in model:
        previous = None
        for residue in chain:
            if not _is_protein(residue):
                continue
            occupancy, atoms = _conformer(residue, path)
            if not atoms:
                continue
            key = (chain.name, residue.seqid.num, residue.seqid.icode.strip(), residue.name)
            entry = (key, atoms)
            # Several residues modelled at one position (microheterogeneity): one stays.
            if previous and key[:3] == previous[0][0][:3] and _has_altlocs(residue):
                if occupancy > previous[1]:
                    out[-1], previous = entry, (entry, occupancy)
                continue
            out.append(entry)
            previous = (entry, occupancy)
    return out


def _is_protein(residue) -> bool:
    gemmi = require("gemmi")
    if residue.is_water() or residue.entity_type == gemmi.EntityType.NonPolymer:
        return False
    if residue_letter(residue.name) != "X":
        return any(atom.name == "CA" for atom in residue)
    return {"N", "CA", "C"} <= {atom.name for atom in residue}


def _has_altlocs(residue) -> bool:
    return any(atom.has_altloc() for atom in residue)


def _conformer(residue, path: Path) -> tuple[float, dict[str, list[float]]]:
    """Mean occupancy and atoms of the likeliest alternative location of a residue."""
    letters: dict[str, float] = {}
    for atom in residue:
        if atom.has_altloc():
            letters[atom.altloc] = letters.get(atom.altloc, 0.0) + atom.occ
    best = max(sorted(letters), key=lambda letter: letters[letter]) if letters else "\0"
    chosen: dict[str, object] = {}
    for atom in residue:
        if atom.is_hydrogen():
            continue
        name = _ATOM_ALIASES.get(atom.name, atom.name)
        # The chosen location, else the shared atom, else whatever the file has first.
        if name not in chosen or (atom.altloc == best and chosen[name].altloc != best):
            chosen[name] = atom
    atoms = {name: atom.pos.tolist() for name, atom in chosen.items()}
    for name, position in atoms.items():
        if not np.isfinite(position).all():
            raise StructureError(
                f"{path}: atom {name} of {residue.name} {residue.seqid} has coordinates that are "
                "not finite; remove the residue"
            )
    occupancies = [atom.occ for atom in chosen.values()]
    return float(np.mean(occupancies)) if occupancies else 0.0, atoms
