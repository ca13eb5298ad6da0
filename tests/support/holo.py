"""Structures with ligands and ions: chains of an entry that tmtools brings, and ions added to them.

The entry is 2GTL, the haemoglobin of an earthworm: globins with haem and CO, and linkers with Ca2+.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import mdtraj as md
import numpy as np

from openmm_slm.protein.loading import read_structure

GLOBIN, LINKER = "A", "M"


def write_chain(path: Path, chain: str, *extra: str, numbers: tuple[int, int] = (0, 999)) -> str:
    """Write residues of a chain of 2GTL with its ligands, and more atoms; returns the sequence."""
    text = (files("tmtools") / "data" / "2gtl.pdb").read_text()
    lines = [
        line for line in text.splitlines()
        if (line.startswith("HETATM") and line[21] == chain)
        or (line.startswith("ATOM") and line[21] == chain
            and numbers[0] <= int(line[22:26]) <= numbers[1])
        or line.startswith("CONECT")
    ]  # fmt: skip
    at = next(k for k, line in enumerate(lines) if line.startswith("CONECT"))
    lines[at:at] = extra
    path.write_text("\n".join([*lines, "END", ""]))
    return read_structure(path).chain_sequences


def atom_line(number: int, name: str, residue: str, xyz: np.ndarray, symbol: str) -> str:
    """HETATM record of the only atom of a residue of chain Z at `xyz` (nm)."""
    x, y, z = np.asarray(xyz) * 10
    return (
        f"HETATM{90000 + number:5d} {name:<4} {residue:>3} Z{number:4d}    "
        f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00 20.00          {symbol:>2}"
    )


def between(path: Path, one: tuple[int, str], other: tuple[int, str], away: float) -> np.ndarray:
    """A point (nm) at `away` from two atoms (number, name) of the first chain, on the free side."""
    structure = read_structure(path)
    heavy = structure.atom14[0][np.isfinite(structure.atom14[0]).all(-1)]
    a, b = (_atom(structure, *each) for each in (one, other))
    middle, along = (a + b) / 2, (b - a) / np.linalg.norm(b - a)
    height = np.sqrt(away**2 - ((b - a) ** 2).sum() / 4)
    side = np.cross(along, [1.0, 0, 0])
    side /= np.linalg.norm(side)
    other_side = np.cross(along, side)
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    ring = middle + height * (np.cos(angles)[:, None] * side + np.sin(angles)[:, None] * other_side)
    free = [np.sort(np.linalg.norm(heavy - point, axis=-1))[2] for point in ring]
    return ring[int(np.argmax(free))]


def with_calcium(peptide: md.Trajectory) -> md.Trajectory:
    """The first frame of a peptide with a calcium ion, chain Z, at 0.27 nm from its nearest atom.

    The ion is beside an aspartate.
    """
    topology, x = peptide.topology.copy(), peptide.xyz[0]
    oxygen = next(a.index for a in topology.atoms if (a.residue.name, a.name) == ("ASP", "OD1"))
    topology.add_atom(
        "CA", md.element.calcium, topology.add_residue("CA", topology.add_chain("Z"), 7)
    )
    heavy = x[peptide.topology.select("not element H")]
    around = x[oxygen] + 0.26 * np.random.default_rng(0).normal(size=(500, 3))
    clear = np.linalg.norm(heavy[:, None] - around, axis=-1).min(0)
    place = around[np.argmin(np.abs(clear - 0.27))]
    return md.Trajectory(np.append(x, place[None], 0)[None], topology)


def _atom(structure, number: int, name: str) -> np.ndarray:
    from openmm_slm.protein.atoms import ATOM14

    row = int(np.flatnonzero(structure.residue_number == number)[0])
    return structure.atom14[0, row, ATOM14[structure.sequence[row]].index(name)]
