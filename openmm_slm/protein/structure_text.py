"""Text of PDB and mmCIF files: is it whole, and what programs write in ways of their own."""

from __future__ import annotations

import re
from itertools import count, pairwise
from pathlib import Path

from ..errors import StructureError
from .atoms import four_letter_name
from .pdb_numbers import ATOM_RECORDS, HIGHEST, hybrid36, residue_numbers

_MODEL = ("MODEL", "MODEL ")


def normalised_pdb(text: str) -> str:
    """The text with the habits of programs put into the form of the PDB.

    - Record names are in capitals.
    - Residue names of four letters (HISE, NALA, CYS2, ASPH), which reach into the column of the
      chain, become their names of three letters.
    - Residue numbers over 9,999 are written in hybrid-36.
    - Where the residue numbers of a chain restart, a TER is put in.
    - Frames that END separates (VMD) become models, and all models are numbered on.
    """
    lines = [_in_capitals(line) for line in text.splitlines()]
    atoms = [number for number, line in enumerate(lines) if line.startswith(ATOM_RECORDS)]
    for number in atoms:
        line = lines[number]
        short = four_letter_name(line[17:21]) if line[20:21].strip() else None
        if short:
            lines[number] = f"{line[:17]}{short:>3} {line[21:]}"
    lines = _with_ter(*_with_numbers(lines))
    atoms = [number for number, line in enumerate(lines) if line.startswith(ATOM_RECORDS)]
    ends = [number for number, line in enumerate(lines) if line.rstrip() in ("END", "ENDMDL")]
    split = any(atoms and end < atoms[-1] and lines[end].rstrip() == "END" for end in ends)
    if split and not any(line.startswith("MODEL ") for line in lines):
        lines = _models(lines)
    number = count(1)
    lines = [f"MODEL {next(number):8d}" if line[:6] in _MODEL else line for line in lines]
    return "\n".join(lines) + ("\n" if text.endswith("\n") else "")


def _in_capitals(line: str) -> str:
    """The line with the names of its record, atom and residue in capitals."""
    record = line[:6].upper()
    if record.startswith(ATOM_RECORDS):
        return record + line[6:16].upper() + line[16:17] + line[17:21].upper() + line[21:]
    return record + line[6:] if record.rstrip() in ("TER", "END", "ENDMDL", "MODEL") else line


def _with_numbers(lines: list[str]) -> tuple[list[str], list[int | None]]:
    """Lines with residue numbers that gemmi understands, and these numbers."""
    out, numbers = [], []
    for line, (number, code) in zip(lines, residue_numbers(lines), strict=True):
        if number is not None and number > HIGHEST:
            line = f"{line[:22]}{hybrid36(number)}{code or ' '}{line[27:]}"
        out.append(line)
        numbers.append(number)
    return out, numbers


def _with_ter(lines: list[str], numbers: list[int | None]) -> list[str]:
    """Lines with a TER where the numbers of a chain restart; alternative locations may do so.

    Of HETATM records, only those of amino acids count.
    """
    out: list[str] = []
    chain, before = "", None
    for line, here in zip(lines, numbers, strict=True):
        if line.startswith(ATOM_RECORDS):
            name = line[12:16].strip()
            protein = line.startswith("ATOM") or (
                name in ("N", "CA", "C") and name != line[17:20].strip()
            )
            if protein and line[16:17] == " ":
                if None not in (here, before) and line[21:22] == chain and here < before:
                    out.append("TER")
                chain, before = line[21:22], here
        elif line.startswith(("TER", "MODEL", "END")):
            before = None
        out.append(line)
    return out


def _models(lines: list[str]) -> list[str]:
    """Lines whose frames end with END, with MODEL and ENDMDL about each frame."""
    out: list[str] = []
    number, inside = 0, False
    for line in lines:
        if line.startswith(ATOM_RECORDS) and not inside:
            number, inside = number + 1, True
            out.append(f"MODEL     {number:4d}")
        if line.rstrip() == "END":
            if inside:
                out.append("ENDMDL")
            inside = False
        else:
            out.append(line)
    return [*out, *(["ENDMDL"] if inside else []), "END"]


def cells_of_models(text: str) -> list[tuple[float, ...]]:
    """Edges and angles of the box of each model; empty unless they differ, as in constant pressure.

    `text` is that of `normalised_pdb`. GROMACS and VMD write a CRYST1 record before each frame.
    """
    if text.count("CRYST1") < 2:
        return []
    cells, cell, inside = [], (), False
    for line in text.splitlines():
        if line.startswith("CRYST1"):
            fields = [line[at:end].strip() for at, end in pairwise((6, 15, 24, 33, 40, 47, 54))]
            try:
                cell = tuple(map(float, fields))
            except ValueError:
                return []
        elif line.startswith(ATOM_RECORDS) and not inside:
            cells.append(cell)
            inside = True
        elif line.startswith(("MODEL", "END")):
            inside = False
    return cells if len(set(cells)) > 1 and all(cells) else []


def check_pdb(text: str, path: Path) -> str:
    """Raise if an atom record is truncated or not numeric; return `ParsedFile.doubt`.

    gemmi would read ``********`` as 0 and would accept a coordinate without its last digits.
    """
    last = before = ""
    ended, opened = False, 0
    for number, line in enumerate(text.splitlines(), 1):
        if line[:6].upper().startswith(ATOM_RECORDS):
            last, before = line, last
            try:
                for at in (30, 38, 46):
                    float(line[at : at + 8])
            except ValueError:
                raise StructureError(
                    f"{path}, line {number}: {line[30:54]!r} is not three coordinates; the file "
                    "is truncated or its columns are shifted"
                ) from None
        elif line.startswith("MODEL "):
            opened += 1
        elif line.startswith("ENDMDL"):
            opened -= 1
        elif line.startswith("END"):
            ended = True
    # A complete record may lack columns 79 and 80 (the charge).
    cut = len(last.rstrip()) < min(len(before.rstrip()), 78) and text.endswith(last)
    tail = text[text.rfind("\n") + 1 :]
    if tail and (cut or "ATOM".startswith(tail) or "HETATM".startswith(tail)):
        raise StructureError(
            f"{path}: the last line is half an atom record ({tail.strip()!r}); the file is "
            "truncated, obtain it again"
        )
    if opened > 0:
        return "a MODEL has no ENDMDL"
    titled = re.search(r"^(HEADER|SEQRES)", text, re.MULTILINE)
    return "it has a title section but no END record" if titled and not ended else ""


def check_mmcif(text: str, blocks, path: Path) -> str:
    """Raise if the table of atoms ends within a value; return `ParsedFile.doubt`."""
    tail = text[text.rfind("\n") + 1 :]
    items = list(blocks[-1]) if len(blocks) else []
    loop = items[-1].loop if items else None
    atoms = loop is not None and loop.tags[0].lower().startswith("_atom_site.")
    open_end = atoms and tail and tail.rstrip() == tail and not tail.startswith("#")
    # The last column is a model number or a name and rarely differs from the row before.
    if open_end and loop.values[-1] not in loop.values[-1 - loop.width() : -1 : loop.width()]:
        raise StructureError(
            f"{path}: the last line may be half an atom ({tail!r}, no line break); if it is "
            "complete, add a line break at the end of the file"
        )
    ended = text.rstrip().rpartition("\n")[2].startswith("#")
    return "its last table does not end with #" if text.count("\n#") > 4 and not ended else ""
