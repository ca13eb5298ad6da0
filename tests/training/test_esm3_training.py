"""Fine-tuning of ESM3 into ESMDiff: the published loss, and runs with the esm package's classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from toys import write_shards

import openmm_slm
from openmm_slm.cli.main import main
from openmm_slm.data.padding import pad_entries
from openmm_slm.data.shards import ShardDataset
from openmm_slm.data.tokens import TokenStore
from openmm_slm.errors import SLMError
from openmm_slm.language.esm3_network import (
    ESM3Config,
    ESM3Network,
    ESMDiffConfig,
    ESMDiffNetwork,
)
from openmm_slm.networks.esm3_tokens import MASK, esm3_layout, structure_row
from openmm_slm.networks.storage import (
    assemble_model,
    load_module,
    read_config,
    save_module,
    tokenizer_fingerprint,
)
from openmm_slm.protein.sequence import sequence_layout
from openmm_slm.tokenizer.esm3 import ESM3TokenizerConfig, ESM3TokenizerNetwork
from openmm_slm.training.esmdiff_loss import (
    esm3_rows,
    esmdiff_terms,
    published_loss,
    stratified_times,
)
from openmm_slm.training.fine_tuning import FineTuning, merged_state, prepare_network
from openmm_slm.training.token_batches import read_tokens
from openmm_slm.training.train_language_model import train_language_model

pytest.importorskip("esm", reason="needs the esm package (openmm_slm[esm3])")

SIZES = dict(d_model=64, n_heads=1, v_heads=4, n_layers=2)
CONFIG = {
    "family": "esm3",
    "training": {
        "warmup": 1, "validate_every": 1000, "log_every": 1, "bf16": False, "steps": 4,
        "learning_rate": 1e-3,
    },
    "data": {"residues": 256, "maskings": 1, "infilling": 0.0},
}  # fmt: skip


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A model directory of ESM3, tiny and random."""
    torch.manual_seed(0)
    parts = tmp_path_factory.mktemp("parts")
    sizes = ESM3TokenizerConfig(64, 1, 8, 1, 8, 64, 1, 1)
    save_module(parts / "tokenizer", ESM3TokenizerNetwork(sizes))
    made = tokenizer_fingerprint(parts / "tokenizer")
    save_module(parts / "lm", ESM3Network(ESM3Config(**SIZES)), tokenizer=made)
    return assemble_model(parts / "tokenizer", parts / "lm", parts / "esm3", "none")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def tokens(data, released, tmp_path_factory):
    where = tmp_path_factory.mktemp("tokens") / "esm3"
    arguments = ["tokenize", "--data", data, "--model", released, "-o", where, "--device", "cpu"]
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    return where


def test_the_loss_is_the_published_formula():
    """Token by token in plain Python, in float64."""
    torch.manual_seed(0)
    logits = torch.randn(3, 7, 4101, dtype=torch.float64).float()
    tokens = torch.randint(0, 4096, (3, 7))
    masked = torch.rand(3, 7) < 0.5
    time = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    found = published_loss(logits, tokens, masked, time)
    eps = 1e-3
    for row in range(3):
        total = 0.0
        for place in range(7):
            if not masked[row, place]:
                continue
            values = logits[row, place].double().tolist()
            values[MASK] = -math.inf
            top = max(values)
            norm = top + math.log(sum(math.exp(v - top) for v in values))
            nats = norm - values[int(tokens[row, place])]
            # sigma = -log(1 - (1 - eps) t): weight d sigma/dt / (e^sigma - 1)
            t = float(time[row])
            sigma = -math.log(1 - (1 - eps) * t)
            slope = (1 - eps) / (1 - (1 - eps) * t)
            total += nats * slope / math.expm1(sigma)
        assert abs(float(found[row]) - total) < 1e-6 * max(1, total)


