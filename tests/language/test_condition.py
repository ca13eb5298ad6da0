"""A condition: numbers per residue that a language model is told beside the sequence."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from toys import TINY_LM, write_shards

import openmm_slm
from openmm_slm.cli.main import main
from openmm_slm.data.embed_sequences import Embedder
from openmm_slm.data.embeddings import EmbeddingStore, embed_arrays, embed_shards
from openmm_slm.data.shards import ShardDataset, index_checksum, read_index
from openmm_slm.errors import ModelError, SLMError
from openmm_slm.language.condition import SequenceCondition
from openmm_slm.language.families import FAMILIES
from openmm_slm.language.trunk import sequence_tensors
from openmm_slm.models.registry import load_language_model, shipped_models
from openmm_slm.networks.storage import load_module, load_network, read_config
from openmm_slm.training.train_language_model import train_language_model
from openmm_slm.training.warm_start import starting_network

V, D = 6, 6
SIZES = {**TINY_LM["model"], "vocabulary": V}
NAMES = ["diffusion", "t5", "gpt"]
families = pytest.mark.parametrize("name", NAMES)


def sizes_of(name: str, **more) -> dict:
    kept = SIZES if name != "gpt" else {k: SIZES[k] for k in ("width", "layers", "heads")}
    return {**kept, "vocabulary": V, **more}


def shaken(name: str, condition: int | None):
    """A model whose parts all matter (many start at zero)."""
    torch.manual_seed(0)
    family = FAMILIES[name]
    network = family.network(family.network.config_class(**sizes_of(name, condition=condition)))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return family.model(network, "cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Shards, random tokens of them, and their one-hot as embeddings."""
    root = tmp_path_factory.mktemp("condition")
    shards = write_shards(root / "shards")
    (root / "tokens").mkdir()
    (root / "arrays").mkdir()
    rng = np.random.default_rng(0)
    tokens = {
        path.name[: -len(".atoms.npy")]: rng.integers(0, V, len(np.load(path, mmap_mode="r")))
        for path in shards.glob("*.atoms.npy")
    }
    for name, values in tokens.items():
        np.save(root / "tokens" / f"{name}.tokens.npy", values.astype(np.int16))
    for row in read_index(shards):
        start = int(row["offset"])
        mine = tokens[row["shard"]][start : start + int(row["length"])]
        np.save(root / "arrays" / f"{row['id']}.npy", np.eye(V)[mine])
    meta = {"tokenizer": "toy", "vocabulary": V, "data": index_checksum(shards)}
    (root / "tokens" / "tokens.json").write_text(json.dumps(meta))
    embed_arrays(shards, root / "told", root / "arrays", "one-hot", progress=False)
    return root


def config_of(name: str, steps: int, **model) -> dict:
    model = {**sizes_of(name, **model)}
    model.pop("vocabulary")
    training = {**TINY_LM["training"], "steps": steps, "learning_rate": 1e-2}
    return {"family": name, "model": model, "training": training, "data": {"residues": 256}}


def train(data, where, config, **options):
    parts = (data / "shards", data / "tokens", where)
    return train_language_model(config, *parts, progress=False, **options)


def nats(run) -> list[float]:
    with open(run / "log.csv") as handle:
        return [float(row["nats_per_token"]) for row in csv.DictReader(handle)]


def test_embeddings_are_read_back_for_each_entry(data, tmp_path):
    store, dataset = EmbeddingStore(data / "told", data / "shards"), ShardDataset(data / "shards")
    assert (store.size, store.embeddings) == (V, "one-hot")
    for row in dataset.rows[::7]:
        expected = np.load(data / "arrays" / f"{row['id']}.npy")
        np.testing.assert_array_equal(store.read(row), expected)
    other = write_shards(tmp_path / "other")
    (other / "index.csv").write_text((other / "index.csv").read_text().replace("val", "test"))
    with pytest.raises(ModelError, match="not made from"):
        EmbeddingStore(data / "told", other)
    with pytest.raises(ModelError, match="embed` first"):
        EmbeddingStore(tmp_path, data / "shards")
    calls = []

    def embed(row):
        calls.append(row["sequence"])
        return SequenceCondition(np.full((int(row["length"]), 2), 7e4, np.float32))

    with pytest.raises(ModelError, match="half precision"):
        embed_shards(data / "shards", tmp_path / "large", embed, "large", progress=False)
    np.save(tmp_path / "chain0.npy", np.zeros((3, 2)))
    with pytest.raises(SLMError, match=r"has shape \[3, 2\], expected"):
        embed_arrays(data / "shards", tmp_path / "short", tmp_path, "short", progress=False)


