"""Odd but legal structure files, and what a reader has to find in them.

A `Recipe` combines habits of programs and archives. `build` makes the text of a PDB or mmCIF file
from it, together with the residues in the right order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache

import numpy as np
from all_atoms import template_chain
from hypothesis import strategies as st
from odd_file_text import mmcif_text, pdb_text

from openmm_slm.protein.atoms import ATOM14
from openmm_slm.protein.sequence import THREE_LETTER

POOL = (
    "ACDEFGHIKL",
    "MNPQRSTVWY",
    "GAKAGDAVHC",
    "PHCMSDEK",
    "SKLMEDRA",
    "AHMCSG",
    "TWIMSEAN",
    "ADMMSKSS",
)
D_NAMES = {"A": "DAL", "V": "DVA", "L": "DLE", "S": "DSN", "K": "DLY", "D": "DAS", "H": "DHI"}
FOUR_LETTERS = {"H": ("HISE", "HISD", "HISH"), "C": ("CYS2",), "D": ("ASPH",), "E": ("GLUH",)}
SPACING = 2.5  # nm between chains

# Each habit and its choices. "Absent" comes first, and several times if the habit is rare.
CHOICES: dict[str, tuple] = {
    "kind": ("pdb", "cif"),
    "sequences": tuple((a,) for a in POOL) + tuple((a, b) for a in POOL[3:] for b in POOL[:3]),
    "start": (1, 1, 1, 0, -3, 120, 9995, 9998, 12345, 31000, -1004),
    "second": ("restarts", "runs on"),
    "codes": ("", "", "", "after", "before", "named alike"),
    "numbers": ("", "", "", "jump", "restart"),
    "gap": ("", "", "", "numbered", "not numbered"),
    "missing": ("",) * 8 + ("side chain", "O", "N", "CA", "C", "backbone"),
    "alternatives": ("", "", "", "AB", "BA", "tie", "blocks", "12", "two residues"),
    "modified": ("", "", "MSE", "MSE", "MSE as ATOM", "MSE after", "MSE after", "SEP", "SEP after"),
    "four": ("", "", "", "four", "terminal"),
    "caps": ("", "", "", "ACE NME", "NH2", "ACE"),
    "hand": ("",) * 6 + ("by name", "by geometry"),
    "names": ("letters", "letters", "same", "blank", "segids", "lower", "digits", "long"),
    "ter": (True, False),
    "others": ("", "", "", "water", "water between", "ligand", "amino acid", "nucleotide"),
    "wrapped": ("hybrid", "hex", "five", "modulo", "stars"),
    "frames": ("", "", "", "MODEL", "END"),
    "lines": ("\n", "\n", "\r\n", "stripped"),
    "case": ("", "", "", "lower"),
    "columns": ("", "", "", "no element", "short", "left"),
    "occupancy": ("", "", "", "zero", "blank"),
    "cyclic": (False,) * 19 + (True,),
    "ids": ("both", "both", "label", "shuffled"),
    "serials": ("", "", "hybrid", "stars"),
}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """A choice for each habit in `CHOICES`."""

    kind: str
    sequences: tuple[str, ...]
    start: int
    second: str
    codes: str
    numbers: str
    gap: str
    missing: str
    alternatives: str
    modified: str
    four: str
    caps: str
    hand: str
    names: str
    ter: bool
    others: str
    wrapped: str
    frames: str
    lines: str
    case: str
    columns: str
    occupancy: str
    cyclic: bool
    ids: str
    serials: str

    def __str__(self) -> str:
        odd = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self)]
        first = {f.name: CHOICES[f.name][0] for f in fields(self)}
        return " ".join(
            text for f, text in zip(fields(self), odd, strict=True)
            if f.name in ("kind", "sequences") or getattr(self, f.name) != first[f.name]
        )  # fmt: skip


def plain(**changes: object) -> Recipe:
    """A plain PDB file of one chain, but for the changes."""
    first = {name: options[0] for name, options in CHOICES.items()}
    return Recipe(**{**first, **changes})


def drawn(choose: Callable[[Sequence], object]) -> Recipe:
    return Recipe(**{name: choose(options) for name, options in CHOICES.items()})


def seeded(seed: int) -> Recipe:
    return drawn(random.Random(seed).choice)


#: Hypothesis strategy for recipes; it shrinks to a plain PDB file.
recipes = st.fixed_dictionaries({k: st.sampled_from(v) for k, v in CHOICES.items()}).map(
    lambda chosen: Recipe(**chosen)
)


@dataclass
class Atom:
    """`xyz` is in nm; `residue` is the residue's name in this location, if it is another one."""

    name: str
    xyz: np.ndarray
    alternative: str = ""
    occupancy: float = 1.0
    kept: bool = True
    residue: str = ""


