"""Lists of chains: which ones `prepare` takes of a mirror of the PDB, and for which split.

A list is a CSV file (also ``.gz`` or ``.xz``) with the columns

``pdb``, ``chain``
    ``1abc`` and ``A``; the chains of a complex have spaces between: ``A B``.
``split``
    ``train``, ``val``, ``test`` or any other word.
``cluster``
    Optional. Rows that share one are drawn as one; blank is a cluster of its own.
``length``, ``begins``
    Optional, a value for each chain. The stretch of so many residues that begins with these letters
    is the entry: a chain may be listed in pieces of different splits, and copies in other data sets
    were cut or renamed. Where the named chain has no such stretch, the other chains are searched.

Other columns go into the index of the shards. The list of the shipped models is named ``default``;
``tools/list_chains.py`` makes such lists of shards.
"""

from __future__ import annotations

import csv
import gzip
import lzma
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import SLMError, StructureError
from ..protein.structure import ProteinStructure
from .inputs import Source
from .listed_chain import ListedChain

SHIPPED = Path(__file__).parent.parent / "models" / "default" / "chains.csv.xz"
REQUIRED = ("pdb", "chain", "split")
OWN = (*REQUIRED, "cluster", "length", "begins")  # columns that mean something here
INDEX = ("id", "shard", "offset", "sequence", "file", "resolution", "complete")  # not a list's
_FILE_NAME = re.compile(r"(?:pdb)?(?:_?0000)?([0-9][a-z0-9]{3})")  # pdb1abc, 1abc, pdb_00001abc


def find_list(chains: str | os.PathLike) -> Path:
    """Path of a list; ``"default"`` is that of the shipped models."""
    path = SHIPPED if str(chains) == "default" and not Path(chains).exists() else Path(chains)
    if not path.is_file():
        raise StructureError(f"{chains}: no such list of chains; 'default' is the shipped one")
    return path


def read_chain_list(path: str | os.PathLike) -> list[ListedChain]:
    """Rows of a list.

    Raises
    ------
    StructureError
        It cannot be read, a column or value is missing, a value makes no sense, or one stretch is
        listed for two splits. The line is named.
    """
    opener = {".gz": gzip.open, ".xz": lzma.open}.get(Path(path).suffix.lower(), open)
    rows: list[ListedChain] = []
    splits: dict[tuple, tuple[str, int]] = {}
    try:
        with opener(path, "rt", newline="") as handle:
            reader = csv.DictReader(handle, strict=True)
            missing = [name for name in REQUIRED if name not in (reader.fieldnames or ())]
            if missing:
                raise StructureError(
                    f"{path}: no column {missing[0]!r}; a list of chains is a CSV file whose "
                    f"first line names at least {', '.join(REQUIRED)}"
                )
            for values in reader:
                try:
                    row = _row(values)
                    key = (row.pdb, row.chains, row.stretches)
                    split, line = splits.setdefault(key, (row.split, reader.line_num))
                    if split != row.split:
                        raise StructureError(f"split {row.split!r}, but {split!r} in line {line}")
                except StructureError as error:
                    raise StructureError(f"{path}, line {reader.line_num}: {error}") from None
                rows.append(row)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, lzma.LZMAError) as error:
        raise StructureError(f"{path}: not readable as a CSV file ({error})") from None
    if not rows:
        raise StructureError(f"{path}: no rows; a list names at least one chain")
    return rows


def _row(values: dict) -> ListedChain:
    if None in values or None in values.values():
        raise StructureError("not as many values as the first line has columns")
    values = {name: text.strip() for name, text in values.items()}
    for name in REQUIRED:
        if not values[name]:
            raise StructureError(f"{name} is empty")
    pdb, chains = values["pdb"].lower(), tuple(values["chain"].split())
    if not _FILE_NAME.fullmatch(pdb):
        raise StructureError(f"pdb is {values['pdb']!r}, expected an id such as 1abc")
    lengths, begins = values.get("length", "").split(), values.get("begins", "").split()
    if not len(lengths) == len(begins) or len(lengths) not in (0, len(chains)):
        raise StructureError(
            f"{len(chains)} chain(s), {len(lengths)} of length and {len(begins)} of begins; give "
            "one of each for every chain, or neither"
        )
    if not all(text.isdecimal() and int(text) > 0 for text in lengths):
        raise StructureError(f"length is {values['length']!r}, expected numbers of residues")
    return ListedChain(
        _FILE_NAME.fullmatch(pdb)[1],
        chains,
        values["split"],
        values.get("cluster"),
        tuple((int(length), first) for length, first in zip(lengths, begins, strict=True)),
        tuple((name, text) for name, text in values.items() if name not in OWN + INDEX),
    )


