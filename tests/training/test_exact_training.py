"""A run that is stopped, however, and resumed is the run that was not (one thread, every bit)."""

from __future__ import annotations

import csv
import json
import logging
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from toys import TINY, TINY_LM, write_shards

from openmm_slm.data.tokens import tokenize
from openmm_slm.errors import ModelError
from openmm_slm.networks.storage import load_network
from openmm_slm.training.throughput import count_flops, measured_peak
from openmm_slm.training.train_language_model import train_language_model
from openmm_slm.training.train_tokenizer import train_tokenizer

STEPS = 16


def config(base: dict = TINY, steps: int = STEPS, **changes: object) -> dict:
    """A toy config that saves its state after each step."""
    training = {**base["training"], "steps": steps, "checkpoint_minutes": 0.0, **changes}
    return {**base, "training": training}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards"))


class Runs:
    """Start the command in a process of its own, which can be stopped."""

    def __init__(self, root, shards):
        self.root, self.shards = root, shards
        (root / "config.json").write_text(json.dumps(config()))

    def start(self, name: str, *options: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "openmm_slm", "train", "tokenizer"]
        command += [str(self.root / "config.json"), "--data", str(self.shards), "--threads", "1"]
        command += ["-o", str(self.root / name), *options]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def finish(self, name: str, *options: str) -> str:
        process = self.start(name, *options)
        text = process.communicate(timeout=300)[1]
        assert process.returncode == 0, text
        return text

    def steps(self, name: str) -> list[int]:
        path = self.root / name / "log.csv"
        if not path.exists():
            return []
        with open(path) as handle:
            return [int(row["step"]) for row in csv.DictReader(handle) if row["loss"]]

    def stop(self, name: str, how: signal.Signals, after: int) -> tuple[int, str]:
        """Signal a run once it has logged `after` steps; its exit code and messages."""
        process = self.start(name)
        deadline = time.monotonic() + 120
        while len(self.steps(name)) < after and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, how)
        return process.wait(60), process.stderr.read()

    def weights(self, name: str) -> dict[str, torch.Tensor]:
        return load_network(self.root / name / "model")[1]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, shards):
    runs = Runs(tmp_path_factory.mktemp("runs"), shards)
    runs.message = runs.finish("whole")
    return runs


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.slow
def test_kill_9_loses_nothing_that_was_saved(runs):
    code, _ = runs.stop("killed", signal.SIGKILL, after=5)
    assert code == -signal.SIGKILL
    reached = len(runs.steps("killed"))
    assert 5 <= reached < STEPS
    runs.finish("killed", "--resume")
    assert same(runs.weights("whole"), runs.weights("killed"))
    assert runs.steps("killed") == list(range(1, STEPS + 1))  # each step once


def test_sigterm_saves_and_ends_well(runs):
    code, text = runs.stop("terminated", signal.SIGTERM, after=4)
    assert code == 0 and "(--resume)" in text and "Traceback" not in text
    assert not (runs.root / "terminated" / "model").exists()
    runs.finish("terminated", "--resume")
    assert same(runs.weights("whole"), runs.weights("terminated"))


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_time_limits_cut_a_run_into_equal_pieces(shards, tmp_path, one_thread):
    train_tokenizer(config(steps=4), shards, tmp_path / "whole", progress=False)
    for piece in range(4):  # no time at all is time for one step
        settings = {"resume": piece > 0, "time_limit": 0.0, "progress": False}
        where = train_tokenizer(config(steps=4), shards, tmp_path / "pieces", **settings)
    with open(tmp_path / "pieces" / "log.csv") as handle:
        assert [row["step"] for row in csv.DictReader(handle)] == ["1", "2", "3", "4"]
    assert same(load_network(tmp_path / "whole" / "model")[1], load_network(where)[1])


def test_the_language_model_resumes_exactly_too(shards, runs, tmp_path, one_thread):
    tokens = tokenize(shards, runs.root / "whole" / "model", tmp_path / "tokens", progress=False)
    for name, pieces in (("whole", (12,)), ("parts", (5, 12))):
        for number, steps in enumerate(pieces):
            where = train_language_model(
                config(TINY_LM, steps), shards, tokens, tmp_path / name,
                resume=number > 0, progress=False,
            )  # fmt: skip
    assert same(load_network(tmp_path / "whole" / "model")[1], load_network(where)[1])
    meta = json.loads((tokens / "tokens.json").read_text())
    (tokens / "tokens.json").write_text(json.dumps({**meta, "tokenizer": "another"}))
    with pytest.raises(ModelError, match="tokens of tokenizer"):
        train_language_model(
            config(TINY_LM, 14), shards, tokens, tmp_path / "parts", resume=True, progress=False
        )


def test_a_decay_can_be_stopped_and_continued(shards, tmp_path, one_thread):
    decays = {"whole": [None], "parts": [0.0, 0.0, None]}
    for name, limits in decays.items():
        directory = tmp_path / name
        train_tokenizer(config(steps=3), shards, directory, progress=False)
        stable = (directory / "checkpoint.safetensors").read_bytes()
        settings = {"resume": True, "decay": 4, "progress": False}
        for limit in limits:
            assert not (directory / "decayed").exists()
            train_tokenizer(config(steps=3), shards, directory, time_limit=limit, **settings)
            assert (directory / "decay.safetensors").exists() == (limit is not None)
        assert (directory / "checkpoint.safetensors").read_bytes() == stable
    whole, parts = (load_network(tmp_path / name / "decayed")[1] for name in decays)
    assert same(whole, parts)


def test_share_of_peak_is_told_and_logged(runs):
    assert "GFLOP/s that float32 matrix products reach here" in runs.message
    with open(runs.root / "whole" / "log.csv") as handle:
        rows = list(csv.DictReader(handle))
    assert all(0 < float(row["share_of_peak"]) < 1.2 for row in rows)
    assert all(float(row["residues_per_s"]) > 0 for row in rows)


def test_counted_operations_are_those_of_the_formula():
    layer = torch.nn.Linear(64, 32, bias=False)
    x = torch.randn(100, 64)
    assert count_flops(lambda: layer(x).sum().backward()) == 2 * (2 * 100 * 64 * 32)
    assert 1e8 < measured_peak(torch.device("cpu"), torch.float32) < 1e14


def test_other_settings_are_told_and_other_networks_refused(runs, shards, caplog, tmp_path):
    settings = {"resume": True, "progress": False}
    train_tokenizer(config(steps=2), shards, tmp_path, progress=False)
    with caplog.at_level(logging.WARNING):
        train_tokenizer(config(steps=3, learning_rate=5e-4), shards, tmp_path, **settings)
    (message,) = [r.message for r in caplog.records if "other settings" in r.message]
    assert "training.learning_rate: 0.001 -> 0.0005" in message and message.count("->") == 1
    wider = {**config(steps=4), "model": {**TINY["model"], "decoder_width": 64}}
    with pytest.raises(ModelError, match="another network"):
        train_tokenizer(wider, shards, tmp_path, **settings)


@pytest.mark.parametrize("content", [b"", b"\x08\x00\x00\x00\x00\x00\x00\x00{}", b"rubbish" * 99])
def test_a_damaged_checkpoint_is_named(content, shards, tmp_path):
    (tmp_path / "checkpoint.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"checkpoint.safetensors: not a training checkpoint"):
        train_tokenizer(config(steps=2), shards, tmp_path, resume=True, progress=False)
