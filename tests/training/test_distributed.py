"""Two processes that torchrun starts train as one with batches twice as large; on the CPU, gloo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toys import TINY_LM, write_shards

from openmm_slm.data.tokens import TokenStore, tokenize
from openmm_slm.models.registry import shipped_models
from openmm_slm.networks.storage import load_network, read_config
from openmm_slm.training.distributed import Processes, own_device

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}

# A fit of a line to batches of different sizes; a process alone takes two of them at a step.
TOY = """
import sys
import numpy as np, torch
from openmm_slm.training.loop import LoopConfig, Trainer

together = int(sys.argv[2])

def piece(number):
    rng = np.random.default_rng(number)
    x = rng.normal(size=(3 + number % 4, 5)).astype(np.float32)
    return {"x": x, "y": x.sum(1, keepdims=True) + 1}

def batch(step):
    pieces = [piece(together * step + k) for k in range(together)]
    return {name: np.concatenate([each[name] for each in pieces]) for name in ("x", "y")}

def loss(model, batch, step):
    return ((model(batch["x"]) - batch["y"]) ** 2).mean(), {"residues": len(batch["x"])}

torch.manual_seed(0)
model = torch.nn.Linear(5, 1)
config = LoopConfig(steps=6, warmup=1, log_every=1, bf16=False, learning_rate=0.05, ema=0.5)
export = lambda model, where: where.mkdir()
trainer = Trainer(model, loss, batch, None, export, sys.argv[1], config)
trainer.run(progress=False)
"""

# Tiny language models; a process alone takes the losses of two batches together.
LANGUAGE_MODELS = """
import sys
import torch
from openmm_slm.language.families import FAMILIES
from openmm_slm.training.batches import ClusterSampler
from openmm_slm.training.language_losses import TERMS
from openmm_slm.training.loop import LoopConfig, Trainer
from openmm_slm.data.shards import ShardDataset
from openmm_slm.training.token_batches import language_model_batch
from openmm_slm.data.tokens import TokenStore

together = int(sys.argv[2])
sampler = ClusterSampler(ShardDataset("shards", "train"))
stores = [TokenStore("tokens", "shards")]

def pieces(step):
    made = {}
    for k in range(together):
        piece = language_model_batch(sampler, stores, 256, 0, together * step + k)
        made |= {f"{k}.{name}": values for name, values in piece.items()}
    return made

def loss(model, batch, step):
    losses, residues = [], []
    for k in range(together):
        if together > 1:  # as a process of its own would
            torch.manual_seed(together * step + k)
        piece = {n[2:]: values for n, values in batch.items() if n.startswith(f"{k}.")}
        nats, count = TERMS[model.kind](model, piece, 2, 0.25)["token"]
        losses.append(nats.sum() / count.sum())
        residues.append(int((piece["tokens"] >= 0).sum()))
    total = sum(residues)
    return sum(a * n / total for a, n in zip(losses, residues)), {"residues": total}

sizes = {"diffusion": dict(trunk_width=32, trunk_layers=1, trunk_heads=2), "gpt": {}}
sizes["t5"] = sizes["diffusion"]
for name, more in sizes.items():
    torch.manual_seed(0)
    family = FAMILIES[name].network
    model = family(family.config_class(width=32, layers=1, heads=2, **more))
    config = LoopConfig(steps=3, warmup=1, log_every=1, bf16=False, ema=0.5)
    export = lambda model, where: where.mkdir()
    trainer = Trainer(model, loss, pieces, None, export, f"{sys.argv[1]}/{name}", config)
    trainer.run(progress=False)
"""


def torchrun(*arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
               "--standalone", *map(str, arguments)]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=ENVIRONMENT)


def test_one_process_is_a_run_as_ever(monkeypatch):
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    alone = Processes(torch.device("cpu"))
    weight = torch.ones(2, requires_grad=True)
    weight.sum().backward()
    assert (alone.first, alone.batch_number(7), alone.average([weight], 5)) == (True, 7, 5)
    assert weight.grad.tolist() == [1, 1] and not alone.agree(False) and alone.agree(True)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert own_device("cuda") == "cuda:3" and own_device("cpu") == "cpu"


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one_with_both_batches(tmp_path):
    (tmp_path / "toy.py").write_text(TOY)
    result = torchrun("toy.py", "two", 1, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    command = [sys.executable, "toy.py", "one", "2"]
    subprocess.run(command, check=True, cwd=tmp_path, env=ENVIRONMENT)
    two, one = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("two", "one"))
    assert two.keys() == one.keys()
    for name, value in one.items():
        assert torch.allclose(two[name], value, atol=1e-6), name
    # Rank 0 alone has written: one row a step, all residues in it.
    logs = [(tmp_path / name / "log.csv").read_text().splitlines() for name in ("two", "one")]
    rows = [[line.split(",")[:2] for line in log] for log in logs]
    assert rows[0] == rows[1] and len(rows[0]) == 7


@pytest.fixture(scope="module")
def tokenized(tmp_path_factory):
    """A folder with shards and their tokens."""
    root = tmp_path_factory.mktemp("data")
    data = write_shards(root / "shards")
    tokenize(data, shipped_models()["default"] / "tokenizer", root / "tokens", progress=False)
    return root


@pytest.mark.slow
def test_two_processes_train_each_family_as_one_would(tokenized):
    (tokenized / "families.py").write_text(LANGUAGE_MODELS)
    result = torchrun("families.py", "two", 1, cwd=tokenized)
    assert result.returncode == 0, result.stderr
    command = [sys.executable, "families.py", "one", "2"]
    subprocess.run(command, check=True, cwd=tokenized, env=ENVIRONMENT)
    for name in ("diffusion", "t5", "gpt"):
        two, one = (
            load_file(tokenized / how / name / "checkpoint.safetensors") for how in ("two", "one")
        )
        weights = [key for key in one if key.startswith("model.")]
        moved = torch.cat([(two[key] - one[key]).abs().flatten() for key in weights])
        # A step of AdamW is as long where the gradient is rounding alone.
        assert (moved < 1e-5).double().mean() > 0.999 and moved.max() < 4e-3, name


@pytest.mark.slow
def test_a_language_model_trains_in_two_processes_and_goes_on_in_one(tokenized):
    tmp_path = tokenized
    config = {**TINY_LM, "training": {**TINY_LM["training"], "steps": 3}}
    (tmp_path / "lm.json").write_text(json.dumps(config))
    arguments = ["train", "lm", "lm.json", "--data", "shards", "--tokens", "tokens", "-o", "run",
                 "--device", "cpu", "--threads", "1"]  # fmt: skip
    result = torchrun("-m", "openmm_slm", *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("model: ") == 1  # said once
    before = load_network(tmp_path / "run" / "model")[1]
    (tmp_path / "lm.json").write_text(
        json.dumps({**config, "training": {**config["training"], "steps": 5}})
    )
    command = [sys.executable, "-m", "openmm_slm", *arguments, "--resume"]
    subprocess.run(command, check=True, cwd=tmp_path, env=ENVIRONMENT, capture_output=True)
    after = load_network(tmp_path / "run" / "model")[1]
    assert any(not torch.equal(before[name], after[name]) for name in before)
    trained_on = read_config(tmp_path / "run" / "model")["tokenizer"]
    assert trained_on == TokenStore(tmp_path / "tokens").tokenizer
