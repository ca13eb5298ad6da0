"""Topology files of ensembles: chain names, residue numbers and insertion codes as they are.

``topology.pdb`` is always written, so that any program opens ``samples.xtc``. If PDB cannot hold
the names, ``topology.cif`` beside it has them, and the readers of this package use these.
"""

from __future__ import annotations

import gzip
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import require
from ..protein.pdb_numbers import (
    ATOM_RECORDS,
    HIGHEST,
    LARGEST_HYBRID36,
    LOWEST,
    hybrid36,
    residue_numbers,
)
from ..protein.structure import CHAIN_LETTERS, chain_names
from .formats import PDB_FILES, STRUCTURE_FILES, extension

if TYPE_CHECKING:
    import mdtraj
    import numpy as np

logger = logging.getLogger(__name__)

_NAMED = 10  # chains that a message names

#: Chain name, residue number and insertion code of an atom.
Names = tuple[str, int, str]


def write_topology(trajectory: mdtraj.Trajectory, path: Path) -> None:
    """Write the first frame as PDB, and as mmCIF beside it if PDB cannot hold the names.

    A warning tells what PDB cannot hold (`write_pdb`).
    """
    temporary = path.with_name("topology.tmp.pdb")  # MDTraj chooses the format by extension
    reasons = write_pdb(trajectory, temporary)
    mmcif = path.with_suffix(".cif")
    mmcif.unlink(missing_ok=True)
    if reasons:
        _write_mmcif(trajectory, mmcif)
        logger.warning(
            "%s has the names that PDB cannot hold; in topology.pdb %s", mmcif.name, reasons
        )
    temporary.replace(path)


def write_pdb(trajectory: mdtraj.Trajectory, path: Path, bfactors: np.ndarray | None = None) -> str:
    """Write the first frame as PDB, with B-factors [A] if given; returns what PDB cannot hold.

    MDTraj writes residue numbers modulo 10,000 (-5 becomes 9995), the first letter of chain names,
    and no insertion codes. Here negative numbers and insertion codes are kept. Numbers over 9,999
    are written in hybrid-36, and chains with names of several letters get free letters.
    """
    trajectory[0].save_pdb(str(path), bfactors=bfactors)
    topology = trajectory.topology
    names = [getattr(chain, "chain_id", None) or "" for chain in topology.chains]
    long = any(len(name) > 1 for name in names)
    letters = _letters(names) if long else None
    codes = any(getattr(residue, "insertion_code", "") for residue in topology.residues)
    if long or codes or any(not 0 <= r.resSeq <= HIGHEST for r in topology.residues):
        text = path.read_text(encoding="utf-8")
        path.write_text(_rewritten(text, topology, letters), encoding="utf-8")
    return _not_held(topology, names, letters)


def read_names(topology: mdtraj.Topology, path: Path) -> None:
    """Give residues and chains the names of their file, in place; MDTraj drops or cuts some.

    Nothing is done if the file has other atoms than the topology (alternative locations).

    Parameters
    ----------
    topology : mdtraj.Topology
        Residues get the attribute ``insertion_code``.
    path : path
        PDB or mmCIF file. For ``topology.pdb``, ``topology.cif`` beside it has the names.
    """
    beside = path.with_suffix(".cif")
    if path.name == "topology.pdb" and beside.is_file():
        path = beside
    if extension(path) not in STRUCTURE_FILES:
        return
    data = path.read_bytes()
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    text = data.decode("utf-8", "replace")
    mmcif = extension(path) not in PDB_FILES
    names = _names_of_mmcif(text) if mmcif else _names_of_pdb(text)
    if len(names) != topology.n_atoms:
        return
    for atom, (chain, number, code) in zip(topology.atoms, names, strict=True):
        atom.residue.resSeq, atom.residue.insertion_code = number, code
        if mmcif:
            atom.residue.chain.chain_id = chain


def _names_of_pdb(text: str) -> list[Names]:
    lines = text.splitlines()
    ends = (k for k, line in enumerate(lines) if line.startswith("END"))
    lines = lines[: next(ends, None)]
    return [
        (line[21:22].strip(), number, code)
        for line, (number, code) in zip(lines, residue_numbers(lines), strict=True)
        if line.startswith(ATOM_RECORDS) and number is not None
    ]


