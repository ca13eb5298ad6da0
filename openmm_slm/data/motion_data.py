"""What is known about the motions of the chains of a shard directory.

A motions directory holds up to three files; each names chains by their id in the shards::

    bfactors.npz   id [C], lens [C], B [sum of lens]: B-factors of CA, any scale, NaN where absent
    pairs.csv      id_a, id_b: two structures of one protein
    sizes.csv      id, mean, median, sd: of the RMSF of CA over the residues in MD at 300 K, nm
"""

from __future__ import annotations

import csv
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import StructureError
from ..protein.alignment import align
from ..protein.sequence import encode_sequence
from ..protein.superposition import superpose
from .shards import ShardDataset

BFACTORS, PAIRS, SIZES = "bfactors.npz", "pairs.csv", "sizes.csv"
#: Kinds of targets, in the order of their numbers.
KINDS = ("bfactors", "pair", "size")
#: Share of the clusters whose chains are left out of training: for choices, and for reports.
LEFT_OUT = 0.1
_ALIKE = 0.9  # identical residues of two sequences of one length that are aligned as they are
_MOVED = 0.04, 1.0  # nm, RMSD of pairs that are used


@dataclass(frozen=True, eq=False)
class Observation:
    """One observation of the motion of a chain with N residues that have a complete backbone.

    Attributes
    ----------
    id, cluster : str
    kind : int
        Index into `KINDS`.
    backbone : ndarray, float32 [N, 4, 3]
        nm.
    amino_acids, index : ndarray, int64 [N]
    target : ndarray, float32 [N, 3]
        ``bfactors``: B in the first column, NaN where unknown. ``pair``: displacement of CA (nm)
        to the other structure, superposed on common residues; NaN where it has none. ``size``:
        mean, median and SD (nm) in the first row.
    """

    id: str
    cluster: str
    kind: int
    backbone: np.ndarray
    amino_acids: np.ndarray
    index: np.ndarray
    target: np.ndarray