@families
def test_the_condition_is_learned_from(name, data, tmp_path):
    """Random tokens: log V nats at best without the condition, that tells them, and few with it."""
    where = train(data, tmp_path / "lm", config_of(name, 80, condition=D), embeddings=data / "told")
    assert np.mean(nats(tmp_path / "lm")[-10:]) < 0.3 * np.log(V)
    assert read_config(where)["embeddings"] == "one-hot"
    model, sequence = load_language_model(where, "cpu"), "ACDEFGHIKL" * 3
    wanted = np.random.default_rng(1).integers(0, V, len(sequence))
    drawn = model.sample(sequence, range(8), seed=0, condition=np.eye(V)[wanted])
    assert (drawn.tokens == wanted).mean() > 0.85


@families
def test_a_new_condition_changes_nothing_until_it_is_trained(name, data, tmp_path):
    old = train(data, tmp_path / "old", config_of(name, 3))
    made = starting_network(name, {"condition": D}, V, old)
    before = FAMILIES[name].model(load_module(old, FAMILIES[name].network), "cpu")
    after = FAMILIES[name].model(made, "cpu")
    sequence, numbers = "GYDPETGTWG", np.random.default_rng(0).normal(size=(10, D))
    one = before.sample(sequence, range(3), seed=1)
    two = after.sample(sequence, range(3), seed=1, condition=numbers)
    np.testing.assert_array_equal(one.tokens, two.tokens)
    np.testing.assert_array_equal(one.log_prob, two.log_prob)
    new = train(data, tmp_path / "new", config_of(name, 2, condition=D), init_from=old,
                embeddings=data / "told")  # fmt: skip
    assert read_config(new)["config"]["condition"] == D
    with pytest.raises(SLMError, match="condition of 6 numbers per residue, but the config has"):
        starting_network(name, {"condition": D + 1}, V, new)


@families
def test_frames_do_not_depend_on_which_are_asked_for(name):
    model, sequence = shaken(name, D), "GYDPETGTWG:ACDEF"
    numbers = np.random.default_rng(0).normal(size=(15, D))
    told = {"seed": 3, "condition": numbers}
    whole = model.sample(sequence, range(40), **told)
    some = model.sample(sequence, [33, 4], **told)
    np.testing.assert_array_equal(some.tokens, whole.tokens[[33, 4]])
    np.testing.assert_array_equal(some.log_prob, whole.log_prob[[33, 4]])
    other = model.sample(sequence, range(40), seed=3, condition=numbers[::-1])
    assert (other.tokens != whole.tokens).any()
    moved = numbers.copy()
    moved[-1, 0] += 1
    assert not np.allclose(
        model.log_prob(whole.tokens[:4], sequence, condition=numbers),
        model.log_prob(whole.tokens[:4], sequence, condition=moved),
    )
    bound, error = model.log_prob_and_error(whole.tokens[:2], sequence, condition=numbers)
    assert np.isfinite(bound).all() and np.isfinite(error).all()


@families
def test_rows_without_a_condition_are_told_nothing(name):
    """Padding, and sequences hidden for guidance."""
    model = shaken(name, D)
    inputs = sequence_tensors("ACDEF", torch.device("cpu"))
    absent = torch.full((1, 5, D), torch.nan)
    known = torch.full((1, 5), -1)
    network = model.network
    with torch.no_grad():
        if name == "diffusion":
            states = [network.condition(*inputs, x).state for x in (None, absent)]
        else:
            tokens = torch.zeros(1, 5, dtype=torch.long)
            states = [network.hidden(network.read(*inputs, known, x), tokens)
                      for x in (None, absent)]  # fmt: skip
    assert torch.equal(*states)
    model.guided = True
    drawn = model.sample("ACDEF", range(3), seed=0, guidance=1.0, condition=np.ones((5, D)))
    assert np.isfinite(drawn.log_prob).all()


@pytest.mark.parametrize(
    "size, given, message",
    [
        (D, None, r"trained with a condition of toy; give condition, an array \[5, 6\]"),
        (None, np.ones((5, 6)), "trained without condition; leave condition out"),
        (D, np.ones((5, 4)), r"has shape \[5, 4\], this model was trained with \[5, 6\] of toy"),
        (D, np.ones((4, 6)), r"has shape \[4, 6\], expected \[5, D\]"),
        (D, np.full((5, 6), np.nan), "not finite in row 0"),
        (D, [["a"]], "not an array of numbers"),
        (D, SequenceCondition(np.ones((5, 6), np.float32), "other"), "of other, this model was"),
    ],
)
@families
def test_what_does_not_fit_is_refused(name, size, given, message):
    model = shaken(name, size)
    model.embeddings = size and "toy"
    with pytest.raises(SLMError, match=message):
        model.sample("ACDEF", [0], seed=0, condition=given)
    with pytest.raises(SLMError, match=message):
        model.log_prob(np.zeros((1, 5), int), "ACDEF", condition=given)
    model.sample("ACDEF", [0], seed=0, condition=size and np.ones((5, 6)))


