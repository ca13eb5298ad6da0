"""All atoms of PDB and mmCIF files as MDTraj trajectories.

`openmm_slm.protein.structure_files` decides about chains, the order of residues, alternative
locations and models, so that all commands see the same protein. MDTraj reads the result, because it
knows the names that programs give to atoms.
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import StructureError, require
from ..protein.atoms import CAPS_BEFORE, four_letter_name, residue_letter
from ..protein.box import is_crystal
from ..protein.model_chains import Chain, best_location
from ..protein.pdb_numbers import HIGHEST
from ..protein.structure_files import ParsedFile, alike_models, like_the_first, parse

if TYPE_CHECKING:
    import gemmi
    import mdtraj

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class _Part:
    """A residue to write: some atoms of one of gemmi, and the name of its chain.

    `chain` is the number of its protein chain, or None; residues with the same `owner`, that number
    or gemmi's chain, are written as one chain.
    """

    place: tuple[int, int]
    residue: gemmi.Residue
    members: list[int]
    name: str
    chain: int | None = None
    modified: bool = False
    owner: object = None

    def join(self, other: _Part) -> None:
        """Become part of the chain of another residue."""
        self.name = other.name
        self.owner = other.owner if other.chain is None else other.chain


def structure_frames(path: Path) -> tuple[mdtraj.Trajectory, bool]:
    """All frames of a file with all atoms, and whether it is a crystal.

    Raises
    ------
    StructureError
        See `openmm_slm.protein.structure_files.parse`.
    """
    file = parse(path)
    if file.doubt:
        logger.warning("%s: %s; is the file complete?", path, file.doubt)
    chains, numbers, _ = alike_models(file)
    if not numbers:  # no protein
        numbers = list(range(len(file.models)))
        chains = [[] for _ in numbers]
    frames = [_parts(file.models[n], part) for n, part in zip(numbers, chains, strict=True)]
    if not frames or not frames[0]:
        raise StructureError(f"{path}: cannot be read: no atoms; is it PDB or mmCIF?")
    keys = [[_atom_names(part) for part in frame] for frame in frames]
    alike = like_the_first(keys, "atoms", path)
    frames = [frame for frame, same in zip(frames, alike, strict=True) if same]
    trajectory = _trajectory(_pdb_text(file, frames[0]), frames)
    box = file.box_of([n for n, same in zip(numbers, alike, strict=True) if same])
    if box is not None:
        trajectory.unitcell_vectors = np.broadcast_to(box, (len(frames), 3, 3))
    return trajectory, is_crystal(file.models)


def _atom_names(part: _Part) -> tuple[str, ...]:
    return (part.residue.name, *(part.residue[k].name for k in part.members))


def _parts(model: gemmi.Model, chains: list[Chain]) -> list[_Part]:
    """Residues of a model in the order of the file, but for those that have a place in a chain."""
    ours: dict[tuple[int, int], list[_Part]] = {}
    order: list[list[_Part]] = []
    positions = set()
    for number, (name, residues) in enumerate(chains):
        order.append([])
        for r in residues:
            group = model[r.place[0]][r.place[1]]
            part = _Part(r.place, group, r.members, name, number, r.modified)
            ours.setdefault(r.place, []).append(part)
            order[-1].append(part)
            positions.add((r.place[0], str(group.seqid)))
    parts: list[_Part] = []
    for c, chain in enumerate(model):
        for k, group in enumerate(chain):
            if (c, k) in ours:
                parts += ours[c, k]
                continue
            best = best_location(group)
            if best and (c, str(group.seqid)) in positions:
                continue  # the less likely of two residues at one position
            members = [
                n for n, atom in enumerate(group) if not atom.has_altloc() or atom.altloc == best
            ]
            parts.append(_Part((c, k), group, members, chain.name.strip()))
    for residues in order:
        _move(parts, residues)
    return _with_owners(parts)


def _move(parts: list[_Part], chain: list[_Part]) -> None:
    """Put the modified residues of a chain, which files list anywhere, next to their neighbours."""
    for k, part in enumerate(chain):
        after = next((p for p in chain[k + 1 :] if not p.modified), None)
        beside = chain[k - 1] if k else after
        if part.modified and beside:
            parts.remove(part)
            parts.insert(parts.index(beside) + (beside is not after), part)


def _with_owners(parts: list[_Part]) -> list[_Part]:
    """The parts with their owners; amino acids that are in no chain come last, one by one.

    Other residues belong to the chain about them, or to their neighbour in the file.
    """
    free = [part for part in parts if part.chain is None and _is_amino_acid(part)]
    parts = [part for part in parts if part not in free]
    ahead: list[_Part | None] = [None] * len(parts)
    for k in range(len(parts) - 2, -1, -1):
        ahead[k] = parts[k + 1] if parts[k + 1].chain is not None else ahead[k + 1]
    last, before = None, None  # protein residue, and any
    for part, following in zip(parts, ahead, strict=True):
        beside = [p for p in (last, following) if p and p.place[0] == part.place[0]]
        if part.chain is not None:
            part.owner, last = part.chain, part
        elif last and following and last.chain == following.chain:
            part.join(last)
        elif following in beside and (last not in beside or part.residue.name in CAPS_BEFORE):
            part.join(following)
        elif before and before.place[0] == part.place[0]:
            part.join(before)
        else:
            part.owner = ("not protein", *part.place)
        before = part
    for part in free:
        part.owner = ("not protein", *part.place)
    return [*parts, *free]


def _is_amino_acid(part: _Part) -> bool:
    names = {part.residue[k].name for k in part.members}
    return "CA" in names if residue_letter(part.residue.name) != "X" else {"N", "CA", "C"} <= names


def _pdb_text(file: ParsedFile, parts: list[_Part]) -> str:
    """PDB text of a frame; residues are numbered on, and the letter tells chains apart only."""
    lines, serials = [], {}
    owner, letter = None, "B"
    for number, part in enumerate(parts):
        if part.owner != owner:
            owner, letter = part.owner, "AB"[letter == "A"]
        residue = part.residue
        name = four_letter_name(residue.name) or residue.name[:3]
        for k in part.members:
            atom = residue[k]
            serials.setdefault(atom.serial, len(lines) + 1)
            x, y, z = (min(max(v, -999.999), 9999.999) for v in atom.pos.tolist())
            element = atom.element.name.upper() if atom.element.atomic_number else ""
            charge = f"{abs(atom.charge)}{'-+'[atom.charge > 0]}" if atom.charge else ""
            lines.append(
                f"{'HETATM' if residue.het_flag == 'H' else 'ATOM':<6}"
                f"{(len(lines) + 1) % 100_000:5d} {atom.padded_name():<4} {name:>3} {letter}"
                f"{number % HIGHEST + 1:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00      "
                f"{residue.segment[:4]:<4}{element:>2}{charge}"
            )
    written = set(range(1, min(len(lines), 99_999) + 1))
    for a, b in _bonds(file):
        pair = serials.get(a), serials.get(b)
        if written.issuperset(pair):
            lines.append("CONECT{:5d}{:5d}".format(*pair))
    return "\n".join([*lines, "END", ""])


def _bonds(file: ParsedFile) -> list[tuple[int, int]]:
    """Bonds that the file states, as serial numbers of atoms."""
    model = file.models[0]
    pairs = [(a, b) for a, partners in file.models.conect_map.items() for b in partners]
    if not file.mmcif:
        return pairs
    kinds = require("gemmi").ConnectionType
    for bond in file.models.connections:
        ends = [model.find_cra(end).atom for end in (bond.partner1, bond.partner2)]
        if bond.type in (kinds.Covale, kinds.Disulf) and all(ends):
            pairs.append((ends[0].serial, ends[1].serial))
    return pairs


def _trajectory(text: str, frames: list[list[_Part]]) -> mdtraj.Trajectory:
    """Frames with the topology that MDTraj reads from the text, and the names of the file."""
    md = require("mdtraj")
    with tempfile.TemporaryDirectory(prefix="openmm_slm_") as folder:
        path = Path(folder) / "frame.pdb"
        path.write_text(text, encoding="ascii")
        topology = md.load_topology(str(path))
    for residue, part in zip(topology.residues, frames[0], strict=True):
        residue.resSeq = part.residue.seqid.num or 0
        residue.insertion_code = part.residue.seqid.icode.strip()
        residue.chain.chain_id = part.name
        if len(part.residue.name) > 3 and not four_letter_name(part.residue.name):
            residue.name = part.residue.name
    xyz = [[part.residue[k].pos.tolist() for part in f for k in part.members] for f in frames]
    return md.Trajectory((np.array(xyz) / 10).astype(np.float32), topology)
