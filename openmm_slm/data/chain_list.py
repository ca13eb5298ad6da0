"""Lists of the chains that `prepare` takes from a mirror of the PDB, with their splits.

A list is a CSV file (also ``.gz`` or ``.xz``) with the columns

``pdb``, ``chain``
    ``1abc`` and ``A``; chains of a complex are separated by spaces: ``A B``.
``split``
    ``train``, ``val``, ``test`` or any other word.
``cluster``
    Optional. Training draws clusters, then one entry of a cluster. An empty value makes the row a
    cluster of its own.
``length``, ``begins``
    Optional, one value per chain. The entry is the stretch of `length` residues that starts with
    the letters `begins`. It may be found in another chain of the file, because data sets cut and
    rename chains. Pieces of one chain may belong to different splits.

Other columns are copied into the index of the shards. ``default`` is the list that the shipped
models were trained on. ``tools/list_chains.py`` makes such a list from a shard directory.
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

from ..errors import SLMError, StructureError, counted
from ..protein.structure import ProteinStructure
from .inputs import Source
from .listed_chain import ListedChain

SHIPPED = Path(__file__).parent.parent / "models" / "default" / "chains.csv.xz"
REQUIRED = ("pdb", "chain", "split")
OWN = (*REQUIRED, "cluster", "length", "begins")  # columns of a list with a meaning
INDEX = ("id", "shard", "offset", "sequence", "file", "resolution", "complete")  # set by prepare
_FILE_NAME = re.compile(r"(?:pdb)?(?:_?0000)?([0-9][a-z0-9]{3})")  # pdb1abc, 1abc, pdb_00001abc


def find_list(chains: str | os.PathLike) -> Path:
    """Path of a list; ``"default"`` is the list of the shipped models."""
    path = SHIPPED if str(chains) == "default" and not Path(chains).exists() else Path(chains)
    if not path.is_file():
        raise StructureError(f"{chains}: no such list of chains; 'default' is the shipped one")
    return path


def read_chain_list(path: str | os.PathLike) -> list[ListedChain]:
    """Rows of a list of chains.

    Raises
    ------
    StructureError
        The file cannot be read, a column or value is missing, a value is not allowed, or a stretch
        is listed for two splits. The message has the line number.
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
        raise StructureError("the number of values differs from the number of columns")
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
            f"{counted(len(chains), 'chain')}, but {counted(len(lengths), 'value')} of length and "
            f"{len(begins)} of begins; give one of each per chain, or neither"
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
    """Match files to the rows of a list.

    Only the file name counts, in upper or lower case: ``1abc.cif``, ``pdb1abc.ent``,
    ``pdb_00001abc.cif``, also ``.gz``. If several files have one id, the first is taken.

    Returns
    -------
    sources : list of Source
        Files named in the list, each with its rows.
    absent : list of dict
        Report rows for the chains that have no file.

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
            f"none of the {len(wanted)} PDB ids of the list has a file in the input; name files "
            "like 1abc.cif, 1abc.pdb.gz or pdb1abc.ent.gz"
        )
    return found, [
        {"id": entry_name(row.pdb, row), "file": "", "chain": " ".join(row.chains),
         "reason": "not found", "detail": f"no file of {row.pdb} in the input"}
        for group in wanted.values() for row in group
    ]  # fmt: skip


def entry_name(name: str, row: ListedChain) -> str:
    """Id of an entry: ``1abc_A``, or ``1abc_A-B`` for a complex."""
    return f"{name}_{'-'.join(row.chains)}"


def select(structure: ProteinStructure, row: ListedChain) -> ProteinStructure:
    """Take the chains of a row, or the listed stretches of them, from a structure.

    Raises
    ------
    SLMError
        The structure does not have a chain or stretch.
    """
    ends = np.cumsum(np.bincount(structure.chain_index)).tolist()
    spans = dict(zip(structure.chain_ids, zip([0, *ends], ends, strict=False), strict=True))
    parts: list[tuple[int, int]] = []
    for number, chain in enumerate(row.chains):
        if not row.stretches:
            if chain not in spans:
                raise SLMError(f"no chain {chain}; the file has {', '.join(spans)}")
            parts.append(spans[chain])
            continue
        order = sorted(spans, key=lambda name: name != chain)  # the listed chain first
        places = _places(structure.sequence, [spans[name] for name in order], row.stretches[number])
        part = next((place for place in places if place not in parts), None)
        if part is None:
            length, first = row.stretches[number]
            raise SLMError(f"no chain has {length} residues that begin with {first}")
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
        b_factor=None if structure.b_factor is None else structure.b_factor[:, rows],
    )


def _places(
    sequence: str, spans: list[tuple[int, int]], stretch: tuple[int, str]
) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each match of a stretch that lies inside one of `spans`."""
    length, first = stretch
    for start, end in spans:
        at = sequence.find(first, start, end)
        while at >= 0 and at + length <= end:
            yield at, at + length
            at = sequence.find(first, at + 1, end)
