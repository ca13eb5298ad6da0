"""Training structures in memory-mapped ``.npy`` arrays with one CSV index.

A shard directory contains::

    index.csv               one row per entry: id, split, cluster, shard, offset, length, sequence
    shard_000.atoms.npy     float32 [R, A, 3], nm, NaN where absent; A = 4 (backbone) or 14
    shard_000.residues.npy  [R] of (chain_index, residue_number, chain_break)

An entry is a chain or a complex (chains are separated by ``:`` in ``sequence``). It occupies the
rows ``offset : offset + length`` of its shard. No file is a pickle, and a process loads only the
rows it reads.
"""

from __future__ import annotations

import csv
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import StructureError
from ..protein.structure import residue_index

RESIDUE_DTYPE = np.dtype([("chain_index", "<i2"), ("residue_number", "<i4"), ("chain_break", "?")])
REQUIRED = ("id", "split", "cluster", "shard", "offset", "length", "sequence")


@dataclass(frozen=True, eq=False)
class Entry:
    """One structure of a shard directory.

    Attributes
    ----------
    id, split, cluster : str
    sequence : str
        L letters, chains concatenated.
    atoms : ndarray, float32 [L, A, 3]
        nm, NaN where absent.
    chain_index, residue_index : ndarray, int32 [L]
        Chain of each residue, and its position with gaps at chain breaks.
    chain_break : ndarray, bool [L]
        True if a residue is not bonded to the previous one.
    """

    id: str
    split: str
    cluster: str
    sequence: str
    atoms: np.ndarray
    chain_index: np.ndarray
    residue_index: np.ndarray
    chain_break: np.ndarray

    @property
    def backbone(self) -> np.ndarray:
        """float32 [L, 4, 3], nm, NaN where absent."""
        return self.atoms[:, :4]