def _names_of_mmcif(text: str) -> list[Names]:
    """Author names, or those of ``label_*`` columns where there are no others."""
    cif = require("gemmi").cif
    try:
        blocks = cif.read_string(text)
    except (RuntimeError, ValueError):  # the reader of frames gives the reason
        return []
    options = ["?_atom_site.pdbx_PDB_ins_code", "?_atom_site.pdbx_PDB_model_num"]
    for block in blocks:
        for kind in ("auth", "label"):
            columns = [f"_atom_site.{kind}_asym_id", f"_atom_site.{kind}_seq_id", *options]
            rows = list(block.find(columns))
            if rows:
                values = [[row.get(k) or "." for k in range(4)] for row in rows]
                return [
                    (cif.as_string(chain), cif.as_int(number, 0), cif.as_string(code))
                    for chain, number, code, model in values
                    if model == values[0][3]
                ]
    return []


def _letters(names: list[str]) -> list[str]:
    """A letter for each chain; names of one letter stay. Letters repeat after 62 chains."""
    letters = chain_names([name if len(name) == 1 else "" for name in names])
    return [
        letter if len(letter) == 1 else CHAIN_LETTERS[k % len(CHAIN_LETTERS)]
        for k, letter in enumerate(letters)
    ]


def _not_held(topology: mdtraj.Topology, names: list[str], letters: list[str] | None) -> str:
    """What of the names PDB cannot hold, for a message; empty if nothing."""
    reasons = []
    if letters:
        renamed = [f"{a} is {b}" for a, b in zip(names, letters, strict=True) if a != b]
        more = ", ..." if len(renamed) > _NAMED else ""
        reasons.append(f"chain {', '.join(renamed[:_NAMED])}{more}")
    numbers = [residue.resSeq for residue in topology.residues]
    if max(numbers, default=0) > HIGHEST:
        reasons.append(f"residue numbers over {HIGHEST} are in hybrid-36")
    if min(numbers, default=0) < LOWEST:
        reasons.append(f"residue numbers under {LOWEST} are modulo {HIGHEST + 1}")
    return "; ".join(reasons)


def _rewritten(text: str, topology: mdtraj.Topology, letters: list[str] | None) -> str:
    """PDB text with the numbers of the topology, and other chain letters if given."""
    atoms = iter(topology.atoms)
    lines, residue = [], None
    for line in text.splitlines():
        if line.startswith(ATOM_RECORDS):
            residue = next(atoms).residue
        if residue is not None and line.startswith((*ATOM_RECORDS, "TER")) and len(line) > 25:
            number = residue.resSeq
            if not LOWEST <= number <= LARGEST_HYBRID36:
                number %= HIGHEST + 1
            code = getattr(residue, "insertion_code", "") or " "
            line = f"{line[:22]}{hybrid36(number)}{code}{line[27:]}"
            if letters:
                line = f"{line[:21]}{letters[residue.chain.index]}{line[22:]}"
            line = line.rstrip() if line.startswith("TER") else line
        lines.append(line)
    return "\n".join(lines) + "\n"


def _write_mmcif(trajectory: mdtraj.Trajectory, path: Path) -> None:
    """The first frame with OpenMM's writer, which also writes the disulfide bonds."""
    app = require("openmm.app")
    topology = trajectory.topology.to_openmm()
    for theirs, ours in zip(topology.residues(), trajectory.topology.residues, strict=True):
        theirs.id = str(ours.resSeq)
        theirs.insertionCode = getattr(ours, "insertion_code", "") or ""
    for theirs, ours in zip(topology.chains(), trajectory.topology.chains, strict=True):
        theirs.id = getattr(ours, "chain_id", None) or theirs.id
    temporary = path.with_name("topology.tmp.cif")
    with open(temporary, "w", encoding="utf-8") as handle:
        app.PDBxFile.writeFile(topology, trajectory.openmm_positions(0), handle, keepIds=True)
    temporary.replace(path)