def match(
    sources: Iterable[Source], rows: Iterable[ListedChain]
) -> tuple[list[Source], list[dict[str, str]]]:
    """Files that a list names, each with its rows, and the report on rows that have no file.

    A file is known by its name in any folder: ``1abc.cif``, ``pdb1abc.ent``, ``pdb_00001abc.cif``,
    also ``.gz``, in capitals or not. Of several for one id the first is taken.

    Raises
    ------
    StructureError
        No row has a file.
    """
    wanted: dict[str, list[ListedChain]] = defaultdict(list)
    for row in rows:
        wanted[row.pdb].append(row)
    found = []
    for source in sources:
        stem = Path(source.path).name.lower().removesuffix(".gz").rsplit(".", 1)[0]
        known = _FILE_NAME.fullmatch(stem)
        if known and not source.trajectory and known[1] in wanted:
            found.append(replace(source, name=known[1], listed=tuple(wanted.pop(known[1]))))
    if not found:
        raise StructureError(
            f"the list names {len(wanted)} PDB ids, and none has a file in the input; files are "
            "known by names such as 1abc.cif, 1abc.pdb.gz or pdb1abc.ent.gz"
        )
    return found, [
        {"id": entry_name(row.pdb, row), "file": "", "chain": " ".join(row.chains),
         "reason": "not found", "detail": f"no file of {row.pdb} in the input"}
        for group in wanted.values() for row in group
    ]  # fmt: skip


def entry_name(name: str, row: ListedChain) -> str:
    """``1abc_A``; of a complex ``1abc_A-B``."""
    return f"{name}_{'-'.join(row.chains)}"


def select(structure: ProteinStructure, row: ListedChain) -> ProteinStructure:
    """The chains of a row, or the stretches of them.

    Raises
    ------
    SLMError
        A chain or stretch is not there.
    """
    ends = np.cumsum(np.bincount(structure.chain_index)).tolist()
    spans = dict(zip(structure.chain_ids, zip([0, *ends], ends, strict=False), strict=True))
    parts: list[tuple[int, int]] = []
    for number, chain in enumerate(row.chains):
        if not row.stretches:
            if chain not in spans:
                raise SLMError(f"no chain {chain}; it has {', '.join(spans)}")
            parts.append(spans[chain])
            continue
        order = sorted(spans, key=lambda name: name != chain)  # the named one first
        places = _places(structure.sequence, [spans[name] for name in order], row.stretches[number])
        part = next((place for place in places if place not in parts), None)
        if part is None:
            length, first = row.stretches[number]
            raise SLMError(f"no stretch of {length} residues that begins with {first}")
        parts.append(part)
    rows = np.concatenate([np.arange(start, end) for start, end in parts])
    return replace(
        structure,
        sequence="".join(structure.sequence[start:end] for start, end in parts),
        atom14=structure.atom14[:, rows],
        chain_index=np.repeat(np.arange(len(parts)), [end - start for start, end in parts]).astype(
            np.int32
        ),
        chain_ids=row.chains,
        residue_number=structure.residue_number[rows],
        insertion_code=structure.insertion_code[rows],
        chain_break=structure.chain_break[rows],
    )


def _places(
    sequence: str, spans: list[tuple[int, int]], stretch: tuple[int, str]
) -> Iterator[tuple[int, int]]:
    """(start, end) of each place inside one of `spans` at which a stretch can be."""
    length, first = stretch
    for start, end in spans:
        at = sequence.find(first, start, end)
        while at >= 0 and at + length <= end:
            yield at, at + length
            at = sequence.find(first, at + 1, end)
