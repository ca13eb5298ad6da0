"""Structure tokens of a shard directory: one int16 array per shard, aligned with its rows.

``openmm-slm tokenize`` writes ``<shard>.tokens.npy`` int16 [R] (-1 where a residue lacks N, CA or
C) and ``tokens.json``, which identifies the tokenizer and the data.
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
        Folder to write.
    residues : int
        Residues per batch, padding included.
    sample : int, optional
        Random seed. With a seed, tokens are drawn from the posterior; without, they are its mode.
        Drawn tokens show a language model which tokens are interchangeable.
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

    def store(rows: list[int]) -> None:
        for row, tokens in zip(rows, encode([dataset[row] for row in rows]), strict=True):
            values = dataset.rows[row]
            start, length = int(values["offset"]), int(values["length"])
            arrays[values["shard"]][start : start + length] = tokens[:length]

    order = np.argsort(dataset.lengths, kind="stable")
    rows: list[int] = []
    for row in tqdm(order, disable=not progress):
        if rows and (len(rows) + 1) * dataset.lengths[row] > residues:
            store(rows)
            rows = []
        rows.append(int(row))
    store(rows)
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
    """Function that encodes a list of entries, and the size of the vocabulary."""
    kind = read_config(tokenizer).get("kind")
    if kind != DVAE.kind:  # the interface of other tokenizers encodes one entry at a time
        if kind not in TOKENIZERS:
            raise ModelError(f"{tokenizer}: kind is {kind!r}, expected a tokenizer")
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
    def encode_batch(entries: list[Entry]) -> Iterable[np.ndarray]:
        batch = {k: torch.as_tensor(v, device=device) for k, v in pad_entries(entries).items()}
        uniform = None
        if sample is not None:
            draws = (int(batch["mask"].sum()), model.quantizer.draws)
            uniform = torch.as_tensor(rng.random(draws, np.float32), device=device)
        tokens = model.tokenize(batch["backbone"], batch["mask"], batch["index"], uniform)
        return tokens.cpu().numpy()

    return encode_batch, model.quantizer.size


class TokenStore:
    """Reader of the tokens that `tokenize` wrote.

    Parameters
    ----------
    directory : path
        Output folder of `tokenize`.
    data : path, optional
        Shard directory that the tokens must belong to.

    Raises
    ------
    ModelError
        The folder has no tokens, or they were made from other data than `data`.
    """

    def __init__(self, directory: str | os.PathLike, data: str | os.PathLike | None = None) -> None:
        self.directory = Path(directory)
        path = self.directory / "tokens.json"
        if not path.exists():
            raise ModelError(f"{directory}: no tokens.json; run `openmm-slm tokenize` first")
        try:
            meta = json.loads(path.read_text(encoding="utf-8"))
            self.vocabulary, self.tokenizer = int(meta["vocabulary"]), meta["tokenizer"]
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"{path}: cannot be read ({error!r}); tokenize the data again"
            ) from None
        if data is not None and meta.get("data") not in (None, index_checksum(data)):
            raise ModelError(
                f"{directory}: these tokens were not made from {data}; run `openmm-slm tokenize` "
                "on it first"
            )
        self._open: dict[str, np.ndarray] = {}

    def read(self, row: dict[str, str]) -> np.ndarray:
        """Tokens int16 [L] of the entry in one row of the index."""
        shard, start, length = row["shard"], int(row["offset"]), int(row["length"])
        if shard not in self._open:
            self._open[shard] = open_array(self.directory / f"{shard}.tokens.npy")
        if start + length > len(self._open[shard]):
            raise ModelError(f"{self.directory}: no tokens of {row['id']}; tokenize the data again")
        return np.array(self._open[shard][start : start + length])
