"""Per-residue embeddings of the entries of a shard directory, in half precision.

``openmm-slm embed`` writes ``embeddings.npy`` float16 [R, D], ``starts.npy`` int64 [N] (the first
row of each entry, in the order of ``index.csv``) and ``embeddings.json``, which identifies the
model and the data. Entries with equal sequences share rows if the embedding depends on the
sequence alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from ..errors import ModelError
from ..files.json_file import write_json
from ..language.condition import SequenceCondition
from .shards import index_checksum, open_array, read_index, save_array


def embed_shards(
    data: str | os.PathLike,
    output: str | os.PathLike,
    embed: Callable[[dict[str, str]], SequenceCondition],
    identity: str,
    *,
    by_sequence: bool = True,
    progress: bool = True,
) -> Path:
    """Write the embeddings of all entries.

    Parameters
    ----------
    data : path
        Shard directory.
    output : path
        Folder to write.
    embed : callable
        Maps a row of the index to its SequenceCondition.
    identity : str
        Name of the embedding. A model trained with it accepts no other.
    by_sequence : bool
        Embeddings depend on the sequence alone: entries with equal sequences share them.

    Raises
    ------
    ModelError
        Widths differ between entries, or a value is too large for half precision.
    """
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    rows = read_index(data)
    keys = [row["sequence"] if by_sequence else number for number, row in enumerate(rows)]
    first: dict[object, int] = {}
    total = 0
    for key, row in zip(keys, rows, strict=True):
        if key not in first:
            first[key] = total
            total += int(row["length"])
    array, done = None, set()
    temporary = output / "embeddings.tmp"
    for key, row in tqdm(zip(keys, rows, strict=True), total=len(rows), disable=not progress):
        if key in done:
            continue
        done.add(key)
        values = embed(row).values
        if array is None:
            shape = (total, values.shape[1])
            array = np.lib.format.open_memmap(temporary, "w+", np.float16, shape)
        if values.shape[1] != array.shape[1]:
            raise ModelError(
                f"embeddings of {row['id']} have {values.shape[1]} numbers per residue, those of "
                f"earlier entries {array.shape[1]}; use one model for all entries"
            )
        if np.abs(values).max() > np.finfo(np.float16).max:
            raise ModelError(
                f"embeddings of {row['id']} reach {np.abs(values).max():.3g}, over the maximum of "
                f"half precision ({np.finfo(np.float16).max:.0f}); scale all embeddings down"
            )
        array[first[key] : first[key] + len(values)] = values
    array.flush()
    temporary.replace(output / "embeddings.npy")
    save_array(output / "starts.npy", np.array([first[key] for key in keys], np.int64))
    meta = {"embeddings": identity, "size": array.shape[1], "data": index_checksum(data)}
    write_json(output / "embeddings.json", meta)
    return output


def embed_arrays(
    data: str | os.PathLike,
    output: str | os.PathLike,
    arrays: str | os.PathLike,
    identity: str,
    progress: bool = True,
) -> Path:
    """`embed_shards` with the user's own arrays: ``<entry id>.npy`` [L, D] in folder `arrays`."""

    def embed(row: dict[str, str]) -> SequenceCondition:
        return SequenceCondition.of(Path(arrays) / f"{row['id']}.npy", row["sequence"])

    return embed_shards(data, output, embed, identity, by_sequence=False, progress=progress)


class EmbeddingStore:
    """Reader of the embeddings that `embed_shards` wrote.

    Parameters
    ----------
    directory : path
        Output folder of `embed_shards`.
    data : path
        Shard directory that the embeddings must belong to.

    Attributes
    ----------
    embeddings : str
        Name of the embedding.
    size : int
        Numbers per residue.

    Raises
    ------
    ModelError
        The folder has no embeddings, or they were made from other data than `data`.
    """

    def __init__(self, directory: str | os.PathLike, data: str | os.PathLike) -> None:
        self.directory = Path(directory)
        path = self.directory / "embeddings.json"
        if not path.exists():
            raise ModelError(f"{directory}: no embeddings.json; run `openmm-slm embed` first")
        try:
            meta = json.loads(path.read_text(encoding="utf-8"))
            self.embeddings, self.size = str(meta["embeddings"]), int(meta["size"])
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{path}: cannot be read ({error!r}); embed the data again") from None
        if meta.get("data") != index_checksum(data):
            raise ModelError(
                f"{directory}: these embeddings were not made from {data}; run `openmm-slm embed` "
                "on it first"
            )
        self._array = open_array(self.directory / "embeddings.npy")
        starts = open_array(self.directory / "starts.npy").tolist()
        rows = read_index(data)
        needed = max(start + int(row["length"]) for start, row in zip(starts, rows, strict=False))
        if len(starts) != len(rows) or self._array.shape != (needed, self.size):
            raise ModelError(f"{directory}: its files are inconsistent; embed the data again")
        self._starts = {
            (row["shard"], row["offset"]): start for start, row in zip(starts, rows, strict=True)
        }

    def read(self, row: dict[str, str]) -> np.ndarray:
        """Embeddings float16 [L, D] of the entry in one row of the index."""
        start = self._starts[row["shard"], row["offset"]]
        return np.array(self._array[start : start + int(row["length"])])
