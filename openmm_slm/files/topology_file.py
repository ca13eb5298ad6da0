"""``topology.pdb``: chain names and residue numbers as they are, as far as PDB holds them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ..protein.structure import chain_names

if TYPE_CHECKING:
    import mdtraj

logger = logging.getLogger(__name__)

LOWEST, HIGHEST = -999, 9999  # residue numbers of four columns


def write_topology(trajectory: mdtraj.Trajectory, path: Path) -> None:
    """Write the first frame as PDB.

    MDTraj writes residue numbers modulo 10,000, which turns -5 into 9995, and the first letter of
    chain names. Here negative numbers are kept, and chains with names of several letters get free
    letters, with a warning.
    """
    temporary = path.with_name("topology.tmp.pdb")  # MDTraj chooses the format by extension
    trajectory[0].save_pdb(str(temporary))
    residues, chains = list(trajectory.topology.residues), list(trajectory.topology.chains)
    names = [getattr(chain, "chain_id", None) or "" for chain in chains]
    long = any(len(name) > 1 for name in names)
    if long or any(residue.resSeq < 0 for residue in residues):
        letters = _letters(names) if long else None
        text = temporary.read_text(encoding="utf-8")
        temporary.write_text(_rewritten(text, trajectory.topology, letters), encoding="utf-8")
    temporary.replace(path)


def _letters(names: list[str]) -> list[str]:
    """A letter for each chain; names of one letter stay."""
    short = [name if len(name) == 1 else "" for name in names]
    letters = list(chain_names(short))
    renamed = ", ".join(f"{a} is {b}" for a, b in zip(names, letters, strict=True) if a != b)
    logger.warning("PDB holds chain names of one letter: in topology.pdb chain %s", renamed)
    return letters


def _rewritten(text: str, topology: mdtraj.Topology, letters: list[str] | None) -> str:
    """PDB text with the numbers of the topology, and other chain letters if given."""
    atoms = iter(topology.atoms)
    lines, residue = [], None
    for line in text.splitlines():
        if line.startswith(("ATOM  ", "HETATM")):
            residue = next(atoms).residue
        if residue is not None and line.startswith(("ATOM  ", "HETATM", "TER")) and len(line) > 26:
            number = residue.resSeq
            if LOWEST <= number <= HIGHEST:
                line = f"{line[:22]}{number:4d}{line[26:]}"
            if letters:
                line = f"{line[:21]}{letters[residue.chain.index]}{line[22:]}"
        lines.append(line)
    return "\n".join(lines) + "\n"
