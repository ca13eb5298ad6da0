"""A shard directory as one file that is small enough to travel.

Coordinates as `coordinate_codes`, everything else without loss, each array compressed by LZMA with
settings that suit it, in one ``.npz``. What training never sees is left out: other splits, residues
without all of N, CA, C and O (trainers mask them), residue numbers beyond the positions they give.
"""

from __future__ import annotations

import csv
import io
import json
import lzma
import os
import zipfile
import zlib
from itertools import groupby
from pathlib import Path

import numpy as np

from ..errors import StructureError
from ..files.json_file import write_json
from ..protein.sequence import encode_sequence
from .coordinate_codes import (
    BackboneCodes,
    codable,
    decode_backbone,
    encode_backbone,
    local,
    outside,
    step_of,
)
from .shards import RESIDUE_DTYPE, ShardDataset, index_checksum, save_array
from .tokens import TokenStore

FORMAT = 1


def pack_data(
    data: str | os.PathLike,
    path: str | os.PathLike,
    *,
    tokens: str | os.PathLike | None = None,
    error: float = 0.005,
    atoms: int = 4,
    splits: tuple[str, ...] = ("train", "val"),
    prefix: tuple[str, ...] | None = None,
) -> dict:
    """Pack a shard directory, and tokens of it.

    Parameters
    ----------
    data, tokens : path
    path : path
        The file to write.
    error : float
        nm, how far an atom may be from where it was.
    atoms : int
        4, backbones; or 14, all heavy atoms of the shards that have them.
    splits : tuple of str
        What to take along.
    prefix : tuple of str, optional
        Shards whose names begin so.

    Returns
    -------
    dict
        ``entries``, ``residues``, ``absent`` (residues left out) and ``error`` (the largest, nm).
    """
    step = step_of(error)
    dataset = ShardDataset(data, prefix=prefix)
    store = None if tokens is None else TokenStore(tokens, data)
    chosen = sorted(
        (n for n, row in enumerate(dataset.rows) if row["split"] in splits),
        key=lambda n: _kind(dataset.rows[n]),
    )
    rows, entries, taken = [], [], []
    offset: dict[str, int] = {}
    for number in chosen:
        entry, row = dataset[number], dataset.rows[number]
        if entry.atoms.shape[1] < atoms:
            continue
        shard = f"{_kind(row)}_000"
        rows.append({**row, "shard": shard, "offset": offset.get(shard, 0)})
        offset[shard] = offset.get(shard, 0) + len(entry.sequence)
        entries.append(entry)
        if store:
            taken.append(store.read(row))
    if not entries:
        raise StructureError(f"{data}: no entries of {atoms} atoms in the splits {splits!r}")
    structure = np.concatenate([entry.atoms[:, :atoms] for entry in entries])
    first = np.concatenate([np.arange(len(entry.sequence)) == 0 for entry in entries])
    there = codable(structure[:, :4])
    codes = encode_backbone(structure[there, :4], _begins(first, there), step)
    meta = {"format": FORMAT, "error": error, "atoms": atoms}
    if store:
        meta["tokens"] = {"tokenizer": store.tokenizer, "vocabulary": store.vocabulary}
    index = io.StringIO()
    writer = csv.DictWriter(index, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    streams = {
        "meta": json.dumps(meta).encode(),
        "index": index.getvalue().encode(),
        "chain": _steps([entry.chain_index for entry in entries]),
        "number": _steps([entry.residue_index for entry in entries]),
        "break": np.packbits(np.concatenate([e.chain_break for e in entries])),
        "there": np.packbits(there),
        "anchor": np.packbits(codes.anchor),
        "start": codes.start,
        "bonds": codes.bonds,
        **{f"torsions{atom}": codes.torsions[:, atom] for atom in range(4)},
    }
    if store:
        streams["tokens"] = np.concatenate(taken)
    built = np.full_like(structure, np.nan)
    built[there, :4] = decode_backbone(codes, step)
    if atoms > 4:
        kept = there[:, None] & np.isfinite(structure[:, 4:]).all(-1)
        order = _by_amino_acid(rows)
        seen = np.rint(local(structure[:, 4:], built[:, :4]) / step)
        streams["side_there"] = np.packbits(kept)
        # One slot of one amino acid after the other: like follows like.
        streams["side"] = np.ascontiguousarray(seen[order].swapaxes(0, 1)[kept[order].T], "<i2")
        built[:, 4:] = _side_chains(streams["side"], kept, order, built[:, :4], step)
    path = Path(path)
    temporary = path.with_suffix(".tmp")
    with open(temporary, "wb") as handle:
        np.savez(handle, **{name: _squeeze(name, values) for name, values in streams.items()})
    temporary.replace(path)
    return {
        "entries": len(rows),
        "residues": len(first),
        "absent": int((~there).sum()),
        "error": float(np.sqrt(np.nanmax(((built - structure) ** 2).sum(-1)))),
    }


def unpack_data(path: str | os.PathLike, directory: str | os.PathLike) -> dict[str, Path]:
    """Make ``data`` (a shard directory) and, if there are any, ``tokens`` in `directory`.

    Raises
    ------
    StructureError
        The file is damaged, or of another version.
    """
    try:
        with np.load(path) as pack:
            streams = {name: lzma.decompress(pack[name]) for name in pack.files}
        meta = json.loads(streams["meta"])
    except (OSError, ValueError, KeyError, EOFError, lzma.LZMAError, zipfile.BadZipFile,
            zlib.error) as error:  # fmt: skip
        raise StructureError(f"{path}: damaged ({error}); bring it here again") from None
    if meta.get("format") != FORMAT:
        raise StructureError(f"{path}: format {meta.get('format')!r}, this version reads {FORMAT}")
    step = step_of(meta["error"])
    rows = list(csv.DictReader(io.StringIO(streams["index"].decode())))
    count = sum(int(row["length"]) for row in rows)

    def array(name: str, dtype: str, *shape: int) -> np.ndarray:
        return np.frombuffer(streams.pop(name), dtype).reshape(-1, *shape)

    def bits(name: str, *shape: int) -> np.ndarray:
        return (
            np.unpackbits(array(name, "u1"), count=int(np.prod(shape))).astype(bool).reshape(shape)
        )

    there = bits("there", count)
    structure = np.full((count, meta["atoms"], 3), np.nan, np.float32)
    codes = BackboneCodes(
        bits("anchor", int(there.sum())),
        array("start", "<i4", 3, 3),
        array("bonds", "i1", 4, 2),
        np.stack([array(f"torsions{atom}", "i1") for atom in range(4)], -1),
    )
    structure[there, :4] = decode_backbone(codes, step)
    if meta["atoms"] > 4:
        kept = bits("side_there", count, meta["atoms"] - 4)
        order = _by_amino_acid(rows)
        side = array("side", "<i2", 3)
        structure[:, 4:] = _side_chains(side, kept, order, structure[:, :4], step)
    residues = np.zeros(count, RESIDUE_DTYPE)
    residues["chain_index"] = np.cumsum(array("chain", "<i4"))
    residues["residue_number"] = np.cumsum(array("number", "<i4"))
    residues["chain_break"] = bits("break", count)
    made = {"data": Path(directory) / "data"}
    arrays = {"data": {"atoms": structure, "residues": residues}}
    if "tokens" in streams:
        made["tokens"] = Path(directory) / "tokens"
        arrays["tokens"] = {"tokens": array("tokens", "<i2")}
    for where in made.values():
        where.mkdir(parents=True, exist_ok=True)
    first = 0
    for shard, group in groupby(rows, lambda row: row["shard"]):
        last = first + sum(int(row["length"]) for row in group)
        for kind, named in arrays.items():
            for name, values in named.items():
                save_array(made[kind] / f"{shard}.{name}.npy", values[first:last])
        first = last
    (made["data"] / "index.csv").write_bytes(streams["index"])
    if "tokens" in made:
        told = {**meta["tokens"], "data": index_checksum(made["data"])}
        write_json(made["tokens"] / "tokens.json", told)
    return made


def _kind(row: dict[str, str]) -> str:
    """backbone, heavy, complex, ...: what trainers choose shards by."""
    return row["shard"].rpartition("_")[0]


def _steps(parts: list[np.ndarray]) -> np.ndarray:
    return np.diff(np.concatenate(parts), prepend=0).astype("<i4")


def _begins(first: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Of the residues that are there, those after a residue that is not, or of another entry."""
    alone = first | ~np.roll(there, 1)
    return alone[there]


def _by_amino_acid(rows: list[dict]) -> np.ndarray:
    sequence = "".join(row["sequence"].replace(":", "") for row in rows)
    return np.argsort(encode_sequence(sequence), kind="stable")


def _side_chains(
    side: np.ndarray, kept: np.ndarray, order: np.ndarray, backbone: np.ndarray, step: float
) -> np.ndarray:
    """Atoms beyond the backbone [R, A - 4, 3] from their codes, NaN where there is none."""
    seen = np.full((*kept.T.shape, 3), np.nan)
    seen[kept[order].T] = side * step
    return outside(seen.swapaxes(0, 1)[np.argsort(order)], backbone).astype(np.float32)


# Interleaved columns of 2^n bytes: each place has statistics of its own.
_PLACES = {"bonds": 3, "start": 2, "chain": 2, "number": 2, "tokens": 1, "side": 1}


def _squeeze(name: str, values: np.ndarray | bytes) -> np.ndarray:
    places = _PLACES.get(name, 0)
    settings = {"id": lzma.FILTER_LZMA2, "preset": 6, "lp": places, "pb": places}
    settings["lc"] = 0 if places else 4
    raw = values if isinstance(values, bytes) else np.ascontiguousarray(values).tobytes()
    return np.frombuffer(lzma.compress(raw, filters=[settings]), np.uint8)
