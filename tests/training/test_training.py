"""Training: data that reads back, runs that repeat, both stages end to end on tiny sizes."""

from __future__ import annotations

import csv
import json
import threading

import numpy as np
import pytest
import torch
from builders import helix, ideal_backbone
from click.testing import CliRunner
from toys import TINY, TINY_LM, write_shards

from openmm_slm.cli.main import main
from openmm_slm.data.shards import ShardDataset, ShardWriter
from openmm_slm.data.tokens import TokenStore, tokenize
from openmm_slm.errors import ModelError, SLMError
from openmm_slm.networks.storage import (
    assemble_model,
    load_network,
    save_network,
    tokenizer_fingerprint,
)
from openmm_slm.training.batches import ClusterSampler, prefetch, tokenizer_batch
from openmm_slm.training.train_language_model import nats_of_split, train_language_model
from openmm_slm.training.train_tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards"))


def test_shards_read_back_what_was_written(shards):
    dataset = ShardDataset(shards)
    assert len(dataset) == 24 and len({row["shard"] for row in dataset.rows}) > 1
    entry = dataset[5]
    assert entry.id == "chain5" and entry.cluster == "family2"
    assert np.isnan(entry.backbone[3]).all() and np.isfinite(entry.backbone[4]).all()
    steps = np.diff(entry.residue_index)
    assert steps[11] == 8 and (np.delete(steps, 11) == 1).all()
    assert entry.chain_break[[0, 12]].all() and entry.chain_break.sum() == 2
    assert len(ShardDataset(shards, "val")) == 4
    assert dataset.rows[3]["note"] == "3"


def test_a_second_writer_adds_to_the_same_directory(tmp_path):
    for prefix in ("one", "two", "one"):  # writing "one" again replaces it
        writer = ShardWriter(tmp_path, prefix=prefix)
        xyz = ideal_backbone(np.full(5, -1.0), np.full(5, -0.8), np.full(5, np.pi))
        writer.add(prefix, "AAAAA", xyz, np.zeros(5, bool), np.arange(5))
        writer.close()
    assert sorted(row["id"] for row in ShardDataset(tmp_path).rows) == ["one", "two"]


def test_missing_or_empty_directories_say_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="prepare"):
        ShardDataset(tmp_path)
    with pytest.raises(ModelError, match="tokenize"):
        TokenStore(tmp_path)