def test_training_refuses_what_does_not_fit(data, tmp_path):
    told = {"embeddings": data / "told"}
    with pytest.raises(SLMError, match="model.condition is None, but the embeddings have 6"):
        train(data, tmp_path / "a", config_of("diffusion", 1), **told)
    with pytest.raises(SLMError, match="model.condition is 5, but the embeddings have 6"):
        train(data, tmp_path / "a", config_of("diffusion", 1, condition=5), **told)
    with pytest.raises(SLMError, match="model.condition is 6.*give --embeddings"):
        train(data, tmp_path / "a", config_of("diffusion", 1, condition=D))
    with pytest.raises(SLMError, match="model.condition is 0; give"):
        train(data, tmp_path / "a", config_of("diffusion", 1, condition=0), **told)


def test_a_resumed_run_equals_an_uninterrupted_one(data, tmp_path):
    def run(where, steps, **options):
        config = config_of("diffusion", steps, condition=D)
        config["data"]["no_sequence"] = 0.3
        options = {"embeddings": data / "told", **options}
        return train(data, tmp_path / where, config, **options)

    whole = load_network(run("whole", 6))[1]
    run("parts", 3)
    parts = load_network(run("parts", 6, resume=True))[1]
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    embed_arrays(data / "shards", tmp_path / "other", data / "arrays", "another", progress=False)
    with pytest.raises(ModelError, match="trained with embeddings of one-hot"):
        run("parts", 7, resume=True, embeddings=tmp_path / "other")
    with pytest.raises(SLMError, match="trained with embeddings of one-hot"):
        run("new", 1, embeddings=tmp_path / "other", init_from=tmp_path / "whole" / "model")


def test_ensembles_with_a_condition_are_told_apart(tmp_path):
    """run.json has a checksum: another condition neither resumes nor repeats the run."""
    sequence, rng = "GYDPETGTWG", np.random.default_rng(0)
    torch.manual_seed(0)
    start = shipped_models()["diffusion"] / "language_model"
    network = starting_network("diffusion", {"condition": 4}, 512, start)
    torch.nn.init.normal_(network.condition_input.weight, std=0.5)
    from openmm_slm.networks.storage import save_module

    save_module(tmp_path / "lm", network, **{k: read_config(start)[k] for k in ["tokenizer"]})
    numbers = {name: rng.normal(size=(10, 4)).astype(np.float32) for name in ("a", "b")}
    for name, values in numbers.items():
        np.save(tmp_path / f"{name}.npy", values)
    quiet = {"sidechains": None, "progress": False, "device": "cpu", "seed": 1}
    model = tmp_path / "lm"
    frames = [
        openmm_slm.generate_ensemble(sequence, 3, model=model, condition=given, **quiet).xyz
        for given in (numbers["a"], tmp_path / "a.npy", numbers["b"])
    ]
    np.testing.assert_array_equal(*frames[:2])
    assert not np.array_equal(*frames[1:])
    options = ("--model", model, "--sidechains", "none", "--seed", 1, "-o", tmp_path / "out")

    def command(*arguments):
        return CliRunner().invoke(main, ["sample", *map(str, arguments)])

    made = command(sequence, "-n", 2, "--condition", tmp_path / "a.npy", *options)
    assert made.exit_code == 0, made.output
    refused = command(sequence, "-n", 3, "--resume", "--condition", tmp_path / "b.npy", *options)
    assert refused.exit_code == 2 and "holds a run with condition" in refused.output
    grown = command(sequence, "-n", 3, "--resume", "--condition", tmp_path / "a.npy", *options)
    assert grown.exit_code == 0, grown.output
    again = ("--repeat", tmp_path / "out", "-o", tmp_path / "again")
    assert command(*again).exit_code == 0
    files = [(tmp_path / name / "samples.xtc").read_bytes() for name in ("out", "again")]
    assert files[0] == files[1]
    np.save(tmp_path / "a.npy", numbers["b"])
    changed = command("--repeat", tmp_path / "out", "-o", tmp_path / "third")
    assert changed.exit_code == 2 and "its checksum was" in changed.output
    missing = command(sequence, "-n", 2, *options[:-1], tmp_path / "none")
    assert missing.exit_code == 2 and "give condition, an array [10, 4]" in missing.output
    (tmp_path / "two.fasta").write_text(f">a\n{sequence}\n>b\n{sequence[::-1]}\n")
    several = command(tmp_path / "two.fasta", "--condition", tmp_path / "b.npy", *options)
    assert several.exit_code == 2 and "an array for one sequence" in several.output
    unknown = command(sequence, "--condition", "esm9", *options[:-1], tmp_path / "none")
    assert unknown.exit_code == 2 and "'esm9' is neither a .npy file" in unknown.output


