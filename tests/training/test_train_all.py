"""tools/train_all.py: every step through the command line, stopped and gone on with; its curves."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from toys import TINY, TINY_LM, TINY_PACKER, write_shards, write_side_chains

from openmm_slm.cli.main import main
from openmm_slm.files.json_settings import build
from openmm_slm.language.t5 import T5, T5Config
from openmm_slm.networks.storage import load_module, tokenizer_fingerprint
from openmm_slm.tokenizer.dvae import DVAE, DVAEConfig
from openmm_slm.training.loop import LoopConfig
from openmm_slm.training.starts import StartConfig

ROOT = Path(__file__).parents[2]
THREE = {**TINY["model"], "decoder_layers": 3}


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import plot_training
    import train_all

    yield train_all, plot_training
    for name in ("train_all", "plot_training"):
        sys.modules.pop(name)


def write_configs(folder: Path) -> Path:
    folder.mkdir()
    for name, config in {
        "tokenizer": {**TINY, "model": THREE},
        "decoder_deep": {**TINY, "model": {"decoder_layers": 6}},
        "confidence": {**TINY, "model": {}, "trained": ["decoder.lddt"]},
        "lm_t5": {**TINY_LM, "family": "t5"},
        "packer": TINY_PACKER,
    }.items():
        training = {**config["training"], "steps": 3, "warmup": 1}
        (folder / f"{name}.json").write_text(json.dumps({**config, "training": training}))
    return folder


@pytest.mark.slow
def test_the_whole_training_is_one_command_that_goes_on_where_it_was_stopped(
    tools, tmp_path, monkeypatch, capsys
):
    train_all, plot_training = tools
    data, runs = write_shards(tmp_path / "data"), tmp_path / "runs"
    write_side_chains(data)
    calls: list[str] = []

    def call(*arguments) -> None:  # in this process: starting twelve takes longer than their work
        done = CliRunner().invoke(main, list(map(str, arguments)))
        assert done.exit_code == 0, done.output
        calls.append(" ".join(map(str, arguments[:2])))
        if calls == ["train tokenizer", "train tokenizer", "tokenize --data"]:
            sys.exit("stopped")

    monkeypatch.setattr(train_all, "call", call)
    arguments = [data, runs, "--minutes", 5, "--configs", write_configs(tmp_path / "configs"),
                 "--device", "cpu"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["train_all.py", *map(str, arguments)])
    with pytest.raises(SystemExit, match="stopped"):
        train_all.main()
    before = (runs / "tokenizer" / "checkpoint.safetensors").stat().st_mtime_ns
    train_all.main()
    assert (runs / "tokenizer" / "checkpoint.safetensors").stat().st_mtime_ns == before
    made = len(calls)
    train_all.main()  # all is there
    assert len(calls) == made == 12
    first = load_module(runs / "tokenizer" / "decayed", DVAE)
    last = load_module(runs / "model" / "tokenizer", DVAE)
    assert (first.config.decoder_layers, last.config.decoder_layers) == (3, 6)
    lm = json.loads((runs / "model" / "language_model" / "config.json").read_text())
    assert lm["tokenizer"] == tokenizer_fingerprint(runs / "model" / "tokenizer")
    told = capsys.readouterr().out
    for step, figure in (
        ("tokenizer", "local error"),
        ("lm", "nats per token"),
        ("packer", "chi1"),
    ):
        assert any(line.startswith(step) and figure in line for line in told.splitlines())
    named = [runs / name for name in ("tokenizer", "decoder", "lm", "packer")]
    figure = plot_training.draw(named)
    assert [len(axes.lines) for axes in figure.axes if axes.axison] == [4] * 4 + [2] * 5


def test_a_command_that_fails_ends_the_training(tools):
    train_all, _ = tools
    with pytest.raises(SystemExit, match="code 2"):
        train_all.call("no-such-verb")


def test_a_run_without_a_log_is_named(tools, tmp_path):
    _, plot_training = tools
    (tmp_path / "log.csv").write_text("step,residues,seconds,loss\n20,100,1.5\n")  # cut
    with pytest.raises(SystemExit, match="no rows in log.csv"):
        plot_training.draw([tmp_path])


@pytest.mark.parametrize(
    ("name", "before", "millions"),
    [("tokenizer_gpu", None, 20.3), ("decoder_gpu", "tokenizer_gpu", 36.3), ("lm_gpu", None, 60.0)],
)
def test_configs_for_a_gpu_build_networks_of_the_sizes_in_the_docs(name, before, millions):
    folder = ROOT / "configs"
    config = json.loads((folder / f"{name}.json").read_text())
    sizes = json.loads((folder / f"{before}.json").read_text())["model"] if before else {}
    build(LoopConfig, config["training"], "training")
    sizes = {**sizes, **config["model"]}
    with torch.device("meta"):
        if "family" in config:
            model = T5(T5Config(vocabulary=512, **sizes))
        else:
            build(StartConfig, config["starts"], "starts")
            model = DVAE(build(DVAEConfig, sizes, "model"))
    assert sum(each.numel() for each in model.parameters()) / 1e6 == pytest.approx(
        millions, abs=0.05
    )
    pages = (ROOT / "docs" / "training.md").read_text()
    assert f"{name:<14} {millions:>13}" in pages
