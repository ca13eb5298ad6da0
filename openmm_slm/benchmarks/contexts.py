"""``openmm-slm benchmark contexts``: nats per token of a language model that sees structure."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from ..data.shards import ShardDataset
from ..errors import ModelError
from ..language.interface import check_integer
from ..models.registry import find_part, load_language_model, load_tokenizer
from ..networks.storage import load_module
from ..tokenizer.dvae import DVAE
from ..training.language_nats import mean_and_error
from ..training.structure_validation import fixed_batches, nats_of_batches
from .language import PREFIXES, EncodedTokens
from .text_table import Column, text_table

#: Context (see `training.structure_validation`): its label.
CONTEXTS = {
    "sequence": "sequence alone",
    "span": "8 to 12 residues absent, and 2 on each side",
    "noise_0.03": "all frames off by 0.03 nm",
    "noise_0.1": "all frames off by 0.1 nm",
    "noise_0.3": "all frames off by 0.3 nm",
    "trace": "CA alone",
}
ABSENT = "of these, the absent residues"


def benchmark_contexts(
    data: str | os.PathLike,
    model: str | os.PathLike = "default",
    device: str = "auto",
    *,
    split: str = "test",
    clusters: int = 150,
) -> str:
    """Table of nats per token (mean over clusters and its standard error) in contexts.

    Parameters
    ----------
    data : path
        Shard directory.
    split : str
    clusters : int
        At most so many clusters, with one chain each of 30 to 320 residues.

    Returns
    -------
    str
        For each context the nats with the structure told, and without.

    Raises
    ------
    ModelError
        The language model does not see structure.
    """
    check_integer("clusters", clusters, 1, "clusters to measure")
    language_model = load_language_model(model, device)
    if not language_model.sees_structure:
        raise ModelError(f"the language model of {model} does not see structure; choose another")
    dataset = ShardDataset(data, split, PREFIXES)
    tokens = EncodedTokens(load_tokenizer(model, device), dataset)
    encoder = load_module(Path(find_part(model, "tokenizer")), DVAE).eval()
    table = {}
    for name, label in CONTEXTS.items():
        batches = fixed_batches(dataset, tokens, name, clusters)

        def measured(told: bool, absent: bool, batches=batches) -> dict[str, float]:
            nats = nats_of_batches(language_model.network, batches, encoder.tokenize, told, absent)
            mean, error = mean_and_error(nats)
            key = "told" if told else "not"
            return {key: mean, f"{key}_error": error, "n": len(nats)}

        with torch.inference_mode():
            table[label] = measured(True, False) | measured(False, False)
            if name == "span":
                table[ABSENT] = measured(True, True) | measured(False, True)
    columns = {
        "told": Column("told", 3), "error": Column("told_error", 3),
        "not told": Column("not", 3), "its error": Column("not_error", 3),
        "clusters": Column("n", 0),
    }  # fmt: skip
    return text_table(f"{split}: nats per token", table, columns)
