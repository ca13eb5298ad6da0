"""Pack a shard directory into one small file, for transfer to another machine.

Coordinates are stored as `coordinate_codes`, everything else without loss. Each array is compressed
by LZMA with settings that suit it, and all go into one ``.npz``. Data that training does not use
are left out: other splits, residues that lack N, CA, C or O (trainers mask them), and residue
numbers (only the residue index computed from them is kept).
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
    from_local,
    step_of,
    to_local,
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
    """Pack a shard directory and, optionally, its tokens.

    Parameters
    ----------
    data : path
        Shard directory.
    path : path
        File to write.
    tokens : path, optional
        Tokens of `data`.
    error : float
        Largest displacement of an atom, in nm.
    atoms : int
        4 for backbones, or 14 for all heavy atoms. Entries with fewer atoms are skipped.
    splits : tuple of str
        Splits to pack.
    prefix : tuple of str, optional
        Only pack shards whose names start with one of these.

    Returns
    -------
    dict
        ``entries``, ``residues``, ``absent`` (residues left out) and ``error`` (largest
        displacement, nm).
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
    present = codable(structure[:, :4])
    codes = encode_backbone(structure[present, :4], _segment_starts(first, present), step)
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
        "chain": _differences([entry.chain_index for entry in entries]),
        "number": _differences([entry.residue_index for entry in entries]),
        "break": np.packbits(np.concatenate([e.chain_break for e in entries])),
        "there": np.packbits(present),
        "anchor": np.packbits(codes.anchor),
        "start": codes.start,
        "bonds": codes.bonds,
        **{f"torsions{atom}": codes.torsions[:, atom] for atom in range(4)},
    }
    if store:
        streams["tokens"] = np.concatenate(taken)
    built = np.full_like(structure, np.nan)
    built[present, :4] = decode_backbone(codes, step)
    if atoms > 4:
        kept = present[:, None] & np.isfinite(structure[:, 4:]).all(-1)
        order = _by_amino_acid(rows)
        relative = np.rint(to_local(structure[:, 4:], built[:, :4]) / step)
        streams["side_there"] = np.packbits(kept)
        # Sorted by atom slot, then by amino acid: similar values are adjacent and compress well.
        streams["side"] = np.ascontiguousarray(relative[order].swapaxes(0, 1)[kept[order].T], "<i2")
        built[:, 4:] = _side_chains(streams["side"], kept, order, built[:, :4], step)
    path = Path(path)
    temporary = path.with_suffix(".tmp")
    with open(temporary, "wb") as handle:
        np.savez(handle, **{name: _compress(name, values) for name, values in streams.items()})
    temporary.replace(path)
    return {
        "entries": len(rows),
        "residues": len(first),
        "absent": int((~present).sum()),
        "error": float(np.sqrt(np.nanmax(((built - structure) ** 2).sum(-1)))),
    }


