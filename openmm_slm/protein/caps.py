"""Caps of chain ends: acetyl (ACE) before, N-methyl (NME) or amide (NH2) after a chain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from .atoms import CAPS, residue_letter

#: Heavy atoms of the caps that are modelled, as OpenMM names them. The first bonds to the chain.
CAP_ATOMS = {"ACE": ("C", "CH3", "O"), "NME": ("N", "C"), "NH2": ("N",)}
A = TypeVar("A")
_ABSENT = [float("nan")] * 3
_NAMES = {"NMA": "NME", "NHE": "NH2"}
_ATOM_NAMES = {  # of CHARMM and AMBER
    "ACE": {"CY": "C", "CAY": "CH3", "CA": "CH3", "OY": "O"},
    "NME": {"NT": "N", "CH3": "C", "CT": "C", "CAT": "C", "CA": "C"},
    "NH2": {"NT": "N"},
}


@dataclass(frozen=True, eq=False)
class Cap:
    """A cap in F frames.

    Attributes
    ----------
    name : str
        As in the input.
    number : int
    code : str
        Insertion code.
    kind : str
        Key of `CAP_ATOMS`; empty for caps that are not modelled, and for incomplete ones.
    xyz : ndarray, float32 [F, n, 3]
        nm; atoms in the order of `CAP_ATOMS`.
    row : int
        Row of the residue that the cap is bonded to; -1 if there is none.
    """

    name: str
    number: int
    code: str
    kind: str
    xyz: np.ndarray
    row: int = -1

    @classmethod
    def of(cls, name: str, number: int, code: str, atoms: dict[str, np.ndarray]) -> Cap:
        """Cap of the atoms with these names and positions [F, 3] (nm; NaN where absent)."""
        kind, wanted = cap_kind(name), CAP_ATOMS.get(cap_kind(name), ())
        known = {cap_atom(kind, atom): xyz for atom, xyz in atoms.items()}
        if wanted and set(wanted) <= known.keys():
            xyz = np.stack([known[atom] for atom in wanted], 1).astype(np.float32)
            if np.isfinite(xyz).all():
                return cls(name, number, code, kind, xyz)
        return cls(name, number, code, "", np.zeros((1, 0, 3), np.float32))

    @property
    def before(self) -> bool:
        """Whether the cap is at the N-terminus."""
        return self.kind == "ACE"

    def __str__(self) -> str:
        return f"{self.name} {self.number}{self.code}"


def cap_kind(name: str) -> str:
    """OpenMM's name of a cap; other names are returned as they are."""
    return _NAMES.get(name, name)


def cap_atom(kind: str, name: str) -> str:
    """OpenMM's name of an atom of a cap; other names are returned as they are."""
    return _ATOM_NAMES.get(kind, {}).get(name, name)


def cap_parts(name: str, atoms: dict[str, A]) -> list[tuple[str, int, dict[str, A]]]:
    """Caps that a residue is, or has within it as CHARMM's patches write them.

    Returns
    -------
    list of (str, int, dict)
        Name of each cap, its residue number relative to that of the residue, and its atoms.
    """
    if name in CAPS:
        return [(name, 0, atoms)]
    if residue_letter(name) == "X" or not {"CY", "NT"} & atoms.keys():
        return []
    behind = "NME" if "CAT" in atoms else "NH2"
    kinds = (("ACE", -1, ("CY", "CAY", "OY")), (behind, 1, ("NT", "CAT")))
    found = [(kind, step, {n: atoms[n] for n in own if n in atoms}) for kind, step, own in kinds]
    return [part for part in found if part[2]]


def caps_of_models(models: list) -> list[Cap]:
    """Caps of gemmi models that have the same residues."""
    frames = [
        [
            (kind, r.seqid.num + step, r.seqid.icode.strip(), parts)
            for chain in model
            for r in chain
            for kind, step, parts in cap_parts(r.name, {a.name: a.pos.tolist() for a in r})
        ]
        for model in models
    ]
    alike = all(len(frame) == len(frames[0]) for frame in frames)
    out = []
    for k, (name, number, code, atoms) in enumerate(frames[0] if frames else ()):
        here = [frame[k][3] for frame in frames] if alike else []
        xyz = {atom: np.array([f.get(atom, _ABSENT) for f in here]) / 10 for atom in atoms if here}
        out.append(Cap.of(name, number, code, xyz))
    return out


def attached(
    caps: Iterable[Cap], atom14: np.ndarray, chain_break: np.ndarray, reach: float
) -> tuple[Cap, ...]:
    """The caps with the rows of the residues they are bonded to in the first frame.

    Parameters
    ----------
    caps : iterable of Cap
    atom14 : ndarray [F, L, 14, 3]
        nm.
    chain_break : ndarray, bool [L]
    reach : float
        C-N distance (nm) below which there is a bond.
    """
    ends = {True: np.flatnonzero(chain_break), False: np.flatnonzero(np.append(chain_break[1:], 1))}
    out = []
    for cap in caps:
        row = -1
        if cap.kind:
            rows = ends[cap.before]
            away = np.linalg.norm(atom14[0, rows, 0 if cap.before else 2] - cap.xyz[0, 0], axis=-1)
            near = np.flatnonzero(away < reach)
            row = int(rows[near[0]]) if len(near) else -1
        out.append(replace(cap, row=row))
    return tuple(out)


def moved_with(caps: Iterable[Cap], before: np.ndarray, after: np.ndarray) -> tuple[Cap, ...]:
    """Caps moved like the ends of the chains, from atoms [F, L, 14, 3] to others (nm)."""
    out = []
    for cap in caps:
        if cap.row >= 0:
            moved = (after - before)[:, cap.row, 0 if cap.before else 2]
            cap = replace(cap, xyz=cap.xyz + moved[:, None])
        out.append(cap)
    return tuple(out)
