"""Tokens of a shard directory, one int16 array beside each shard's rows.

``openmm-slm tokenize`` writes ``<shard>.tokens.npy`` int16 [R] (-1 where a residue's N, CA or C is
absent) and ``tokens.json``, which says by which tokenizer.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from ..errors import ModelError
from ..models.storage import load_module, tokenizer_fingerprint, write_json
from ..tokenizer.dvae import DVAE
from .batches import pad_entries
from .shards import ShardDataset


def tokenize(
    data: str | os.PathLike,
    tokenizer: str | os.PathLike,
    output: str | os.PathLike,
    *,
    device: str = "cpu",
    residues: int = 2048,
    progress: bool = True,
) -> Path:
    """Encode every entry of a shard directory (whole chains and complexes, posterior modes).

    Parameters
    ----------
    data : path
        Shard directory.
    tokenizer : path
        Model directory of a dVAE.
    output : path
    residues : int
        Padded residues per batch.
    """
    model = load_module(tokenizer, DVAE).to(device).eval()
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    dataset = ShardDataset(data)
    sizes: dict[str, int] = {}
    for row in dataset.rows:
        end = int(row["offset"]) + int(row["length"])
        sizes[row["shard"]] = max(end, sizes.get(row["shard"], 0))
    arrays = {shard: np.full(size, -1, np.int16) for shard, size in sizes.items()}

    def encode(rows: list[int]) -> None:
        entries = [dataset[row] for row in rows]
        batch = {k: torch.as_tensor(v, device=device) for k, v in pad_entries(entries).items()}
        with torch.inference_mode():
            tokens = model.tokenize(batch["backbone"], batch["mask"], batch["index"])
        for row, mine in zip(rows, tokens.cpu().numpy(), strict=True):
            where = dataset.rows[row]
            start, length = int(where["offset"]), int(where["length"])
            arrays[where["shard"]][start : start + length] = mine[:length]

    order = np.argsort(dataset.lengths, kind="stable")
    rows: list[int] = []
    for row in tqdm(order, disable=not progress, mininterval=5):
        if rows and (len(rows) + 1) * dataset.lengths[row] > residues:
            encode(rows)
            rows = []
        rows.append(int(row))
    encode(rows)
    for shard, tokens in arrays.items():
        np.save(output / f"{shard}.tokens.npy", tokens)
    write_json(
        output / "tokens.json",
        {"tokenizer": tokenizer_fingerprint(tokenizer), "vocabulary": model.quantizer.size},
    )
    return output


class TokenStore:
    """Tokens of entries, read from a directory that `tokenize` wrote."""

    def __init__(self, directory: str | os.PathLike) -> None:
        self.directory = Path(directory)
        path = self.directory / "tokens.json"
        if not path.exists():
            raise ModelError(f"{directory}: no tokens.json; run `openmm-slm tokenize` first")
        meta = json.loads(path.read_text())
        self.vocabulary, self.tokenizer = int(meta["vocabulary"]), meta["tokenizer"]
        self._open: dict[str, np.ndarray] = {}

    def read(self, row: dict[str, str]) -> np.ndarray:
        """int16 [L] of one index row."""
        shard = row["shard"]
        if shard not in self._open:
            self._open[shard] = np.load(self.directory / f"{shard}.tokens.npy", mmap_mode="r")
        start = int(row["offset"])
        return np.array(self._open[shard][start : start + int(row["length"])])
