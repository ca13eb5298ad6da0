"""``openmm-slm benchmark lm``: nats per token, time and samples of language models."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from ..analysis.tmscore import tm_self
from ..data.shards import Entry, ShardDataset
from ..data.tokens import TokenStore
from ..errors import ModelError
from ..language.interface import StructureLanguageModel
from ..models.registry import (
    check_parts,
    find_device,
    find_part,
    load_language_model,
    load_tokenizer,
)
from ..networks.storage import read_config
from ..projection.close_peptides import close_peptide_bonds
from ..protein.protein import Protein
from ..protein.sequence import sequence_layout
from ..tokenizer.interface import StructureTokenizer
from ..training.language_nats import entries_of_clusters, mean_and_error, nats_of_entries
from ..validity.report import backbone_report
from .proteins import PROTEINS
from .samples import STATES, choose_chains, secondary_structure

TIMED = 500  # samples of BPTI
PAIRED = 20  # samples of a chain whose TM-scores with each other are averaged
ABSENT = "-"
PREFIXES = ("backbone", "heavy", "shard")


class EncodedTokens:
    """Tokens of entries, encoded on first use.

    Parameters
    ----------
    tokenizer : StructureTokenizer
    dataset : ShardDataset
    """

    def __init__(self, tokenizer: StructureTokenizer, dataset: ShardDataset) -> None:
        self.tokenizer, self.dataset = tokenizer, dataset
        self._number = {row["id"]: number for number, row in enumerate(dataset.rows)}
        self._found: dict[str, np.ndarray] = {}

    def read(self, row: dict[str, str]) -> np.ndarray:
        """int64 [L] of one index row, -1 where an atom of the backbone is absent."""
        if row["id"] not in self._found:
            entry = self.dataset[self._number[row["id"]]]
            present = np.isfinite(entry.backbone).all((1, 2))
            (tokens,) = self.tokenizer.encode_backbone(
                entry.backbone[None], present[None], entry.residue_index
            )
            self._found[row["id"]] = tokens
        return self._found[row["id"]]


def benchmark_language(
    data: str | os.PathLike,
    models: Sequence[str | os.PathLike],
    *,
    no_sequence: Sequence[str | os.PathLike] = (),
    tokens: str | os.PathLike | None = None,
    splits: Sequence[str] = ("test", "test_related"),
    chains: int = 20,
    n: int = 100,
    seed: int = 0,
    guidance: Sequence[float] = (),
    device: str = "auto",
    progress: bool = True,
) -> str:
    """Table of nats per token, time, validity, diversity and secondary structure of models.

    Parameters
    ----------
    data : path
        Shard directory.
    models : sequence of str or path
        Names, model directories, or directories of language models alone (trained on the default
        tokenizer's tokens).
    no_sequence : sequence of path
        Models trained without sequences. The gain by the sequence is over the one of the same
        family.
    tokens : path, optional
        Made by `tokenize`; without it the splits are encoded here.
    splits : sequence of str
        Nats are of all of them, samples of chains of the first.
    chains, n : int
        Chains (see `choose_chains`) and samples of each.
    guidance : sequence of float
        Samples at each of these too, of models that can be guided: a column more.

    Returns
    -------
    str
        One column a model. Nats are means over clusters with their standard errors.

    Raises
    ------
    ModelError
        A model of other tokens than its tokenizer's; two models without sequence of one family.
    """
    device = find_device(device)
    datasets = {split: ShardDataset(data, split, PREFIXES) for split in splits}
    entries = choose_chains(datasets[splits[0]], chains)
    without = models_without_sequence(no_sequence, device)
    store = None if tokens is None else TokenStore(tokens, data)
    for name in (*models, *no_sequence):
        if store is not None and trained_on(name) != store.tokenizer:
            raise ModelError(
                f"{name} was trained on the tokens of tokenizer {trained_on(name)}, {tokens} has "
                f"those of {store.tokenizer}; leave --tokens out, and the splits are encoded anew"
            )
    encoded: dict[tuple[str | None, str], EncodedTokens] = {}
    columns = []
    for name in models:
        check_parts(name)
        model, tokenizer = load_language_model(name, device), load_tokenizer(name, device)
        network = model.network
        count = sum(parameter.numel() for parameter in network.parameters())
        column = {
            "model": "/".join(Path(name).parts[-2:]),
            "family": network.kind,
            "parameters, M": f"{count / 1e6:.2f}",
            "reads the sequence": "yes" if network.config.use_sequence else "no",
        }
        spoken = trained_on(name)
        base = without.get((network.kind, spoken))
        for split, dataset in datasets.items():
            read = store or encoded.setdefault((spoken, split), EncodedTokens(tokenizer, dataset))
            column |= _likelihood(model, base, dataset, read, split)
        columns.append(column | _samples(model, tokenizer, entries, n, seed, progress))
        for value in guidance if model.guided else ():
            named = dict.fromkeys(column, ABSENT) | {"model": f"{column['model']}, w {value:g}"}
            made = _samples(model, tokenizer, entries, n, seed, progress, guidance=value)
            columns.append(named | made)
    lengths = [len(entry.sequence) for entry in entries]
    numbers = {split: len(entries_of_clusters(dataset)) for split, dataset in datasets.items()}
    head = [
        ", ".join(f"{split}: {number} structures" for split, number in numbers.items())
        + "; nats are means over clusters, of masked diffusion an upper bound",
        f"samples: {n} of each of {chains} chains of {splits[0]}, {min(lengths)}-{max(lengths)} "
        "residues; means over chains",
    ]
    return "\n".join([*head, *_table(columns)])


def trained_on(model: str | os.PathLike) -> str | None:
    """Fingerprint of the tokenizer whose tokens a model was trained on."""
    return read_config(find_part(model, "language_model")).get("tokenizer")


def models_without_sequence(
    models: Sequence[str | os.PathLike], device: str
) -> dict[tuple[str, str | None], StructureLanguageModel]:
    """Models to compare with, by kind and tokenizer."""
    found: dict[tuple[str, str | None], StructureLanguageModel] = {}
    for name in models:
        model = load_language_model(name, device)
        if model.network.config.use_sequence:
            raise ModelError(
                f'{name} reads the sequence; train one with "use_sequence": false to compare with'
            )
        key = model.network.kind, trained_on(name)
        if key in found:
            raise ModelError(f"{name}: a second {key[0]} model without sequence; leave one out")
        found[key] = model
    return found


def _likelihood(model, base, dataset: ShardDataset, store, split: str) -> dict[str, str]:
    """Nats of a split, and the gain by the sequence (paired by cluster)."""
    numbers = entries_of_clusters(dataset)
    nats = nats_of_entries(model.network, dataset, store, numbers)
    gained = None
    if base is not None:
        gained = nats_of_entries(base.network, dataset, store, numbers)["token"] - nats["token"]
    return {
        f"nats per token, {split}": _pair(nats["token"]),
        f"  gained by the sequence, {split}": _pair(gained),
        f"nats per amino acid, {split}": _pair(nats.get("amino_acid")),
    }


def _pair(values: np.ndarray | None) -> str:
    if values is None:
        return ABSENT
    mean, error = mean_and_error(values)
    return f"{mean:.3f} +- {error:.3f}"


def _samples(
    model: StructureLanguageModel,
    tokenizer: StructureTokenizer,
    entries: list[Entry],
    n: int,
    seed: int,
    progress: bool,
    **settings: float,
) -> dict[str, str]:
    """Time of sampling, and figures of samples of each entry."""
    start = time.perf_counter()
    model.sample(PROTEINS["BPTI"], range(TIMED), seed=seed, **settings)
    seconds = time.perf_counter() - start
    rows = [
        sample_figures(model, tokenizer, entry, n, seed, **settings)
        for entry in tqdm(entries, unit="chain", disable=not progress)
    ]
    mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    return {
        f"{TIMED} samples of tokens, BPTI, s": f"{seconds:.1f}",
        "valid backbones (projected), %": f"{100 * mean['valid']:.1f}",
        f"TM-score of samples, {min(n, PAIRED)} with each other": f"{mean['tm']:.3f}",
        "native secondary structure, sample, %": f"{100 * mean['single']:.1f}",
        f"native secondary structure, majority of {n}, %": f"{100 * mean['majority']:.1f}",
    }


def sample_figures(
    model: StructureLanguageModel,
    tokenizer: StructureTokenizer,
    entry: Entry,
    n: int,
    seed: int,
    **settings: float,
) -> dict[str, float]:
    """Of n samples of an entry: valid share, TM-score with each other, agreement with the native.

    ``single`` is the mean share of residues whose state (helix, strand, coil) is the native's,
    ``majority`` that of the commonest state of each residue.
    """
    sequence = entry.sequence
    amino_acids, _, index = sequence_layout((sequence,))
    drawn = model.sample(sequence, range(n), seed=seed, **settings)
    frames = tokenizer.decode_tokens(drawn.tokens, amino_acids, index)
    frames, _ = close_peptide_bonds(frames, Protein(sequence, entry.chain_break))
    (native,) = secondary_structure(entry.backbone[None], sequence)
    states = secondary_structure(frames, sequence)
    commonest = STATES[(states[None] == STATES[:, None, None]).sum(1).argmax(0)]
    scores = tm_self(frames[:PAIRED, :, 1])
    others = scores[~np.eye(len(scores), dtype=bool)]
    return {
        "valid": backbone_report(frames, Protein(sequence, entry.chain_break))["valid"].mean(),
        "tm": others.mean() if len(others) else 1.0,
        "single": (states == native).mean(),
        "majority": (commonest == native).mean(),
    }


def _table(columns: list[dict[str, str]]) -> list[str]:
    """Lines of a table: a column for each model, a row for each name that any has a value of."""
    names = [name for name in columns[0] if any(c[name] != ABSENT for c in columns)]
    widths = [max(map(len, column.values())) for column in columns]
    label = max(map(len, names))
    return [
        "  ".join(
            [f"{name:{label}}", *(f"{c[name]:>{w}}" for c, w in zip(columns, widths, strict=True))]
        )
        for name in names
    ]
