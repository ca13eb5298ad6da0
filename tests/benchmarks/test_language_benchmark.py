"""``benchmark lm``: the figures of language models, side by side."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from builders import helix
from click.testing import CliRunner
from toys import write_shards

from openmm_slm.benchmarks import language
from openmm_slm.benchmarks.samples import secondary_structure
from openmm_slm.cli.main import main
from openmm_slm.data.shards import Entry, ShardDataset
from openmm_slm.data.tokens import TokenStore, tokenize
from openmm_slm.errors import ModelError
from openmm_slm.language.gpt import GPT, GPTConfig
from openmm_slm.language.interface import StructureLanguageModel, TokenSamples
from openmm_slm.language.t5 import T5, T5Config
from openmm_slm.models.registry import find_part, load_language_model, load_tokenizer
from openmm_slm.networks.storage import read_config, save_module
from openmm_slm.projection.close_peptides import close_peptide_bonds
from openmm_slm.protein.protein import Protein
from openmm_slm.protein.sequence import sequence_layout


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("default", "cpu")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Untrained networks that speak the default tokenizer's tokens."""
    root, spoken = (
        tmp_path_factory.mktemp("lm"),
        read_config(find_part("default", "language_model")),
    )
    sizes = {"trunk_width": 32, "trunk_layers": 1, "trunk_heads": 2, "width": 32, "layers": 1,
             "heads": 2, "pair": 8}  # fmt: skip
    torch.manual_seed(0)
    made = {
        "t5": T5(T5Config(**sizes)),
        "t5_alone": T5(T5Config(**sizes, use_sequence=False)),
        "gpt": GPT(GPTConfig(width=32, layers=1, heads=2)),
    }
    for name, network in made.items():
        save_module(root / name, network, tokenizer=spoken["tokenizer"])
    save_module(root / "foreign", made["t5"], tokenizer="another")
    return root


class Remembered(StructureLanguageModel):
    """Gives the tokens it was given."""

    def __init__(self, tokens: np.ndarray) -> None:
        self.tokens, self.vocabulary = tokens, 512

    def sample(self, sequence, frames, *, seed, **settings):
        return TokenSamples(self.tokens[list(frames)], np.zeros(len(frames)))

    def log_prob(self, tokens, sequence):
        raise NotImplementedError


def test_tokens_made_on_the_fly_are_those_of_the_command(shards, tokenizer, tmp_path):
    store = TokenStore(
        tokenize(shards, find_part("default", "tokenizer"), tmp_path, progress=False), shards
    )
    dataset = ShardDataset(shards)
    made = language.EncodedTokens(tokenizer, dataset)
    different = [
        (made.read(row) != store.read(row)).sum() for row in dataset.rows
    ]  # batches are padded otherwise: a code at an edge may flip
    assert sum(different) <= 2
    assert made.read(dataset.rows[5])[3] == -1  # an absent residue


def test_native_tokens_agree_with_the_native_and_the_majority_outvotes(tokenizer):
    length = 40
    entry = Entry(
        "helix", "test", "0", "ADEKLLAEKARQ" * 3 + "AEKL", helix(length).astype(np.float32),
        np.zeros(length, int), np.arange(length), np.arange(length) == 0,
    )  # fmt: skip
    _, _, index = sequence_layout((entry.sequence,))
    native = tokenizer.encode_backbone(entry.backbone[None], np.ones((1, length), bool), index)
    figures = language.sample_figures(
        Remembered(np.repeat(native, 5, 0)), tokenizer, entry, 5, seed=0
    )
    rebuilt = tokenizer.decode_tokens(native, sequence_layout((entry.sequence,))[0], index)
    rebuilt, _ = close_peptide_bonds(rebuilt, Protein(entry.sequence, entry.chain_break))
    (true,) = secondary_structure(entry.backbone[None], entry.sequence)
    expected = (secondary_structure(rebuilt, entry.sequence)[0] == true).mean()
    assert figures["single"] == figures["majority"] == pytest.approx(expected)
    assert expected > 0.7 and figures["tm"] == pytest.approx(1, abs=1e-3)
    # Two of five samples are rubbish: single samples suffer, the majority does not.
    mixed = np.repeat(native, 5, 0)
    mixed[:2] = np.random.default_rng(0).integers(0, 512, (2, length))
    worse = language.sample_figures(Remembered(mixed), tokenizer, entry, 5, seed=0)
    assert worse["single"] < figures["single"] - 0.1
    assert worse["majority"] > worse["single"] + 0.05
    assert worse["tm"] < 0.8


def value(table: str, row: str, column: int) -> float:
    (line,) = [line for line in table.splitlines() if line.startswith(row)]
    return float(re.split(r"\s{2,}", line.strip())[1 + column].split()[0])


def test_the_table_has_a_column_a_model(shards, networks, monkeypatch):
    monkeypatch.setattr(language, "TIMED", 4)
    options = ["--data", shards, "--split", "train", "--split", "val", "--chains", "1", "-n", "3"]
    options += ["--model", networks / "t5", "--model", networks / "gpt"]
    options += ["--no-sequence", networks / "t5_alone", "--device", "cpu"]
    result = CliRunner().invoke(main, ["benchmark", "lm", *map(str, options)])
    assert result.exit_code == 0, result.output
    table = result.output
    nats = value(table, "nats per token, val", 0)
    gain = value(table, "  gained by the sequence, val", 0)
    assert abs(nats - np.log(512)) < 1  # untrained
    dataset = ShardDataset(shards, "val")
    store = language.EncodedTokens(load_tokenizer("default", "cpu"), dataset)
    alone = load_language_model(networks / "t5_alone", "cpu")
    per_cluster: dict[str, list[float]] = {}
    for row, number in zip(dataset.rows, range(len(dataset)), strict=True):
        tokens, entry = store.read(row), dataset[number]
        one = alone.log_prob(tokens, entry.sequence)[0]
        per_cluster.setdefault(entry.cluster, []).append(-one / len(tokens))
    expected = np.mean([np.mean(values) for values in per_cluster.values()])
    assert nats + gain == pytest.approx(expected, abs=0.002)
    assert "-" in next(x for x in table.splitlines() if "gained by the sequence, val" in x)[-3:]
    assert 2 < value(table, "nats per amino acid, val", 1) < 5
    assert 0 <= value(table, "native secondary structure, majority of 3", 1) <= 100


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"models": ["foreign"]}, "trained on the tokens of tokenizer another"),
        ({"models": ["t5"], "no_sequence": ["gpt"]}, "gpt reads the sequence"),
        ({"models": ["t5"], "no_sequence": ["t5_alone", "t5_alone"]}, "a second t5 model"),
    ],
)
def test_what_cannot_be_compared_is_named(options, named, shards, networks):
    options = {key: [networks / name for name in names] for key, names in options.items()}
    with pytest.raises(ModelError, match=named):
        language.benchmark_language(
            shards, **options, splits=("train",), chains=1, device="cpu", progress=False
        )


def test_a_language_model_alone_takes_the_other_parts_of_the_default(networks):
    alone = networks / "t5"
    assert find_part(alone, "language_model") == alone
    assert find_part(alone, "tokenizer") == find_part("default", "tokenizer")
    assert find_part(alone, "packer") == find_part("default", "packer")