@dataclass
class MotionData:
    """Observations of the chains of a dataset.

    Parameters
    ----------
    directory : path
        Motions directory.
    dataset : ShardDataset
        Observations of other chains are ignored.
    max_length : int
        Longer chains are ignored.

    Attributes
    ----------
    rows : list of list
        For each of `KINDS`, what `observation` reads.
    """

    directory: str | os.PathLike
    dataset: ShardDataset
    max_length: int = 200
    rows: list[list] = field(default_factory=list)

    def __post_init__(self) -> None:
        where = Path(self.directory)
        self._displacements: dict[tuple, np.ndarray | None] = {}
        self._number = {row["id"]: k for k, row in enumerate(self.dataset.rows)}
        self.rows = [
            self._bfactors(where / BFACTORS), self._pairs(where / PAIRS),
            self._sizes(where / SIZES),
        ]  # fmt: skip
        if not any(self.rows):
            raise StructureError(
                f"{where}: no motions of the chains in {self.dataset.directory}; a motions "
                f"directory has {BFACTORS}, {PAIRS} or {SIZES} with ids of the shards"
            )

    def cluster(self, row: tuple) -> str:
        """Cluster of the chain of an observation."""
        return self.dataset.rows[row[0]]["cluster"]

    def part(self, kind: int, bucket: str) -> list[tuple]:
        """Rows whose cluster is for ``"fit"``, ``"choose"`` or ``"report"``."""
        return [row for row in self.rows[kind] if bucket_of(self.cluster(row)) == bucket]

    def observation(self, kind: int, row: tuple) -> Observation | None:
        """Read one observation; None if the structures of a pair do not fit each other."""
        entry = self.dataset[row[0]]
        whole = np.isfinite(entry.backbone).all((1, 2))
        if kind == 1:
            if row not in self._displacements:  # sequences are aligned once
                self._displacements[row] = self._displacement(entry, self.dataset[row[1]])
            found = self._displacements[row]
            if found is None:
                return None
            target = found[whole]
        elif kind == 0:
            target = np.full((whole.sum(), 3), np.nan, np.float32)
            target[:, 0] = row[1][whole]
        else:
            target = np.full((whole.sum(), 3), np.nan, np.float32)
            target[0] = row[1]
        if whole.sum() < 10 or not np.isfinite(target).any():
            return None
        return Observation(
            entry.id, entry.cluster, kind, entry.backbone[whole],
            encode_sequence(entry.sequence)[whole].astype(np.int64),
            entry.residue_index[whole].astype(np.int64), target,
        )  # fmt: skip

    def _fits(self, id: str) -> bool:
        return id in self._number and self.dataset.lengths[self._number[id]] <= self.max_length

    def _bfactors(self, path: Path) -> list[tuple]:
        if not path.is_file():
            return []
        with np.load(path) as data:
            ids, lens, values = data["id"].astype(str), data["lens"], data["B"].astype(np.float32)
        ends = np.cumsum(lens)
        out = []
        for id, first, end in zip(ids.tolist(), ends - lens, ends, strict=True):
            if self._fits(id):
                number = self._number[id]
                if end - first != self.dataset.lengths[number]:
                    raise StructureError(
                        f"{path}: {end - first} B-factors of {id}, which has "
                        f"{self.dataset.lengths[number]} residues; give one each"
                    )
                out.append((number, values[first:end]))
        return out

    def _pairs(self, path: Path) -> list[tuple]:
        both = [(row["id_a"], row["id_b"]) for row in _read(path, ("id_a", "id_b"))]
        out = []
        for a, b in both:
            if self._fits(a) and self._fits(b):
                out += [(self._number[a], self._number[b]), (self._number[b], self._number[a])]
        return out

    def _sizes(self, path: Path) -> list[tuple]:
        names = ("mean", "median", "sd")
        return [
            (self._number[row["id"]], np.array([float(row[n]) for n in names], np.float32))
            for row in _read(path, ("id", *names))
            if self._fits(row["id"])
        ]

    def _displacement(self, first, second) -> np.ndarray | None:
        """Displacement [L, 3] of the CA of `first` to those of `second`; NaN where absent."""
        here, there = _common(first.sequence, second.sequence)
        if not len(here):
            return None
        a, b = first.backbone[here, 1], second.backbone[there, 1]
        known = np.isfinite(a).all(-1) & np.isfinite(b).all(-1)
        known &= np.isfinite(first.backbone[here]).all((1, 2))
        here, a, b = here[known], a[known].astype(np.float64), b[known].astype(np.float64)
        if len(here) < 20:
            return None
        move = superpose(b, a)[0] - a
        size = np.sqrt((move**2).sum(-1).mean())
        if not _MOVED[0] < size < _MOVED[1]:
            return None
        out = np.full((len(first.sequence), 3), np.nan, np.float32)
        out[here] = move
        return out


def _common(a: str, b: str) -> tuple[np.ndarray, np.ndarray]:
    """Aligned residues of two sequences; none if they differ by more than gaps."""
    if len(a) == len(b):
        same = sum(x == y for x, y in zip(a, b, strict=True))
        if same >= _ALIKE * len(a):
            return np.arange(len(a)), np.arange(len(a))
    try:
        pairs = np.array(align(a, b)).reshape(-1, 2)
    except StructureError:
        return np.empty(0, int), np.empty(0, int)
    return pairs[:, 0], pairs[:, 1]


def bucket_of(cluster: str) -> str:
    """Whether a cluster is used to ``"fit"``, to ``"choose"`` or to ``"report"``; by its name."""
    place = zlib.crc32(cluster.encode()) / 2**32
    return "choose" if place < LEFT_OUT else "report" if place < 2 * LEFT_OUT else "fit"


def _read(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as handle:
        rows = csv.DictReader(handle)
        absent = [name for name in columns if name not in (rows.fieldnames or ())]
        if absent:
            raise StructureError(f"{path}: no column {absent[0]!r}; it needs {', '.join(columns)}")
        return list(rows)
