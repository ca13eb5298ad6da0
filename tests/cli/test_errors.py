"""Bad input: one clear line, exit code 2, no traceback, and nothing lost."""

from __future__ import annotations

import json
import os
import re
import shutil

import numpy as np
import pytest
from builders import helix
from click.testing import CliRunner
from toys import TINY, TINY_LM, write_shards

from openmm_slm.cli.main import main
from openmm_slm.models.registry import shipped_models
from openmm_slm.protein.trajectory import backbone_trajectory


def refused(*arguments: object) -> str:
    """The one line a command that is refused prints."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("openmm-slm: ")]
    return line


@pytest.mark.parametrize(
    ("sequence", "named"),
    [
        ("", "the sequence is empty"), ("  ", "empty"), (":", "empty"), ("ACDEF:", "chain 2"),
        ("AC1F", "'1' at position 3"), ("12345", "'1' at position 1"),
        ("ACDXF", "'X' at position 4"), ("ACBDF", "'B' at position 3 .* write D or N"),
        ("ACDU", "'U' at position 4 .* selenocysteine"), ("ACDE:FGZ", "position 3 of chain 2"),
        ("A", "one residue"), ("A" * 1025, "1025 residues, at most 1024"),
        ("ACD-F", "gaps"), ("ACDF*", "stop"), ("ÄCDF", "position 1"), ("AßCD", "position 2"),
        ("nowhere.fasta", "nowhere.fasta: no such file"), ("a/b", "a/b: no such file"),
    ],
)  # fmt: skip
def test_sequences(sequence, named, tmp_path):
    assert re.search(named, refused("sample", sequence, "-o", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file(tmp_path):
    backbone_trajectory(helix(12)[None], "ACDEFGHIKLMN").save_pdb(str(tmp_path / "x.pdb"))
    (tmp_path / "out").write_text("")
    line = refused("flexibility", tmp_path / "x.pdb", "-o", tmp_path / "out")
    assert f"{tmp_path / 'out'} exists already; choose another output" in line


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["-n", 0], "n is 0"), (["-n", -3], "n is -3"), (["--temperature", 0], "temperature is 0"),
        (["--temperature", "nan"], "temperature is nan"), (["--top-p", 1.5], "top_p is 1.5"),
        (["--steps", 0], "steps is 0"), (["--seed", -1], "seed is -1"),
        (["--batch-size", 0], "batch_size is 0"), (["--model", "nope"], "'nope'"),
        (["--device", "warp"], "'warp'"), (["--seed", 2**70], "seed is"),
    ],
)  # fmt: skip
def test_settings(options, named, tmp_path):
    assert named in refused("sample", "ACDEF", *options, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_lower_case_is_accepted(tmp_path):
    arguments = ["sample", "acdef", "-n", "1", "--seed", "1", "-o", str(tmp_path / "out")]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert json.loads((tmp_path / "out" / "run.json").read_text())["sequence"] == "ACDEF"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "no sequences"), (b">a\nACD\n>a\nACD\n", "'a' occurs twice"),
        (b"ACDEF\n", "before the first '>'"), (b">\nACD\n", "without a name"),
        (bytes(range(256)) * 8, "not a text file"), (b"\x1f\x8b\x08rubbish", "not a text file"),
        (b"ATOM      1  N   ALA A   1      11.104   6.134  -6.504\n", "FASTA expected"),
    ],
)  # fmt: skip
def test_fasta_files(content, named, tmp_path):
    path = tmp_path / "in.fasta"
    path.write_bytes(content)
    line = refused("sample", path, "-o", tmp_path / "out")
    assert re.search(named, line) and "in.fasta" in line
    assert not (tmp_path / "out").exists()


def test_outputs_that_cannot_be_written(tmp_path):
    assert "/proc/nowhere" in refused("sample", "ACDEF", "-n", 1, "-o", "/proc/nowhere")
    (tmp_path / "file").write_text("mine")
    for where in (tmp_path / "file", tmp_path / "file" / "below"):
        assert "cannot be written" in refused("sample", "ACDEF", "-n", 1, "-o", where)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_sequence_or_a_run_not_both(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    out = ("-o", tmp_path / "out")
    assert "either" in refused("sample", *out)
    assert "either" in refused("sample", "ACD", "--repeat", tmp_path / "run.json", *out)
    assert "run.json" in refused("sample", "--repeat", tmp_path / "run.json", *out)
    repeat = ("--repeat", tmp_path / "run.json")
    assert "--repeat takes n from" in refused("sample", *repeat, "-n", 3, *out)


@pytest.fixture
def model(tmp_path):
    return shutil.copytree(shipped_models()["default"], tmp_path / "model")


SHARD = "tokenizer/weights_000.safetensors"


def _cut(path):
    os.truncate(path, path.stat().st_size // 2)


def _flip(path):
    data = bytearray(path.read_bytes())
    data[-7] ^= 16
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "change", "named"),
    [
        (SHARD, os.remove, "weights_000.safetensors: missing"),
        (SHARD, _flip, "weights_000.safetensors: checksum differs"),
        (SHARD, _cut, "weights_000.safetensors: checksum differs"),
        ("tokenizer/config.json", os.remove, "no config.json"),
        ("tokenizer/config.json", _cut, "not readable as JSON"),
        ("language_model/config.json", lambda p: p.write_text("{}"), "model format is None"),
        ("config.json", lambda p: p.write_bytes(bytes(range(256))), "not readable as JSON"),
        ("config.json", os.remove, "not a model directory"),
    ],
)
@pytest.mark.parametrize("verb", ["sample", "models verify"])
def test_damaged_models(verb, name, change, named, model, tmp_path):
    change(model / name)
    rest = ("ACDEF", "--model", model, "-o", tmp_path / "out") if verb == "sample" else (model,)
    assert named in refused(*verb.split(), *rest)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def training(tmp_path):
    """Data, tokens and configs of a run that works, for each test to spoil."""
    write_shards(tmp_path / "shards")
    for name, config in (("tok", TINY), ("lm", TINY_LM)):
        config = {**config, "training": {**config["training"], "steps": 2}}
        (tmp_path / f"{name}.json").write_text(json.dumps(config))
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    for path in (tmp_path / "shards").glob("*.residues.npy"):
        shard = path.name.split(".")[0]
        np.save(tokens / f"{shard}.tokens.npy", np.zeros(len(np.load(path)), np.int16))
    meta = {"tokenizer": "x" * 16, "vocabulary": 512}
    (tokens / "tokens.json").write_text(json.dumps(meta))
    return tmp_path


def _write(text):
    return lambda path: path.write_text(text)


@pytest.mark.parametrize(
    ("name", "change", "named"),
    [
        ("shards/index.csv", os.remove, "no index.csv"),
        ("shards/index.csv", _write("a,b\n1,2\n"), "no column 'id'"),
        ("shards/index.csv", lambda p: p.write_bytes(b"\xff\xfe\x00" * 9), "cannot be read"),
        ("shards/backbone_000.atoms.npy", _cut, "backbone_000.atoms.npy: cannot be read"),
        ("shards/backbone_000.atoms.npy", os.remove, "backbone_000.atoms.npy: cannot be read"),
        ("shards/backbone_000.residues.npy", lambda p: np.save(p, np.load(p)[:9]), "shard has 9"),
        ("tokens/tokens.json", os.remove, "openmm-slm tokenize"),
        ("tokens/tokens.json", _write("{"), "tokens.json: cannot be read"),
        ("tokens/tokens.json", _write('{"tokenizer": "x", "vocabulary": 512, "data": "y"}'),
         "these tokens were not made from"),
        ("tokens/tokens.json", _write('{"tokenizer": "x", "vocabulary": 64}'), "vocabulary of 512"),
        ("tokens/backbone_000.tokens.npy", lambda p: np.save(p, np.load(p)[:9]), "no tokens of"),
        ("lm.json", _write("{"), "not readable as JSON"),
        ("lm.json", _write("[1]"), "a JSON object"),
        ("lm.json", _write('{"training": {"stepz": 1}}'), "'stepz' is unknown"),
    ],
)  # fmt: skip
def test_training_on_what_is_damaged(name, change, named, training):
    change(training / name)
    data = ("--data", training / "shards", "--tokens", training / "tokens")
    if "vocabulary" in named:
        config = json.loads((training / "lm.json").read_text())
        config["model"]["vocabulary"] = 512
        (training / "lm.json").write_text(json.dumps(config))
    line = refused("train", "lm", training / "lm.json", *data, "-o", training / "run")
    assert re.search(named, line)


def test_annealing_nothing(training):
    options = (training / "tok.json", "--data", training / "shards", "-o", training / "run")
    assert "--resume" in refused("train", "tokenizer", *options, "--decay", 3)