@dataclass
class Residue:
    """A residue of the file. `letter` is what a reader has to find; empty: nothing."""

    letter: str
    name: str
    number: int
    atoms: list[Atom]
    chain: int = 0
    code: str = ""
    hetero: bool = False
    moved: bool = False  # listed after the end of its chain

    def position(self, name: str) -> np.ndarray | None:
        """Position of the atom in the location that a reader has to keep."""
        return next((atom.xyz for atom in self.atoms if atom.name == name and atom.kept), None)


@dataclass
class OddFile:
    """Attributes: text, suffix (``.pdb`` or ``.cif``), residues in chain order, frames, recipe."""

    recipe: Recipe
    text: str
    suffix: str
    residues: list[Residue]
    frames: int
    caps: list[Residue] = field(default_factory=list)


@lru_cache
def _atom14(sequence: str) -> np.ndarray:
    return template_chain(sequence)


def build(recipe: Recipe) -> OddFile:
    """The file of a recipe. Habits that do not suit its format or sequence are left out."""
    recipe = _suited(recipe)
    chains, number = [], recipe.start
    for index, sequence in enumerate(recipe.sequences):
        if recipe.second == "restarts":
            number = recipe.start
        chain = _chain(recipe, sequence, index, number)
        number = max(residue.number for residue in chain) + 2
        chains.append(chain)
    residues = [residue for chain in chains for residue in chain if residue.letter]
    caps = [r for chain in chains for r in chain if r.name in ("ACE", "NME", "NH2")]
    others = _others(recipe, number)
    frames = 3 if recipe.frames else 1
    writer = pdb_text if recipe.kind == "pdb" else mmcif_text
    text = writer(recipe, chains, others, frames)
    return OddFile(recipe, text, f".{recipe.kind}", residues, frames, caps)


def _suited(recipe: Recipe) -> Recipe:
    changes: dict[str, object] = {}
    if recipe.kind == "pdb":
        if recipe.names == "long":
            changes["names"] = "letters"
        if recipe.start < -999:
            changes["start"] = -3
        if recipe.wrapped != "hybrid" and recipe.start > 9999:
            changes["start"] = 9995  # programs without a code for these numbers come from below
        if recipe.names in ("same", "blank"):
            changes["ter"] = True  # nothing else tells the chains apart
    elif recipe.names in ("same", "blank", "segids"):
        changes["names"] = "long"
    if recipe.kind == "cif" and recipe.ids == "label":  # label_seq_id counts from 1
        changes |= {"codes": "", "numbers": "", "start": max(1, recipe.start)}
    if recipe.numbers == "restart" and recipe.gap:  # that is the start of a chain
        changes["gap"] = ""
    if recipe.wrapped == "stars" and recipe.alternatives == "two residues":
        changes["alternatives"] = "blocks"  # nothing tells that the two have the same place
    if recipe.cyclic:
        changes |= {
            "modified": recipe.modified.replace(" after", ""),
            "gap": "",
            "caps": "",
            "hand": "",
            "missing": "",
            "sequences": recipe.sequences[:1],
        }
    if recipe.codes and recipe.wrapped == "five":  # there is no column for the code
        changes["wrapped"] = "hybrid"
    if recipe.alternatives and recipe.occupancy == "blank":
        changes["occupancy"] = ""
    if recipe.alternatives and recipe.columns == "short":
        changes["columns"] = ""
    if recipe.start > 9000 and recipe.wrapped in ("hex", "modulo", "stars"):
        # What comes back below 9,999 cannot be told from numbers that go on.
        changes["numbers"] = recipe.numbers.replace("restart", "")
        changes["modified"] = recipe.modified.replace(" after", "")
        changes["second"] = "restarts"
    if recipe.frames:  # frames of MD have no alternatives
        changes["alternatives"] = ""
    return replace(recipe, **changes)