def test_times_are_stratified():
    times = stratified_times(64).sort().values
    assert times.min() >= 1e-3 and times.max() <= 1
    assert ((times - 1e-3) / (1 - 1e-3) * 64).floor().tolist() == list(range(64))


def test_rows_are_those_that_sampling_writes():
    chains = ("ACDEF", "GHIKLMN")
    letters, _, index = sequence_layout(chains)
    pad = 4
    batch = torch.tensor(np.append(letters, [20] * pad))[None]
    mask = torch.tensor([True] * len(letters) + [False] * pad)[None]
    spread = torch.tensor(np.append(index, [0] * pad))[None]
    found, positions, inside = esm3_rows(batch, mask, spread)
    row, places = esm3_layout(chains)
    assert found[0, : len(row)].tolist() == row.tolist() and inside.sum() == len(row)
    assert positions[0, : len(places)].tolist() == places.tolist()
    hidden = esm3_rows(torch.full_like(batch, 20), mask, spread)[0]
    row, _ = esm3_layout(tuple("_" * len(chain) for chain in chains))
    assert hidden[0, : len(row)].tolist() == row.tolist()


def test_padding_says_nothing():
    """The loss of a batch is that of its rows alone, at the same times and masks."""
    torch.manual_seed(0)
    network = ESMDiffNetwork(ESMDiffConfig(**SIZES)).eval()
    chains = [("ACDEFGHIKL",), ("MNPQR", "STVWYACDEFG")]
    longest = 20
    logits = []
    for alone in (False, True):
        found = []
        for chosen in [chains] if not alone else [[each] for each in chains]:
            layouts = [sequence_layout(each) for each in chosen]
            width = longest if not alone else len(layouts[0][0])
            put = np.zeros((3, len(chosen), width), np.int64)
            put[0] = 20
            for row, (letters, _, index) in enumerate(layouts):
                put[0, row, : len(letters)], put[1, row, : len(letters)] = letters, index
                put[2, row, : len(letters)] = 1
            letters, index, mask = torch.tensor(put)
            sequence, positions, inside = esm3_rows(letters, mask.bool(), index)
            structure = torch.full_like(sequence, MASK)
            time = torch.full((len(chosen),), 0.4)
            with torch.no_grad():
                out = network(sequence, structure, time, inside)
            found += [out[row, positions[row][mask[row].bool()]] for row in range(len(chosen))]
        logits.append(found)
    for together, single in zip(*logits, strict=True):
        assert torch.allclose(together, single, atol=1e-4)


def test_tokens_are_those_of_its_own_encoder(data, tokens, released):
    store, dataset = TokenStore(tokens, data), ShardDataset(data)
    assert store.vocabulary == 4096
    tokenizer = openmm_slm.load_tokenizer(released, "cpu")
    for number in (0, 5):
        batch = pad_entries([dataset[number]], multiple=1)
        found = tokenizer.encode_backbone(batch["backbone"], batch["mask"], batch["index"][0])[0]
        assert (store.read(dataset.rows[number]) == found).all()
    assert (store.read(dataset.rows[5]) < 0).sum() == 1  # the residue without coordinates


def run(data, tokens, released, where, **changes):
    config = {**CONFIG, **changes}
    return train_language_model(
        config, data, tokens, where, init_from=released / "language_model", progress=False
    )


def test_two_steps_change_the_weights_and_the_model_samples(data, tokens, released, tmp_path):
    made = run(data, tokens, released, tmp_path / "run")
    rows = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert len(rows) == 1 + CONFIG["training"]["steps"]
    network = load_module(made, ESMDiffNetwork)
    before = load_module(released / "language_model", ESM3Network)
    name = "transformer.blocks.0.ffn.1.weight"
    moved = (network.state_dict()[name] - before.state_dict()[name]).abs().max()
    assert 1e-4 < moved < 0.1  # warm start, and trained
    whole = assemble_model(released / "tokenizer", made, tmp_path / "model", "none")
    traj = openmm_slm.generate_ensemble(
        "GYDPETGTWG", n=2, model=whole, seed=1, steps=2, progress=False, device="cpu"
    )
    assert traj.n_frames == 2 and np.isfinite(traj.xyz).all()