def unpack_data(path: str | os.PathLike, directory: str | os.PathLike) -> dict[str, Path]:
    """Unpack a file of `pack_data` into `directory`.

    Returns
    -------
    dict
        Paths: ``data`` (the shard directory) and, if the file has tokens, ``tokens``.

    Raises
    ------
    StructureError
        The file is damaged or has another format version.
    """
    try:
        with np.load(path) as pack:
            streams = {name: lzma.decompress(pack[name]) for name in pack.files}
        meta = json.loads(streams["meta"])
    except (OSError, ValueError, KeyError, EOFError, lzma.LZMAError, zipfile.BadZipFile,
            zlib.error) as error:  # fmt: skip
        raise StructureError(f"{path}: damaged ({error}); copy it here again") from None
    if meta.get("format") != FORMAT:
        raise StructureError(
            f"{path}: format {meta.get('format')!r}, but this version reads {FORMAT}; pack the "
            "data again"
        )
    step = step_of(meta["error"])
    rows = list(csv.DictReader(io.StringIO(streams["index"].decode())))
    count = sum(int(row["length"]) for row in rows)

    def array(name: str, dtype: str, *shape: int) -> np.ndarray:
        return np.frombuffer(streams.pop(name), dtype).reshape(-1, *shape)

    def bits(name: str, *shape: int) -> np.ndarray:
        return (
            np.unpackbits(array(name, "u1"), count=int(np.prod(shape))).astype(bool).reshape(shape)
        )

    present = bits("there", count)
    structure = np.full((count, meta["atoms"], 3), np.nan, np.float32)
    codes = BackboneCodes(
        bits("anchor", int(present.sum())),
        array("start", "<i4", 3, 3),
        array("bonds", "i1", 4, 2),
        np.stack([array(f"torsions{atom}", "i1") for atom in range(4)], -1),
    )
    structure[present, :4] = decode_backbone(codes, step)
    if meta["atoms"] > 4:
        kept = bits("side_there", count, meta["atoms"] - 4)
        order = _by_amino_acid(rows)
        side = array("side", "<i2", 3)
        structure[:, 4:] = _side_chains(side, kept, order, structure[:, :4], step)
    residues = np.zeros(count, RESIDUE_DTYPE)
    residues["chain_index"] = np.cumsum(array("chain", "<i4"))
    residues["residue_number"] = np.cumsum(array("number", "<i4"))
    residues["chain_break"] = bits("break", count)
    folders = {"data": Path(directory) / "data"}
    arrays = {"data": {"atoms": structure, "residues": residues}}
    if "tokens" in streams:
        folders["tokens"] = Path(directory) / "tokens"
        arrays["tokens"] = {"tokens": array("tokens", "<i2")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    first = 0
    for shard, group in groupby(rows, lambda row: row["shard"]):
        last = first + sum(int(row["length"]) for row in group)
        for kind, named in arrays.items():
            for name, values in named.items():
                save_array(folders[kind] / f"{shard}.{name}.npy", values[first:last])
        first = last
    (folders["data"] / "index.csv").write_bytes(streams["index"])
    if "tokens" in folders:
        description = {**meta["tokens"], "data": index_checksum(folders["data"])}
        write_json(folders["tokens"] / "tokens.json", description)
    return folders


def _kind(row: dict[str, str]) -> str:
    """Name of the shard without its number (backbone, heavy, complex): the trainers' prefix."""
    return row["shard"].rpartition("_")[0]


def _differences(parts: list[np.ndarray]) -> np.ndarray:
    """Differences between neighbours; they compress better than the values."""
    return np.diff(np.concatenate(parts), prepend=0).astype("<i4")


def _segment_starts(first: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Mask over the present residues: True after an absent residue or at the start of an entry."""
    start = first | ~np.roll(present, 1)
    return start[present]


def _by_amino_acid(rows: list[dict]) -> np.ndarray:
    """Order of the residues that sorts them by amino acid."""
    sequence = "".join(row["sequence"].replace(":", "") for row in rows)
    return np.argsort(encode_sequence(sequence), kind="stable")


def _side_chains(
    side: np.ndarray, kept: np.ndarray, order: np.ndarray, backbone: np.ndarray, step: float
) -> np.ndarray:
    """Decode the atoms beyond the backbone [R, A - 4, 3]; NaN where absent."""
    relative = np.full((*kept.T.shape, 3), np.nan)
    relative[kept[order].T] = side * step
    return from_local(relative.swapaxes(0, 1)[np.argsort(order)], backbone).astype(np.float32)


# log2 of the bytes per record: LZMA then models each byte position of a record separately.
_PLACES = {"bonds": 3, "start": 2, "chain": 2, "number": 2, "tokens": 1, "side": 1}


def _compress(name: str, values: np.ndarray | bytes) -> np.ndarray:
    places = _PLACES.get(name, 0)
    settings = {"id": lzma.FILTER_LZMA2, "preset": 6, "lp": places, "pb": places}
    settings["lc"] = 0 if places else 4
    raw = values if isinstance(values, bytes) else np.ascontiguousarray(values).tobytes()
    return np.frombuffer(lzma.compress(raw, filters=[settings]), np.uint8)