def _chain(recipe: Recipe, sequence: str, index: int, start: int) -> list[Residue]:
    positions = _atom14(sequence) + np.float32(SPACING * index)
    chain = [
        Residue(
            letter, THREE_LETTER[letter], start + row,
            [Atom(name, xyz) for name, xyz in zip(ATOM14[letter], positions[row], strict=False)],
            index,
        )
        for row, letter in enumerate(sequence)
    ]  # fmt: skip
    length = len(chain)
    _number(recipe, chain, start)
    if recipe.cyclic:
        chain[-1].atoms[2].xyz = chain[0].atoms[0].xyz + np.float32([0, 0.134, 0])
    _rename(recipe, chain)
    if recipe.hand:
        _turn(recipe, chain)
    if recipe.missing:
        _remove_atoms(recipe.missing, chain[length // 2])
    if recipe.alternatives:
        _alternatives(recipe.alternatives, chain[1])
    if recipe.occupancy == "zero":
        for atom in chain[2].atoms:
            atom.occupancy = 0.0
    if recipe.gap:
        middle = length // 2
        step = chain[middle + 1].number - chain[middle - 2].number - 1
        for residue in chain[middle + 1 :]:
            residue.number -= step * (recipe.gap == "not numbered")
        del chain[middle - 1 : middle + 1]
    return _capped(recipe, chain)


def _number(recipe: Recipe, chain: list[Residue], start: int) -> None:
    """Insertion codes, and numbers that jump or restart over a bond."""
    base = chain[2].number
    if recipe.codes:
        codes = ("A", "B", "") if recipe.codes == "before" else ("", "A", "B")
        for row, code in enumerate(codes, 2):
            chain[row].number, chain[row].code = base, code
        for residue in chain[5:]:
            residue.number -= 2
    if recipe.codes == "named alike":
        for row in (3, 4):
            chain[row] = replace(chain[row], letter="G", name="GLY", atoms=chain[row].atoms[:4])
    if recipe.numbers == "jump":
        for residue in chain[5:]:
            residue.number += 20
    elif recipe.numbers == "restart":
        for row, residue in enumerate(chain[5:], 1):
            residue.number = start + 100 - 150 * (start > 500) + row
        for residue in chain[:5]:
            residue.number += 400 * (start <= 500)


def _rename(recipe: Recipe, chain: list[Residue]) -> None:
    """Modified residues, and names of four letters."""
    kind = recipe.modified.split(" ")[0]
    for residue in chain:
        if kind == "MSE" and residue.letter == "M" or kind == "SEP" and residue.letter == "S":
            residue.name, residue.hetero = kind, recipe.modified != "MSE as ATOM"
            residue.moved = recipe.modified.endswith("after")
            for atom in residue.atoms:
                atom.name = {"SD": "SE"}.get(atom.name, atom.name)
            if kind == "SEP":
                residue.letter = "X"
        elif recipe.four == "four" and residue.letter in FOUR_LETTERS:
            names = FOUR_LETTERS[residue.letter]
            residue.name = names[residue.number % len(names)]
    if recipe.four == "terminal":
        for residue, end in ((chain[0], "N"), (chain[-1], "C")):
            if len(residue.name) == 3 and not residue.hetero:
                residue.name = end + residue.name


def _turn(recipe: Recipe, chain: list[Residue]) -> None:
    """Reflect the side chain of a residue through the plane of N, CA and C."""
    row = next((k for k, r in enumerate(chain) if k > 1 and r.letter in D_NAMES), None)
    if row is None or chain[row].hetero:
        return
    n, ca, c = (atom.xyz for atom in chain[row].atoms[:3])
    normal = np.cross(n - ca, c - ca)
    normal /= np.linalg.norm(normal)
    for atom in chain[row].atoms[4:]:
        atom.xyz = (atom.xyz - 2 * ((atom.xyz - ca) @ normal) * normal).astype(np.float32)
    if recipe.hand == "by name":
        chain[row].name, chain[row].hetero = D_NAMES[chain[row].letter], True
        chain[row].letter = "X"


def _remove_atoms(missing: str, residue: Residue) -> None:
    if missing == "side chain":
        residue.atoms = residue.atoms[:5]
    elif missing == "backbone":
        residue.atoms = residue.atoms[3:]
    else:
        residue.atoms = [atom for atom in residue.atoms if atom.name != missing]


def _alternatives(kind: str, residue: Residue) -> None:
    """Two alternative locations, of which one is likelier, or has the first letter in a tie."""
    written = {
        "AB": ("A", 0.3, "B", 0.7), "BA": ("B", 0.4, "A", 0.6), "tie": ("B", 0.5, "A", 0.5),
        "12": ("1", 0.5, "2", 0.5), "blocks": ("A", 0.3, "B", 0.7),
        "two residues": ("A", 0.3, "B", 0.7),
    }[kind]  # fmt: skip
    copies = []
    for letter, share in (written[:2], written[2:]):
        kept = share > 0.5 or (share == 0.5 and letter in "A1")
        shift = np.float32([0, 0 if kept else 0.02, 0])
        copies.append([Atom(a.name, a.xyz + shift, letter, share, kept) for a in residue.atoms])
    first, second = copies
    if kind == "two residues":
        first = [
            replace(atom, residue="GLY") for atom in first if atom.name in ("N", "CA", "C", "O")
        ]
    if kind in ("blocks", "12", "two residues"):
        residue.atoms = first + second
    else:
        residue.atoms = [atom for pair in zip(first, second, strict=True) for atom in pair]


def _capped(recipe: Recipe, chain: list[Residue]) -> list[Residue]:
    first, last = chain[0], chain[-1]
    n, c = first.position("N"), last.position("C")
    before, after = [], []
    if "ACE" in recipe.caps and n is not None:
        atoms = [Atom("C", n + [-0.133, 0, 0]), Atom("O", n + [-0.2, 0.1, 0])]
        atoms = [Atom("CH3", n + [-0.2, -0.12, 0]), *atoms]
        before = [Residue("", "ACE", first.number - 1, atoms, first.chain, hetero=True)]
    if recipe.caps and recipe.caps != "ACE" and c is not None:
        atoms = [Atom("N", c + [0.133, 0, 0]), Atom("C", c + [0.2, 0.12, 0])]
        name = "NH2" if recipe.caps == "NH2" else "NME"
        atoms = atoms[: 1 if name == "NH2" else 2]
        after = [Residue("", name, last.number + 1, atoms, last.chain, hetero=True)]
    return [*before, *chain, *after]


def _others(recipe: Recipe, number: int) -> list[Residue]:
    """Residues that are not of the protein, in the first chain."""
    far = np.float32([-3, -3, -3])
    names = {
        "water": ("HOH", ("O",)), "water between": ("HOH", ("O",)),
        "ligand": ("GOL", ("C1", "O1", "C2", "O2", "C3", "O3")),
        "amino acid": ("GLY", ("N", "CA", "C", "O", "OXT")),
        "nucleotide": ("DA", ("P", "O5'", "C5'", "C4'")),
    }  # fmt: skip
    if not recipe.others:
        return []
    name, atoms = names[recipe.others]
    return [
        Residue(
            "", name, number + 300 + k,
            [Atom(a, far + k + np.float32([0.14 * i, 0, 0])) for i, a in enumerate(atoms)],
            0, hetero=recipe.others != "nucleotide",
        )
        for k in range(2)
    ]  # fmt: skip