def test_a_resumed_run_equals_an_uninterrupted_one(data, tokens, released, tmp_path):
    whole = run(data, tokens, released, tmp_path / "whole")
    short = {**CONFIG["training"], "steps": 2}
    run(data, tokens, released, tmp_path / "parts", training=short)
    train_language_model(
        CONFIG, data, tokens, tmp_path / "parts", resume=True, progress=False,
        init_from=released / "language_model",
    )  # fmt: skip
    parts = tmp_path / "parts" / "model"
    assert read_config(whole)["sha256"] == read_config(parts)["sha256"]


def test_recomputed_layers_give_the_same_gradients(data, tokens):
    batch = batch_of(data, tokens)
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        network = ESMDiffNetwork(ESMDiffConfig(**SIZES))
        prepare_network(network, FineTuning(checkpointing=checkpointing))
        torch.manual_seed(1)
        esmdiff_terms(network, batch, 1, 0.0)["token"][0].sum().backward()
        gradients.append({k: p.grad for k, p in network.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], rtol=1e-4, atol=1e-5), name


def batch_of(data, tokens):
    batch = read_tokens(ShardDataset(data), TokenStore(tokens), [0, 1])
    return {name: torch.as_tensor(values) for name, values in batch.items()}


@pytest.fixture
def peft(monkeypatch):
    """peft, also where torchvision, which peft's transformers would import, is broken.

    It is where it was built for another torch, as the default one for torch's CPU build.
    """
    pytest.importorskip("transformers", reason="needs peft (openmm_slm[esm3])")
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        from transformers.utils import import_utils

        monkeypatch.setattr(import_utils, "_torchvision_available", False)
    return pytest.importorskip("peft", reason="needs peft (openmm_slm[esm3])")


def test_adapters_are_merged_on_export(data, tokens, released, tmp_path, peft):
    made = run(data, tokens, released, tmp_path / "lora", fine_tuning={"lora_rank": 2})
    state = load_module(made, ESMDiffNetwork).state_dict()  # no adapter in sight
    before = load_module(released / "language_model", ESM3Network).state_dict()
    adapted, frozen = "transformer.blocks.0.ffn.1.weight", "encoder.sequence_embed.weight"
    change = state[adapted] - before[adapted]
    singular = torch.linalg.svdvals(change)
    assert singular[0] > 1e-5 and singular[3] < 0.2 * singular[0]  # of rank 2, but for rounding
    assert torch.equal(state[frozen], before[frozen])


def test_merged_weights_compute_the_same(peft):
    torch.manual_seed(0)
    network = ESMDiffNetwork(ESMDiffConfig(**SIZES)).eval()
    prepare_network(network, FineTuning(lora_rank=4))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    plain = ESMDiffNetwork(ESMDiffConfig(**SIZES)).eval()
    plain.load_state_dict(merged_state(network))
    sequence, positions = esm3_layout(("ACDEFGHIKL",))
    row = torch.tensor(sequence)[None]
    structure = torch.tensor(structure_row(np.full((1, 10), -1), positions, len(sequence)))
    with torch.no_grad():
        outs = [each(row, structure, torch.tensor([0.5])) for each in (network, plain)]
    assert torch.allclose(*outs, atol=1e-4)


def test_what_cannot_be_trained_is_said(data, tokens, released, tmp_path, peft):
    with pytest.raises(SLMError, match="choose one of diffusion, t5, gpt, esm3"):
        run(data, tokens, released, tmp_path / "x", family="esm3-released")
    with pytest.raises(SLMError, match="lora_targets"):
        run(
            data, tokens, released, tmp_path / "y",
            fine_tuning={"lora_rank": 2, "lora_targets": ["nothing"]},
        )  # fmt: skip