class ShardWriter:
    """Collect entries in memory and write them as one or more shards.

    Parameters
    ----------
    directory : str or Path
        Folder to write.
    atoms : int
        4 (backbone) or 14 (atom14).
    prefix : str
        Start of the shard names. Writers with different prefixes may share a directory.
    residues_per_shard : int
        A shard is written once it has this many residues.
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        atoms: int = 4,
        prefix: str = "shard",
        residues_per_shard: int = 2_000_000,
    ) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.atoms, self.prefix, self.limit = atoms, prefix, residues_per_shard
        self.rows: list[dict[str, str]] = []
        self._coordinates: list[np.ndarray] = []
        self._residues: list[np.ndarray] = []
        self._filled = 0
        self._shard = 0

    def add(
        self,
        id: str,
        sequence: str,
        atoms: np.ndarray,
        chain_break: np.ndarray,
        residue_number: np.ndarray,
        chain_index: np.ndarray | None = None,
        split: str = "train",
        cluster: str = "",
        **extra: object,
    ) -> None:
        """Append one entry (`sequence` with ``:`` between chains; `atoms` [L, A, 3] in nm)."""
        length = len(sequence.replace(":", ""))
        if atoms.shape != (length, self.atoms, 3):
            raise StructureError(
                f"{id}: coordinates of shape {atoms.shape}, but the sequence and this writer "
                f"need {(length, self.atoms, 3)}"
            )
        residues = np.zeros(length, RESIDUE_DTYPE)
        residues["chain_break"] = chain_break
        residues["chain_break"][0] = True
        residues["residue_number"] = residue_number
        residues["chain_index"] = 0 if chain_index is None else chain_index
        self.rows.append(
            {
                "id": id,
                "split": split,
                "cluster": str(cluster or id),
                "shard": f"{self.prefix}_{self._shard:03d}",
                "offset": str(self._filled),
                "length": str(length),
                "sequence": sequence,
                **{key: str(value) for key, value in extra.items()},
            }
        )
        self._coordinates.append(np.asarray(atoms, np.float32))
        self._residues.append(residues)
        self._filled += length
        if self._filled >= self.limit:
            self._flush()

    def _flush(self) -> None:
        if not self._filled:
            return
        name = f"{self.prefix}_{self._shard:03d}"
        for suffix, arrays in (("atoms", self._coordinates), ("residues", self._residues)):
            save_array(self.directory / f"{name}.{suffix}.npy", np.concatenate(arrays))
        self._coordinates, self._residues, self._filled = [], [], 0
        self._shard += 1

    def close(self) -> None:
        """Write the last shard, then add the rows to ``index.csv``."""
        self._flush()
        path = self.directory / "index.csv"
        rows = read_index(self.directory) if path.exists() else []
        rows = [row for row in rows if not row["shard"].startswith(self.prefix + "_")] + self.rows
        columns = list(dict.fromkeys(key for row in rows for key in row))
        temporary = path.with_suffix(".tmp")
        with open(temporary, "w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
        temporary.replace(path)


def save_array(path: Path, values: np.ndarray) -> None:
    """Write a ``.npy`` file under a temporary name and rename it, so that it is never partial."""
    temporary = path.with_suffix(".tmp")
    with open(temporary, "wb") as handle:
        np.save(handle, values)
    temporary.replace(path)


def open_array(path: Path) -> np.ndarray:
    """Memory-mapped array of a ``.npy`` file."""
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise StructureError(f"{path}: cannot be read ({error}); prepare the data again") from None


def index_checksum(directory: str | os.PathLike) -> str:
    """Checksum of ``index.csv``, which identifies a shard directory."""
    return hashlib.sha256(_index(directory).read_bytes()).hexdigest()[:16]


def _index(directory: str | os.PathLike) -> Path:
    path = Path(directory) / "index.csv"
    if not path.exists():
        raise StructureError(
            f"{directory}: no index.csv; make a shard directory first (`openmm-slm prepare`)"
        )
    return path


def read_index(directory: str | os.PathLike) -> list[dict[str, str]]:
    """Rows of ``index.csv``, all values as text."""
    path = _index(directory)
    try:
        with open(path, newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
    except (UnicodeDecodeError, csv.Error) as error:
        raise StructureError(f"{path}: cannot be read ({error}); prepare the data again") from None
    missing = [name for name in REQUIRED if rows and name not in rows[0]]
    if missing or not rows:
        raise StructureError(f"{path}: " + (f"no column {missing[0]!r}" if missing else "no rows"))
    return rows


class ShardDataset:
    """Read-only view of a shard directory.

    Parameters
    ----------
    directory : str or Path
    split : str, optional
        Only read entries of this split.
    prefix : str or tuple of str, optional
        Only read shards whose names start with this.
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        split: str | None = None,
        prefix: str | tuple[str, ...] | None = None,
    ) -> None:
        self.directory = Path(directory)
        self.rows = [
            row
            for row in read_index(directory)
            if (split is None or row["split"] == split)
            and (prefix is None or row["shard"].startswith(prefix))
        ]
        if not self.rows:
            raise StructureError(f"{directory}: no entries of split {split!r}, shards {prefix!r}")
        self.lengths = np.array([int(row["length"]) for row in self.rows])
        self._open: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def clusters(self) -> list[np.ndarray]:
        """Row numbers grouped by cluster, in order of first appearance."""
        groups: dict[str, list[int]] = {}
        for number, row in enumerate(self.rows):
            groups.setdefault(row["cluster"], []).append(number)
        return [np.array(group) for group in groups.values()]

    def residue_numbers(self, number: int) -> np.ndarray:
        """Residue numbers int32 [L] of an entry in its file."""
        return self._read(number)[1]["residue_number"].astype(np.int32)

    def _read(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates and residues of an entry."""
        row = self.rows[number]
        shard = row["shard"]
        if shard not in self._open:
            self._open[shard] = tuple(
                open_array(self.directory / f"{shard}.{suffix}.npy")
                for suffix in ("atoms", "residues")
            )
        atoms, residues = self._open[shard]
        span = slice(int(row["offset"]), int(row["offset"]) + int(row["length"]))
        if span.stop > min(len(atoms), len(residues)):
            raise StructureError(
                f"{self.directory}: {row['id']} is rows {span.start} to {span.stop} of {shard}, "
                f"but the shard has {min(len(atoms), len(residues))}; prepare the data again"
            )
        return atoms[span], residues[span]

    def __getitem__(self, number: int) -> Entry:
        row = self.rows[number]
        atoms, part = self._read(number)
        chain, broken = part["chain_index"].astype(np.int32), np.array(part["chain_break"])
        return Entry(
            row["id"],
            row["split"],
            row["cluster"],
            row["sequence"].replace(":", ""),
            np.array(atoms),
            chain,
            residue_index(chain, part["residue_number"].astype(np.int32), broken),
            broken,
        )
