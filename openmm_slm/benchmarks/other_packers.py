"""Other packers to compare with: FASPR, PDBFixer as it is, and one rotamer for all residues.

All take a backbone and a sequence and return all heavy atoms. The package itself does not need
FASPR.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from ..errors import MissingDependencyError, StructureError, require
from ..protein.atoms import ATOM14
from ..protein.sequence import AMINO_ACIDS, THREE_LETTER, encode_sequence
from ..protein.structure import find_chain_breaks

if TYPE_CHECKING:
    from ..allatom.builder import AtomBuilder

_BACKBONE = ATOM14["G"]
_CHAIN_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
LONGEST = 9999  # residue numbers have four columns in PDB files
COMMONEST = (-65.0, 180.0, 180.0, 180.0)  # degrees, of chi1 to chi4


def in_one_rotamer(builder: AtomBuilder) -> Callable[..., np.ndarray]:
    """A packer that gives every residue the chi angles of `COMMONEST`.

    Called as ``pack(backbone [F, L, 4, 3], sequence, chain_break, residue_index)``; float32
    [F, L, 14, 3], NaN where the residue has no atom.
    """

    def pack(backbone, sequence, chain_break=None, residue_index=None):
        torch = require("torch")
        device = builder.length.device
        amino_acids = torch.as_tensor(encode_sequence(sequence), device=device)
        amino_acids = amino_acids.expand(backbone.shape[:2])
        chi = torch.deg2rad(torch.tensor(COMMONEST, device=device))
        centre = backbone[:, :, 1].mean(1)[:, None, None]
        given = torch.as_tensor(backbone - centre, device=device)
        atoms = builder(given, amino_acids, chi.expand(*amino_acids.shape, 4))
        atoms = torch.where(builder.present[amino_acids].unsqueeze(-1), atoms, torch.nan)
        return atoms.cpu().numpy() + centre

    return pack


def pack_with_faspr(
    backbone: np.ndarray, sequence: str, chain_break: np.ndarray | None = None
) -> np.ndarray:
    """Heavy atoms by FASPR (Huang, Pearce & Zhang, Bioinformatics 2020), through ``pyfaspr``.

    Its rotamers depend on phi and psi; where C-N is longer than a bond it takes -60 and 60
    degrees. It runs as another process on temporary files.

    Parameters
    ----------
    backbone : ndarray [L, 4, 3]
        N, CA, C, O; nm.
    sequence : str
        L letters of the 20.
    chain_break : ndarray, bool [L], optional
        Not used: FASPR measures C-N itself.

    Returns
    -------
    ndarray, float32 [L, 14, 3]
        nm, NaN beyond the atoms of a residue. The backbone is as given, the rest has the 0.0001 nm
        of a PDB file.
    """
    try:
        run = require("pyfaspr").run_FASPR
    except MissingDependencyError:
        raise MissingDependencyError(
            "comparing with FASPR needs pyfaspr, which is not installed; install it: "
            "pip install pyfaspr, or leave 'faspr' out of the methods"
        ) from None
    backbone, centre = _prepare(backbone, sequence)
    whole = np.zeros(len(sequence), bool)
    try:
        text = run(_pdb_text(backbone - centre, sequence, whole))
    except OSError as error:
        raise StructureError(
            f"FASPR gave no result for {len(sequence)} residues ({error})"
        ) from None
    atoms = (
        (int(line[22:26]) - 1, line[12:16].strip(), [float(line[i : i + 8]) for i in (30, 38, 46)])
        for line in text.splitlines()
        if line.startswith("ATOM")
    )
    return _atom14("FASPR", atoms, 10.0, backbone, sequence, centre)


def pack_with_pdbfixer(
    backbone: np.ndarray, sequence: str, chain_break: np.ndarray | None = None, seed: int = 0
) -> np.ndarray:
    """Heavy atoms by ``PDBFixer.addMissingAtoms`` from N, CA, C and O alone.

    Parameters
    ----------
    backbone : ndarray [L, 4, 3]
        N, CA, C, O; nm.
    sequence : str
        L letters of the 20.
    chain_break : ndarray, bool [L], optional
        True where residue i is not bonded to residue i - 1; default: where C-N is 0.2 nm or more.
    seed : int
        Of the dynamics it runs when atoms overlap, from 0. The same atoms come out again where
        OpenMM sums in the same order: on its CPU platform with one thread.

    Returns
    -------
    ndarray, float32 [L, 14, 3]
        nm, NaN beyond the atoms of a residue. The backbone is as given.
    """
    fixers = require("pdbfixer")
    backbone, centre = _prepare(backbone, sequence)
    if chain_break is None:
        chain_break = find_chain_breaks(backbone, np.zeros(len(sequence), np.int32))
    text = _pdb_text(backbone - centre, sequence, np.asarray(chain_break, bool))
    fixer = fixers.PDBFixer(pdbfile=io.StringIO(text))
    fixer.missingResidues = {}
    fixer.findMissingAtoms()
    fixer.addMissingAtoms(seed=seed + 1)  # 0 asks OpenMM for another one each time
    positions = fixer.positions.value_in_unit(fixers.pdbfixer.unit.nanometer)
    atoms = (
        (row, atom.name, positions[atom.index])
        for row, residue in enumerate(fixer.topology.residues())
        for atom in residue.atoms()
    )
    return _atom14("PDBFixer", atoms, 1.0, backbone, sequence, centre)


def _prepare(backbone: np.ndarray, sequence: str) -> tuple[np.ndarray, np.ndarray]:
    """The backbone in double precision and its centre, which PDB columns are measured from."""
    backbone = np.asarray(backbone, np.float64)
    if backbone.shape != (len(sequence), 4, 3):
        raise StructureError(
            f"backbone of shape {backbone.shape} for a sequence of {len(sequence)} residues; "
            f"expected [{len(sequence)}, 4, 3]: N, CA, C, O of each residue"
        )
    if not 0 < len(sequence) <= LONGEST:
        raise StructureError(f"{len(sequence)} residues; a PDB file holds 1 to {LONGEST}")
    foreign = sorted(set(sequence) - set(AMINO_ACIDS))
    if foreign:
        raise StructureError(
            f"the sequence has {foreign[0]!r} at position {sequence.index(foreign[0]) + 1}; "
            "other programs pack the 20 amino acids only: leave such residues out"
        )
    absent = ~np.isfinite(backbone).all((1, 2))
    if absent.any():
        raise StructureError(
            f"residue {absent.argmax() + 1} lacks N, CA, C or O; leave such residues out"
        )
    return backbone, backbone.mean((0, 1))


def _pdb_text(backbone: np.ndarray, sequence: str, chain_break: np.ndarray) -> str:
    """PDB file of a backbone [L, 4, 3] (nm): residues 1..L, a new chain from each break on."""
    lines, chain, serial = [], 0, 0
    for row, letter in enumerate(sequence):
        if row and chain_break[row]:
            chain += 1
            lines.append("TER")
        for name, (x, y, z) in zip(_BACKBONE, 10 * backbone[row], strict=True):
            serial += 1
            lines.append(
                f"ATOM  {serial % 100000:5d}  {name:<3} {THREE_LETTER[letter]} "
                f"{_CHAIN_LETTERS[chain % len(_CHAIN_LETTERS)]}{row + 1:4d}    "
                f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {name[0]:>2}"
            )
    return "\n".join([*lines, "TER", "END", ""])


def _atom14(
    program: str,
    atoms: Iterable[tuple[int, str, list[float]]],
    per_nm: float,
    backbone: np.ndarray,
    sequence: str,
    centre: np.ndarray,
) -> np.ndarray:
    """float32 [L, 14, 3] of (residue, name, position) and the backbone; none may be absent."""
    slots = [{name: slot for slot, name in enumerate(ATOM14[letter])} for letter in sequence]
    out = np.full((len(sequence), 14, 3), np.nan)
    for row, name, position in atoms:
        if 0 <= row < len(slots) and name in slots[row]:
            out[row, slots[row][name]] = position
    out = out / per_nm + centre
    out[:, :4] = backbone
    for row, names in enumerate(slots):
        absent = [name for name, slot in names.items() if np.isnan(out[row, slot]).any()]
        if absent:
            raise StructureError(
                f"{program} placed no {absent[0]} in residue {row + 1} ({sequence[row]})"
            )
    return out.astype(np.float32)