def test_drawn_tokens_are_neighbours_of_the_modes(trained, shards, tmp_path):
    """Synonyms: a level up or down in some dimensions, and no two draws alike."""
    stores = {}
    for name, seed in (("modes", None), ("a", 1), ("b", 2), ("again", 1)):
        tokenize(shards, trained / "whole/model", tmp_path / name, sample=seed, progress=False)
        stores[name] = TokenStore(tmp_path / name, shards)
    row = ShardDataset(shards, "train").rows[0]
    modes, a, b, again = (
        stores[name].read(row).astype(int) for name in ("modes", "a", "b", "again")
    )
    np.testing.assert_array_equal(a, again)
    assert (a != b).any() and (a != modes).any()
    levels = np.stack([(x[:, None] // [1, 8, 64]) % 8 for x in (modes, a)])
    assert np.abs(levels[0] - levels[1]).max() == 1


def test_families_count_once_however_many_members(shards):
    sampler = ClusterSampler(ShardDataset(shards, "train"))
    sampler.groups = [sampler.groups[0], np.concatenate(sampler.groups[1:])]
    rng = np.random.default_rng(0)
    drawn = [sampler.number(rng) in sampler.groups[0] for _ in range(2000)]
    assert abs(np.mean(drawn) - 0.5) < 0.06


def test_a_batch_is_a_function_of_seed_and_step(shards):
    sampler = ClusterSampler(ShardDataset(shards, "train"))
    a, b, c = (tokenizer_batch(sampler, 128, 32, 1, step) for step in (4, 4, 5))
    assert all(np.array_equal(a[key], b[key]) for key in a)
    assert a["backbone"].shape != c["backbone"].shape or not np.array_equal(
        a["backbone"], c["backbone"]
    )
    assert a["crop_rows"].shape == (4, 32)
    for chain, rows in zip(a["crop_chain"], a["crop_rows"], strict=True):
        rows = rows[rows >= 0]
        assert len(rows) and (np.diff(rows) == 1).all()  # a stretch of the chain
        assert rows[-1] < a["mask"].shape[1] and chain < len(a["mask"])


@pytest.fixture(scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def trained(shards, tmp_path_factory, one_thread):
    """Ten steps at once; and six, stop, resume to ten."""
    root = tmp_path_factory.mktemp("runs")
    whole = {**TINY, "training": {**TINY["training"], "steps": 10}}
    part = {**TINY, "training": {**TINY["training"], "steps": 6}}
    train_tokenizer(whole, shards, root / "whole", progress=False)
    train_tokenizer(part, shards, root / "parts", progress=False)
    train_tokenizer(whole, shards, root / "parts", resume=True, progress=False)
    return root


def test_a_resumed_run_equals_an_uninterrupted_one(trained):
    whole, parts = (load_network(trained / name / "model")[1] for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_what_is_not_trained_stays(shards, tmp_path, one_thread):
    first = train_tokenizer(
        {**TINY, "training": {**TINY["training"], "steps": 3}},
        shards,
        tmp_path / "a",
        progress=False,
    )
    config = {**TINY, "training": {**TINY["training"], "steps": 3}, "trained": ["decoder.lddt"]}
    second = train_tokenizer(config, shards, tmp_path / "b", init_from=first, progress=False)
    before, after = (load_network(where)[1] for where in (first, second))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith("decoder.lddt") for name in changed)
    assert all(name.startswith("decoder.lddt") for name in changed)  # tokens stay, too
    config["trained"] = ["head"]
    with pytest.raises(ModelError, match="no weights have such names"):
        train_tokenizer(config, shards, tmp_path / "c", init_from=first, progress=False)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch before 2.9 has no Muon")
def test_muon_moves_the_matrices_and_is_resumed(shards, tmp_path, one_thread):
    settings = {**TINY["training"], "optimizer": "muon"}
    config = {**TINY, "starts": {"exact": 0.3, "deformed": 0.4}}
    for name, steps in (("whole", (8,)), ("parts", (5, 8))):
        for number in steps:
            config["training"] = {**settings, "steps": number}
            train_tokenizer(
                config, shards, tmp_path / name, resume=number != steps[0], progress=False
            )
    whole, parts = (load_network(tmp_path / name / "model")[1] for name in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    with pytest.raises(ModelError, match="'sgd'; choose"):
        config["training"] = {**settings, "optimizer": "sgd"}
        train_tokenizer(config, shards, tmp_path / "none", progress=False)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch before 2.9 has no Muon")
def test_muon_in_float32_steps_as_torch_does(one_thread):
    from openmm_slm.training.muon import Float32Muon, orthogonal

    torch.manual_seed(0)
    first = [torch.nn.Parameter(torch.randn(shape)) for shape in ((40, 96), (96, 40), (40, 96))]
    second = [torch.nn.Parameter(parameter.detach().clone()) for parameter in first]
    start = [parameter.detach().clone() for parameter in first]
    options = dict(lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    optimizers = torch.optim.Muon(first, **options), Float32Muon(second, **options)
    for _ in range(3):
        for one, other in zip(first, second, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for one, other, was in zip(first, second, start, strict=True):
        assert (one - other).norm() < 0.02 * (one - was).norm()  # bfloat16 has three digits
    turned = orthogonal(torch.randn(2, 30, 50), (3.4445, -4.775, 2.0315), 5)
    values = torch.linalg.svdvals(turned)
    assert values.min() > 0.3 and values.max() < 1.3


def test_the_log_has_every_step_and_the_elbo_terms(trained):
    with open(trained / "parts" / "log.csv") as handle:
        rows = list(csv.DictReader(handle))
    assert [int(float(row["step"])) for row in rows] == list(range(1, 11))
    assert all(0 <= float(row["kl"]) <= np.log(512) for row in rows)
    assert float(rows[-1]["near_chain"]) < float(rows[0]["near_chain"])


def test_a_decayed_copy_leaves_the_stable_checkpoint(trained, shards):
    before = (trained / "parts" / "checkpoint.safetensors").read_bytes()
    config = {**TINY, "training": {**TINY["training"], "steps": 10}}
    where = train_tokenizer(config, shards, trained / "parts", resume=True, decay=3, progress=False)
    assert where.name == "decayed" and (where / "config.json").exists()
    assert (trained / "parts" / "checkpoint.safetensors").read_bytes() == before


def test_a_decoder_trained_alone_leaves_the_tokens(trained, shards, tmp_path):
    start = trained / "whole" / "model"
    tokens = tokenize(shards, start, tmp_path / "tokens", progress=False)
    config = {**TINY, "training": {**TINY["training"], "steps": 3}}
    settings = {"tokens": tokens, "progress": False}
    where = train_tokenizer(config, shards, tmp_path / "run", init_from=start, **settings)
    assert tokenizer_fingerprint(where) == tokenizer_fingerprint(start)
    old, new = load_network(start)[1], load_network(where)[1]
    assert any(not torch.equal(old[k], new[k]) for k in old if k.startswith("decoder."))
    with pytest.raises(ModelError, match="init_from"):
        train_tokenizer(config, shards, tmp_path / "other", **settings)


@pytest.mark.parametrize("section", ["model", "training", "data", "loss"])
def test_unknown_options_are_named_not_ignored(section, shards, tmp_path):
    config = {**TINY, section: {**TINY[section], "learning_rte": 1}}
    with pytest.raises(ValueError, match=f"{section} option 'learning_rte' is unknown"):
        train_tokenizer(config, shards, tmp_path)
    with pytest.raises(ValueError, match="config option 'modle'"):
        train_tokenizer({"modle": {}}, shards, tmp_path)


def test_decay_without_a_checkpoint_is_refused(shards, tmp_path):
    with pytest.raises(ValueError, match="resume"):
        train_tokenizer(TINY, shards, tmp_path, decay=3, progress=False)


def test_language_model_trains_on_the_tokens(trained, shards, tmp_path):
    tokens = tokenize(shards, trained / "whole" / "model", tmp_path / "tokens", progress=False)
    store, dataset = TokenStore(tokens), ShardDataset(shards)
    absent = store.read(dataset.rows[5])
    assert absent[3] == -1 and (np.delete(absent, 3) >= 0).all()
    config = {**TINY_LM, "training": {**TINY_LM["training"], "steps": 30}}
    where = train_language_model(config, shards, tokens, tmp_path / "lm", progress=False)
    with open(tmp_path / "lm" / "log.csv") as handle:
        nats = [float(row["nats_per_token"]) for row in csv.DictReader(handle)]
    assert np.mean(nats[-5:]) < np.mean(nats[:5]) - 0.3
    from openmm_slm.models.registry import load_language_model

    result = nats_of_split(shards, tokens, "val")(load_language_model(where, "cpu").network)
    assert 0 < result["nats_per_token"] < np.log(512) + 0.5


def command(*arguments: object) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_own_model_from_training_to_sampling(shards, tmp_path, one_thread):
    """The README's path: train, tokenize, train, assemble, sample, benchmark."""
    for name, config in (("tok", TINY), ("lm", TINY_LM)):
        config = {**config, "training": {**config["training"], "steps": 4}}
        (tmp_path / f"{name}.json").write_text(json.dumps(config))
    (tmp_path / "CARD.md").write_text("# Toy")
    data = ("--data", shards)
    command("train", "tokenizer", tmp_path / "tok.json", *data, "-o", tmp_path / "tok")
    tokenizer = tmp_path / "tok" / "model"
    command("tokenize", *data, "--model", tokenizer, "-o", tmp_path / "tokens")
    tokens = ("--tokens", tmp_path / "tokens")
    command("train", "lm", tmp_path / "lm.json", *data, *tokens, "-o", tmp_path / "lm")
    parts = ("--tokenizer", tokenizer, "--language-model", tmp_path / "lm" / "model")
    mine = tmp_path / "mine"
    command("models", "assemble", *parts, "--card", tmp_path / "CARD.md", "-o", mine)
    command("sample", "ACDEFGHIK", "-n", "2", "--model", mine, "-o", tmp_path / "out")
    assert (tmp_path / "out" / "samples.xtc").exists()
    table = command("benchmark", "reconstruction", *data, "--model", mine, "--split", "val")
    assert "CA RMSD, L <= 64" in table and "codes used" in table
    few = ("--split", "val", "--chains", "1", "-n", "4")
    table = command("benchmark", "lm", *data, *tokens, "--model", mine, *few)
    assert "nats per token, val" in table


def test_a_language_model_of_other_tokens_is_not_assembled(trained, shards, tmp_path):
    tokens = tokenize(shards, trained / "whole" / "model", tmp_path / "tokens", progress=False)
    config = {**TINY_LM, "training": {**TINY_LM["training"], "steps": 1}}
    lm = train_language_model(config, shards, tokens, tmp_path / "lm", progress=False)
    other = {**TINY, "training": {**TINY["training"], "steps": 2}}
    tokenizer = train_tokenizer(other, shards, tmp_path / "tok", progress=False)
    with pytest.raises(ModelError, match="tokenize the data"):
        assemble_model(tokenizer, lm, tmp_path / "mine", "card")
    assemble_model(trained / "whole" / "model", lm, tmp_path / "mine", "card")
    assert (tmp_path / "mine" / "README.md").read_text() == "card"


def test_altered_missing_or_foreign_weights_are_refused(tmp_path):
    save_network(tmp_path / "m", "dvae", {}, {"w": torch.randn(80, 80), "b": torch.randn(3)})
    state = load_network(tmp_path / "m", "dvae")[1]
    assert state["w"].dtype == torch.float32 and state["b"].dtype == torch.float32
    with pytest.raises(ModelError, match="expected 'masked_diffusion'"):
        load_network(tmp_path / "m", "masked_diffusion")
    shard = tmp_path / "m" / "weights_000.safetensors"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    with pytest.raises(ModelError, match="checksum"):
        load_network(tmp_path / "m")
    shard.unlink()
    with pytest.raises(ModelError, match="missing"):
        load_network(tmp_path / "m")
    config = tmp_path / "m" / "config.json"
    config.write_text(json.dumps({"format": 99}))
    with pytest.raises(ModelError, match="format is 99"):
        load_network(tmp_path / "m")


def test_large_networks_are_sharded(tmp_path):
    state = {f"w{i}": torch.randn(2048, 1024) for i in range(9)}
    save_network(tmp_path, "dvae", {}, state)
    files = list(tmp_path.glob("*.safetensors"))
    assert len(files) > 1 and max(f.stat().st_size for f in files) < 16 * 2**20
    again = load_network(tmp_path)[1]
    assert all(torch.allclose(again[k], state[k], atol=2e-3) for k in state)


def test_samples_are_benchmarked_against_the_native(shards):
    from openmm_slm.benchmarks.samples import agreement, choose_chains, secondary_structure

    chains = choose_chains(ShardDataset(shards, "train"), 4)
    lengths = [len(entry.sequence) for entry in chains]
    assert lengths == sorted(lengths) and min(lengths) >= 40
    assert len({entry.cluster for entry in chains}) == 4
    with pytest.raises(ValueError, match="99 are asked for"):
        choose_chains(ShardDataset(shards, "train"), 99)
    states = secondary_structure(helix(20)[None], "A" * 20)
    assert set(states[0, 3:-3]) == {"H"} and set(states[0, [0, -1]]) == {"C"}
    native = np.array(["H", "H", "E", "C"])
    assert agreement(native[None], native) == (1.0, 0.375)
    assert agreement(np.array([["C", "C", "C", "C"]]), native) == (0.25, 0.25)
    data = ("--data", shards, "--split", "train")
    table = command("benchmark", "samples", *data, "--chains", "2", "-n", "2")
    for kind in ("valid as N, CA, C and O", "valid with side chains"):
        line = next(line for line in table.splitlines() if line.startswith(kind))
        decoded, projected = map(float, line.split()[-2:])
        assert 0 <= decoded <= projected <= 100


def test_no_thread_outlives_the_batches_it_makes():
    """A daemon thread in torch or NumPy when the interpreter ends aborts the process."""
    before = set(threading.enumerate())
    batches = prefetch(lambda step: {"step": np.full(1000, step)}, 5)
    assert [int(next(batches)["step"][0]) for _ in range(4)] == [5, 6, 7, 8]
    assert set(threading.enumerate()) > before
    batches.close()
    assert set(threading.enumerate()) <= before


def test_a_run_that_is_there_is_not_begun_again(shards, tmp_path):
    """A forgotten --resume must not cost hours of training."""
    config = {**TINY, "training": {**TINY["training"], "steps": 2}}
    train_tokenizer(config, shards, tmp_path, progress=False)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    with pytest.raises(SLMError, match="has a run already; continue it with resume"):
        train_tokenizer(config, shards, tmp_path, progress=False)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before
