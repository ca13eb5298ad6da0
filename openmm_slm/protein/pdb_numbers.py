"""Residue numbers of PDB files, also beyond 9,999.

Four columns hold -999 to 9999. Programs go on in different ways:

- hybrid-36 (cctbx, gemmi, ChimeraX): A000 is 10000, ZZZZ 1223055 (its codes from a000 on, for more
  than a million residues, are not read);
- hexadecimal from A000 (OpenMM), which differs from hybrid-36 from A010 on;
- hexadecimal from 2710, in small letters (VMD);
- five digits, the last in the column of the insertion code (CHARMM);
- numbers from 0 again (MDTraj, GROMACS), or ``****``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

import numpy as np

ATOM_RECORDS = ("ATOM  ", "HETATM")
LOWEST, HIGHEST = -999, 9999  # numbers of four columns

_FIRST = 10 * 36**3  # A000 in base 36
LARGEST_HYBRID36 = HIGHEST + 26 * 36**3  # ZZZZ
_STEP = 100  # largest step of numbers that go on in another code
_STEP_TO_CHAIN = 9  # the same behind a TER


def hybrid36(number: int) -> str:
    """Residue number in four columns; ValueError beyond -999 and ZZZZ, as far as gemmi reads."""
    if LOWEST <= number <= HIGHEST:
        return f"{number:4d}"
    if not HIGHEST < number <= LARGEST_HYBRID36:
        raise ValueError(f"residue number {number} is not in {LOWEST} to {LARGEST_HYBRID36}")
    return np.base_repr(number - HIGHEST - 1 + _FIRST, 36)


def from_hybrid36(text: str) -> int | None:
    """Number of four columns: decimal or hybrid-36; None for anything else."""
    if re.fullmatch(r" *-?\d+", text):
        return int(text)
    if re.fullmatch(r"[A-Z][0-9A-Z]{3}", text):
        return int(text, 36) - _FIRST + HIGHEST + 1
    return None


def residue_numbers(lines: Iterable[str]) -> list[tuple[int | None, str]]:
    """Residue number and insertion code of each line.

    The number is None for lines that are no atoms, and for fields that cannot be understood.
    """
    lines = list(lines)
    openmm = _is_hexadecimal(lines)
    counter = _Counter()
    out: list[tuple[int | None, str]] = []
    for line in lines:
        if line.startswith(ATOM_RECORDS):
            out.append(counter.read(line, openmm))
        else:
            if line.startswith(("END", "MODEL")):
                counter = _Counter()
            counter.apart |= line.startswith("TER")
            out.append((None, ""))
    return out


class _Counter:
    """Residue numbers of atom lines, each read with the residues before it in mind."""

    def __init__(self) -> None:
        self.apart = True  # TER since the residue before
        self._residue = self._name = ""
        self._atoms: set[str] = set()
        self._found: tuple[int | None, str] = (None, "")
        self._before: dict[str, int | None] = {}  # last number, and that of ATOM records

    def read(self, line: str, openmm: bool) -> tuple[int | None, str]:
        """Number and code of one atom line."""
        residue, name, atom = line[21:27], line[17:21], line[12:17]
        repeated = residue[1:5] == "****" and (name != self._name or atom in self._atoms)
        if self.apart or residue != self._residue or repeated:
            if residue[:1] != self._residue[:1]:  # another chain has numbers of its own
                self._before.clear()
            self._found = self._decoded(residue[1:5], residue[5:6].strip(), openmm)
            self._atoms, self.apart = set(), False
            for kind in ("any", line[:6]):
                self._before[kind] = self._found[0]
        self._residue, self._name = residue, name
        self._atoms.add(atom)
        return self._found

    def _decoded(self, field: str, code: str, openmm: bool) -> tuple[int | None, str]:
        digits = re.fullmatch(r"\d{4}", field) is not None
        if digits and code.isdigit():
            return int(field + code), ""
        if field == "****":
            last = self._before.get("any")
            return max(HIGHEST, HIGHEST if last is None else last) + 1, code
        if openmm and re.fullmatch(r"[A-F][0-9A-F]{3}", field):
            return int(field, 16) - 0xA000 + HIGHEST + 1, code
        if re.fullmatch(r"[0-9a-f]{4}|\d[0-9A-F]{3}", field) and not digits:
            return int(field, 16), code
        number = from_hybrid36(field)
        if number is None or field[:1].isalpha():
            return number, code
        for last in (self._before.get("any"), self._before.get("ATOM  ")):
            if last is None or last < HIGHEST - _STEP:
                continue
            from_zero = number - (number - last) // (HIGHEST + 1) * (HIGHEST + 1)
            for other in (int(field, 16) if digits else number, from_zero):
                if number < last <= other <= last + (_STEP_TO_CHAIN if self.apart else _STEP):
                    return other, code
        return number, code


def _is_hexadecimal(lines: list[str]) -> bool:
    """Whether A00F is followed by A010, not by A00G."""
    fields = [line[22:26] for line in lines if line.startswith(ATOM_RECORDS)]
    return any(
        b[3:] == "0" and re.fullmatch(r"[A-F][0-9A-F]{2}F[A-F][0-9A-F]{2}0", a + b)
        and int(b, 16) == int(a, 16) + 1
        for a, b in pairwise(fields)
    )  # fmt: skip