# -- embeddings by the esm package ------------------------------------------------------------


@pytest.fixture
def esmc(tmp_path):
    """ESM-C of random weights, where its release has the file."""
    module = pytest.importorskip("esm.models.esmc", reason="the extra esm3 is not installed")
    tokenization = pytest.importorskip("esm.tokenization")
    torch.manual_seed(0)
    network = module.ESMC(64, 1, 2, tokenization.get_esmc_model_tokenizers(), False).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    where = tmp_path / "esmc" / "data" / "weights" / "esmc_300m_2024_12_v0.pth"
    where.parent.mkdir(parents=True)
    torch.save(network.state_dict(), where)
    return network, tmp_path / "esmc"


def test_embeddings_are_those_of_the_package_and_computed_once(esmc, tmp_path, monkeypatch):
    network, folder = esmc
    embedder = Embedder(folder, cache=tmp_path / "cache")
    made = embedder.embed("ACDEFGHIKLMNPQRSTVWYX")
    tokens = network._tokenize(["ACDEFGHIKLMNPQRSTVWYX"])
    with torch.no_grad():
        expected = network(tokens).embeddings[0, 1:-1].numpy()
    np.testing.assert_allclose(made.values, expected, rtol=1e-3, atol=1e-3)  # half precision
    assert made.embeddings == embedder.identity and "esmc_300m" in embedder.identity
    two = embedder.embed("ACDEF:GHIK").values
    assert two.shape == (9, 64)
    again = Embedder(folder, cache=tmp_path / "cache")
    monkeypatch.setattr(Embedder, "_compute", None)  # the cache alone answers
    np.testing.assert_array_equal(again.embed("acdefghiklmnpqrstvwyx").values, made.values)
    np.testing.assert_array_equal(again.embed("ACDEF:GHIK").values, two)
    monkeypatch.undo()
    for path in (tmp_path / "cache").rglob("*.npy"):  # half a file is computed anew
        path.write_bytes(path.read_bytes()[:100])
    np.testing.assert_array_equal(again.embed("ACDEF:GHIK").values, two)
    with torch.no_grad():
        network.sequence_head[0].weight[0, 0] += 1
        torch.save(network.state_dict(), folder / "data" / "weights" / "esmc_300m_2024_12_v0.pth")
    assert Embedder(folder, cache=tmp_path / "cache").identity != embedder.identity
    torch.save({"a": torch.ones(2)}, tmp_path / "foreign.pth")
    with pytest.raises(ModelError, match="not weights of ESM-C"):
        Embedder(tmp_path / "foreign.pth", cache=tmp_path).embed("ACD")


def test_a_model_stands_on_a_larger_one(esmc, data, tmp_path, monkeypatch):
    """Shards are embedded, a model is trained with that, and samples with embeddings by name."""
    monkeypatch.setenv("OPENMM_SLM_CACHE", str(tmp_path / "cache"))
    arguments = ["embed", "--data", data / "shards", "-o", tmp_path / "told", "--model", esmc[1]]
    result = CliRunner().invoke(main, [str(x) for x in arguments])
    assert result.exit_code == 0, result.output
    config = config_of("t5", 2, condition=64)
    where = train(data, tmp_path / "lm", config, embeddings=tmp_path / "told")
    model, embedder = load_language_model(where, "cpu"), Embedder(esmc[1])
    assert model.embeddings == embedder.identity
    row = ShardDataset(data / "shards").rows[0]
    store = EmbeddingStore(tmp_path / "told", data / "shards")
    np.testing.assert_array_equal(store.read(row), embedder.embed(row["sequence"]).values)
    model.sample("ACDEF", [0], seed=0, condition=embedder.embed("ACDEF"))
    other = SequenceCondition(embedder.embed("ACDEF").values, "esmc_600m-0123")
    with pytest.raises(SLMError, match="of esmc_600m-0123, this model was trained with that of"):
        model.sample("ACDEF", [0], seed=0, condition=other)
