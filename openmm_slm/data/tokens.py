"""Tokens of a shard directory, one int16 array beside each shard's rows.

``openmm-slm tokenize`` writes ``<shard>.tokens.npy`` int16 [R] (-1 where a residue's N, CA or C is
absent) and ``tokens.json``, which says by which tokenizer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from ..errors import ModelError
from ..files.json_file import write_json
from ..networks.storage import load_module, read_config, tokenizer_fingerprint
from ..tokenizer.dvae import DVAE
from ..tokenizer.kinds import TOKENIZERS
from .padding import pad_entries
from .shards import Entry, ShardDataset, index_checksum, open_array, save_array


def tokenize(
    data: str | os.PathLike,
    tokenizer: str | os.PathLike,
    output: str | os.PathLike,
    *,
    device: str = "cpu",
    residues: int = 2048,
    sample: int | None = None,
    progress: bool = True,
) -> Path:
    """Encode every entry of a shard directory (whole chains and complexes).

    Parameters
    ----------
    data : path
        Shard directory.
    tokenizer : path
        Model directory of a tokenizer.
    output : path
    residues : int
        Padded residues per batch.
    sample : int, optional
        A seed: tokens are drawn from the posterior instead of being its mode, so that a language
        model learns which tokens mean the same.
    """
    encode, vocabulary = _encoder(tokenizer, device, sample)
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    dataset = ShardDataset(data)
    sizes: dict[str, int] = {}
    for row in dataset.rows:
        end = int(row["offset"]) + int(row["length"])
        sizes[row["shard"]] = max(end, sizes.get(row["shard"], 0))
    arrays = {shard: np.full(size, -1, np.int16) for shard, size in sizes.items()}

    def keep(rows: list[int]) -> None:
        for row, mine in zip(rows, encode([dataset[row] for row in rows]), strict=True):
            where = dataset.rows[row]
            start, length = int(where["offset"]), int(where["length"])
            arrays[where["shard"]][start : start + length] = mine[:length]

    order = np.argsort(dataset.lengths, kind="stable")
    rows: list[int] = []
    for row in tqdm(order, disable=not progress):
        if rows and (len(rows) + 1) * dataset.lengths[row] > residues:
            keep(rows)
            rows = []
        rows.append(int(row))
    keep(rows)
    for shard, tokens in arrays.items():
        save_array(output / f"{shard}.tokens.npy", tokens)
    write_json(
        output / "tokens.json",
        {
            "tokenizer": tokenizer_fingerprint(tokenizer),
            "vocabulary": vocabulary,
            "data": index_checksum(data),
            "sample": sample,
        },
    )
    return output


def _encoder(
    tokenizer: str | os.PathLike, device: str, sample: int | None
) -> tuple[Callable[[list[Entry]], Iterable[np.ndarray]], int]:
    """What makes tokens of entries, and the number of codes."""
    kind = read_config(tokenizer).get("kind")
    if kind != DVAE.kind:  # one entry after the other, as its interface has it
        if kind not in TOKENIZERS:
            raise ModelError(f"{tokenizer}: holds {kind!r}, expected a tokenizer")
        other = TOKENIZERS[kind].load(tokenizer, device)

        def encode(entries: list[Entry]) -> Iterable[np.ndarray]:
            for entry in entries:
                present = np.isfinite(entry.backbone).all((1, 2))
                yield other.encode_backbone(
                    entry.backbone[None],
                    present[None],
                    entry.residue_index,
                    sample=sample is not None,
                    seed=sample or 0,
                )[0]

        return encode, other.vocabulary

    model = load_module(tokenizer, DVAE).to(device).eval()
    rng = np.random.default_rng(sample)

    @torch.inference_mode()
    def encode_together(entries: list[Entry]) -> Iterable[np.ndarray]:
        batch = {k: torch.as_tensor(v, device=device) for k, v in pad_entries(entries).items()}
        uniform = None
        if sample is not None:
            draws = (int(batch["mask"].sum()), model.quantizer.draws)
            uniform = torch.as_tensor(rng.random(draws, np.float32), device=device)
        tokens = model.tokenize(batch["backbone"], batch["mask"], batch["index"], uniform)
        return tokens.cpu().numpy()

    return encode_together, model.quantizer.size


class TokenStore:
    """Tokens of entries, read from a directory that `tokenize` wrote.

    Parameters
    ----------
    directory : path
    data : path, optional
        Shard directory they should belong to.

    Raises
    ------
    ModelError
        No tokens there, or those of other data: rows would get the tokens of other residues.
    """

    def __init__(self, directory: str | os.PathLike, data: str | os.PathLike | None = None) -> None:
        self.directory = Path(directory)
        path = self.directory / "tokens.json"
        if not path.exists():
            raise ModelError(f"{directory}: no tokens.json; run `openmm-slm tokenize` first")
        try:
            meta = json.loads(path.read_text())
            self.vocabulary, self.tokenizer = int(meta["vocabulary"]), meta["tokenizer"]
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"{path}: cannot be read ({error!r}); tokenize the data again"
            ) from None
        if data is not None and meta.get("data") not in (None, index_checksum(data)):
            raise ModelError(
                f"{directory} holds tokens of other data than {data}; tokenize that first"
            )
        self._open: dict[str, np.ndarray] = {}

    def read(self, row: dict[str, str]) -> np.ndarray:
        """int16 [L] of one index row."""
        shard, start, length = row["shard"], int(row["offset"]), int(row["length"])
        if shard not in self._open:
            self._open[shard] = open_array(self.directory / f"{shard}.tokens.npy")
        if start + length > len(self._open[shard]):
            raise ModelError(f"{self.directory}: no tokens of {row['id']}; tokenize the data again")
        return np.array(self._open[shard][start : start + length])
