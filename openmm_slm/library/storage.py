"""Files of a structure library.

A library directory contains::

    library.json         format, settings of the search, checksums of the other files
    README.md            the card: contents, source, licence
    index.csv.xz         one row per chain: id, pdb, chain, split, cluster, length
    letters.npy          uint8 [R], amino acid of each residue; 20 is unknown
    codes.npy            uint8 [R], profile column of each residue (see `codebook`)
    codebook.npy         float32 [21, 256, 20], frequencies of each column
    blocks.npy           int64 [B, 3], file number, offset and size of each block of chains
    backbones_000.bin    the blocks (see `backbone_blocks`)

`letters` and `codes` are memory-mapped; a block is read when one of its chains is needed. Nothing
is a pickle.
"""

from __future__ import annotations

import csv
import io
import json
import lzma
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..data.shards import save_array
from ..errors import StructureError
from ..files.checksum import file_checksum
from ..files.json_file import write_atomically, write_json

FORMAT = 1
KIND = "library"
COLUMNS = ("id", "pdb", "chain", "split", "cluster", "length")
BLOCK = 64  # chains in a block
FILE_BYTES = 15 * 2**20
ABOUT, CARD = "library.json", "README.md"
_INDEX = "index.csv.xz"
_REMEDY = "install or copy the library again"


def write_library(
    directory: str | os.PathLike,
    rows: list[dict[str, object]],
    arrays: dict[str, np.ndarray],
    blocks: Iterable[bytes],
    about: dict,
    card: str,
) -> Path:
    """Write a library.

    Parameters
    ----------
    directory : path
        Created if missing.
    rows : list of dict
        `COLUMNS` of each chain.
    arrays : dict
        ``letters``, ``codes`` and ``codebook``.
    blocks : iterable of bytes
        Backbones of `BLOCK` chains each, in the order of the rows.
    about : dict
        Settings for ``library.json``.
    card : str
        Markdown text.

    Returns
    -------
    Path
        `directory`.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for old in (*directory.glob("backbones_*.bin"), directory / ABOUT):
        old.unlink(missing_ok=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(directory / _INDEX, lzma.compress(text.getvalue().encode()))
    places, files = [], [bytearray()]
    for block in blocks:
        if files[-1] and len(files[-1]) + len(block) > FILE_BYTES:
            files.append(bytearray())
        places.append((len(files) - 1, len(files[-1]), len(block)))
        files[-1] += block
    for number, data in enumerate(files):
        write_atomically(directory / _backbones(number), bytes(data))
    arrays = {**arrays, "blocks": np.array(places, np.int64).reshape(-1, 3)}
    for name, values in arrays.items():
        save_array(directory / f"{name}.npy", values)
    (directory / CARD).write_text(card, encoding="utf-8")
    names = [_INDEX, *(f"{name}.npy" for name in arrays), *map(_backbones, range(len(files)))]
    checksums = {name: file_checksum(directory / name) for name in names}
    write_json(directory / ABOUT, {"format": FORMAT, "kind": KIND, **about, "sha256": checksums})
    return directory


def _backbones(number: int) -> str:
    return f"backbones_{number:03d}.bin"


def is_library(directory: str | os.PathLike) -> bool:
    """Whether a directory holds a library."""
    return (Path(directory) / ABOUT).is_file()


def change_about(directory: str | os.PathLike, **changed: object) -> None:
    """Replace entries of ``library.json``."""
    about = read_about(directory)
    write_json(Path(directory) / ABOUT, {**about, **changed})


def read_about(directory: str | os.PathLike) -> dict:
    """Entries of ``library.json``.

    Raises
    ------
    StructureError
        There is no such file, it is damaged, or it has another format.
    """
    path = Path(directory) / ABOUT
    if not path.is_file():
        raise StructureError(
            f"{directory}: not a structure library (no {ABOUT}); make one with "
            "`openmm-slm library build`"
        )
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise StructureError(f"{path}: not readable as JSON ({error}); {_REMEDY}") from None
    found = about.get("format") if isinstance(about, dict) else None
    if found != FORMAT or about.get("kind") != KIND:
        raise StructureError(
            f"{path}: library format is {found!r}, this version reads {FORMAT}; upgrade "
            "openmm_slm or build the library again"
        )
    if not isinstance(about.get("sha256"), dict):
        raise StructureError(f"{path}: no checksums; {_REMEDY}")
    return about


class LibraryFiles:
    """Verified access to the files of a library; each is verified when it is first used.

    Parameters
    ----------
    directory : path

    Raises
    ------
    StructureError
        A file is missing or damaged; the message names it.
    """

    def __init__(self, directory: str | os.PathLike) -> None:
        self.directory = Path(directory)
        self.about = read_about(directory)
        self._verified: set[str] = set()

    def path(self, name: str) -> Path:
        """Path of a file whose checksum is right."""
        path = self.directory / name
        if name in self._verified:
            return path
        if name not in self.about["sha256"]:
            raise StructureError(f"{path}: no checksum in {ABOUT}; {_REMEDY}")
        if not path.is_file():
            raise StructureError(f"{path}: missing; {_REMEDY}")
        if file_checksum(path) != self.about["sha256"][name]:
            raise StructureError(
                f"{path}: damaged (its checksum is not that in {ABOUT}); " + _REMEDY
            )
        self._verified.add(name)
        return path

    def verify(self) -> list[tuple[str, int]]:
        """Names and sizes in bytes of all files; all checksums are right."""
        return [(name, self.path(name).stat().st_size) for name in self.about["sha256"]]

    def rows(self) -> list[dict[str, str]]:
        """Rows of the index."""
        text = lzma.decompress(self.path(_INDEX).read_bytes()).decode()
        return list(csv.DictReader(io.StringIO(text)))

    def array(self, name: str) -> np.ndarray:
        """Memory-mapped array."""
        return np.load(self.path(f"{name}.npy"), mmap_mode="r", allow_pickle=False)

    def block(self, number: int) -> bytes:
        """Bytes of a block."""
        file, offset, size = map(int, self.array("blocks")[number])
        with open(self.path(_backbones(file)), "rb") as handle:
            handle.seek(offset)
            return handle.read(size)
