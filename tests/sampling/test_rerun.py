"""Runs on disk: stopped and continued, extended, repeated, many sequences, bounded memory.

`cli/test_kill.py` has those that are killed.
"""

from __future__ import annotations

import gc
import json
import logging
import shutil
import tracemalloc
import weakref

import mdtraj as md
import numpy as np
import pytest
from click.testing import CliRunner

import openmm_slm
from openmm_slm.cli.main import main
from openmm_slm.errors import ModelError, SLMError
from openmm_slm.files.ensemble_folder import EnsembleWriter
from openmm_slm.models.registry import model_identity, shipped_models, verify_model
from openmm_slm.sampling.many_sequences import sample_fasta
from openmm_slm.sampling.rerun import repeat_run

PEPTIDE = "GYDPETGTWG"
FILES = ("topology.pdb", "samples.xtc", "report.csv", "run.json")
SETTINGS = {"seed": 4, "batch_size": 8, "progress": False}


@pytest.fixture(scope="module")
def generator():
    return openmm_slm.EnsembleGenerator.from_pretrained("default", device="cpu")


@pytest.fixture(scope="module")
def whole(generator, tmp_path_factory):
    return generator.write(PEPTIDE, tmp_path_factory.mktemp("runs") / "whole", 44, **SETTINGS)


def contents(directory, names=FILES) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in names}


class Stop(Exception):
    pass


def interrupted(generator, directory, blocks: int, rubbish: bytes = b"") -> None:
    """A run that fails after some blocks, leaving the beginning of another one behind."""
    decode = generator.tokenizer.decode_with_confidence
    left = iter(range(blocks))  # the first call is for the frame that decides on the topology

    def fail(*arguments):
        if next(left, None) is None:
            raise Stop
        return decode(*arguments)

    generator.tokenizer.decode_with_confidence = fail
    try:
        with pytest.raises(Stop):
            generator.write(PEPTIDE, directory, 44, **SETTINGS)
    finally:
        del generator.tokenizer.decode_with_confidence
    for name in ("samples.xtc.part", "report.csv.part"):
        if rubbish:
            with open(directory / name, "ab") as handle:
                handle.write(rubbish)


@pytest.mark.parametrize(("blocks", "rubbish"), [(0, b""), (2, b""), (3, b"\x00half a frame")])
def test_a_resumed_run_equals_an_uninterrupted_one(generator, whole, tmp_path, blocks, rubbish):
    interrupted(generator, tmp_path, blocks, rubbish)
    assert not (tmp_path / "samples.xtc").exists()
    calls = []
    sample = generator.language_model.sample
    generator.language_model.sample = lambda s, f, **o: (calls.append(len(f)), sample(s, f, **o))[1]
    try:
        generator.write(PEPTIDE, tmp_path, 44, resume=True, **SETTINGS)
    finally:
        del generator.language_model.sample
    # What was done is not done again, but for the frame that the topology is decided on.
    done = max(0, blocks - 1)
    assert sum(calls) == 44 - 8 * done + (1 if done else 0)
    assert contents(tmp_path) == contents(whole)
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, ".lock"}


def test_resume_draws_on_with_the_seed_that_was_drawn(generator, tmp_path):
    generator.write(PEPTIDE, tmp_path, 3, batch_size=8, progress=False)
    seed = json.loads((tmp_path / "run.json").read_text())["seed"]
    generator.write(PEPTIDE, tmp_path, 6, batch_size=8, progress=False, resume=True)
    traj = md.load(str(tmp_path / "samples.xtc"), top=str(tmp_path / "topology.pdb"))
    fresh = generator.sample(PEPTIDE, 6, seed=seed, progress=False).trajectory
    np.testing.assert_allclose(traj.xyz, fresh.xyz, atol=1.5e-3)


def test_a_finished_ensemble_is_extended_not_made_again(generator, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "more")
    before = contents(whole, ("samples.xtc", "report.csv"))
    generator.write(PEPTIDE, tmp_path / "more", 60, resume=True, **SETTINGS)
    after = contents(tmp_path / "more", ("samples.xtc", "report.csv"))
    assert all(after[name].startswith(before[name]) for name in before)
    traj = md.load(str(tmp_path / "more/samples.xtc"), top=str(tmp_path / "more/topology.pdb"))
    assert traj.n_frames == 60 and traj.time.tolist() == list(range(60))


def test_finished_work_is_not_overwritten(generator, whole):
    before = contents(whole)
    with pytest.raises(SLMError, match=r"holds a samples\.xtc already.*--resume"):
        generator.write(PEPTIDE, whole, 44, **SETTINGS)
    assert generator.write(PEPTIDE, whole, 44, resume=True, **SETTINGS) == whole
    for change, named in (
        ({"seed": 5}, "seed 4, not 5"),
        ({"temperature": 0.5}, "temperature 1.0, not 0.5"),
        ({"drop_invalid": True}, "drop_invalid"),
    ):
        with pytest.raises(SLMError, match=named):
            generator.write(PEPTIDE, whole, 44, resume=True, **{**SETTINGS, **change})
    with pytest.raises(SLMError, match="sequence"):
        generator.write("ACDEFGHIK", whole, 44, resume=True, **SETTINGS)
    with pytest.raises(SLMError, match="n = 44, more than 10"):
        generator.write(PEPTIDE, whole, 10, resume=True, **SETTINGS)
    assert contents(whole) == before


@pytest.mark.parametrize("name", ["samples.xtc", "report.csv", "topology.pdb"])
@pytest.mark.parametrize("resume", [False, True])
def test_files_of_the_users_own_are_not_overwritten(generator, tmp_path, name, resume):
    (tmp_path / name).write_text("mine")
    with pytest.raises(SLMError, match=f"holds a {name} already"):
        generator.write(PEPTIDE, tmp_path, 4, resume=resume, **SETTINGS)
    assert {path.name for path in tmp_path.iterdir()} - {".lock"} == {name}
    assert (tmp_path / name).read_text() == "mine"


def test_a_part_that_was_cut_is_noticed(generator, tmp_path):
    interrupted(generator, tmp_path, 2)
    with open(tmp_path / "samples.xtc.part", "r+b") as handle:
        handle.truncate(100)
    with pytest.raises(SLMError, match="100 bytes of"):
        generator.write(PEPTIDE, tmp_path, 44, resume=True, **SETTINGS)


def test_run_json_repeats_the_run(whole, tmp_path):
    where = repeat_run(whole / "run.json", tmp_path / "again", device="cpu", progress=False)
    assert contents(where) == contents(whole)


def test_a_run_of_other_weights_is_not_repeated(whole, tmp_path, caplog):
    run = json.loads((whole / "run.json").read_text())
    assert run["model"] == model_identity("default") and run["environment"]["threads"] >= 1
    run["model"]["sha256"] = "0" * 16
    (tmp_path / "run.json").write_text(json.dumps(run))
    with pytest.raises(ModelError, match="weights of default with checksum 0000000000000000"):
        repeat_run(tmp_path, tmp_path / "again")
    run["model"], run["n"] = model_identity("default"), 2
    run["environment"]["torch"] = "1.0"
    (tmp_path / "run.json").write_text(json.dumps(run))
    with caplog.at_level(logging.WARNING):
        repeat_run(tmp_path, tmp_path / "again", progress=False)
    assert any("torch '1.0' then" in record.message for record in caplog.records)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"sequence": "AA"}', "\x00\xff"])
def test_a_bad_run_json_is_named(text, tmp_path):
    (tmp_path / "run.json").write_text(text, encoding="latin-1")
    with pytest.raises(SLMError, match=r"run\.json"):
        repeat_run(tmp_path, tmp_path / "again")


def test_fasta_gives_a_folder_for_each_record(tmp_path):
    fasta = tmp_path / "many.fasta"
    fasta.write_text(">sp|P1|ONE first\nGYDPETGTWG\n>two\nACDEF\nGHIK\n>dimer\nACDE:FGHI\n")
    arguments = ["sample", str(fasta), "-n", "2", "--seed", "3", "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    folders = sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir())
    assert folders == ["dimer", "sp_P1_ONE", "two"]
    top = md.load(str(tmp_path / "out/two/topology.pdb")).topology
    assert top.to_fasta(0) == "ACDEFGHIK"
    alone = openmm_slm.generate_ensemble("ACDEFGHIK", 2, seed=3, device="cpu", progress=False)
    both = md.load(str(tmp_path / "out/two/samples.xtc"), top=top)
    np.testing.assert_allclose(both.xyz, alone.xyz, atol=1.5e-3)
    # One is lost: only that one is made again.
    shutil.rmtree(tmp_path / "out" / "two")
    times = {name: (tmp_path / "out" / name / "samples.xtc").stat().st_mtime_ns
             for name in ("dimer", "sp_P1_ONE")}  # fmt: skip
    assert CliRunner().invoke(main, [*arguments, "--resume"]).exit_code == 0
    assert (tmp_path / "out/two/samples.xtc").exists()
    for name, when in times.items():
        assert (tmp_path / "out" / name / "samples.xtc").stat().st_mtime_ns == when


def test_records_that_share_a_folder_and_bad_settings_fail_before_any_work(tmp_path):
    fasta = tmp_path / "x.fasta"
    fasta.write_text(">a|b\nACDEF\n>A_B\nACDEF\n")
    with pytest.raises(ValueError, match=r"'a\|b' and 'A_B' would share the folder"):
        sample_fasta(fasta, tmp_path / "out", 1)
    fasta.write_text(">a\nACDEF\n")
    with pytest.raises(ValueError, match="temperature is -1"):
        sample_fasta(fasta, tmp_path / "out", 1, temperature=-1)
    assert not (tmp_path / "out").exists()


def test_memory_does_not_grow_with_n(generator, tmp_path, monkeypatch):
    """Of the blocks only the last is held, and what a frame leaves behind is little."""
    alive, traced = [], []
    add = EnsembleWriter.add

    def watched(self, trajectory, *arguments):
        add(self, trajectory, *arguments)
        alive.append(weakref.ref(trajectory))
        gc.collect()
        assert sum(each() is not None for each in alive) <= 2
        traced.append(tracemalloc.get_traced_memory()[0])

    monkeypatch.setattr(EnsembleWriter, "add", watched)
    generator.write(PEPTIDE, tmp_path / "first", 8, **SETTINGS)  # what is imported and kept once
    alive.clear()
    tracemalloc.start()
    try:
        generator.write(PEPTIDE, tmp_path / "long", 56, **SETTINGS)
    finally:
        tracemalloc.stop()
    assert len(alive) == 7
    frame = 12 * md.load(str(tmp_path / "long" / "topology.pdb")).n_atoms  # bytes
    assert traced[-1] - traced[2] < 0.75 * 32 * frame  # 11 to 27 kB; what is held would be 53


@pytest.fixture
def model(tmp_path):
    return shutil.copytree(shipped_models()["default"], tmp_path / "model")


def test_models_are_listed_shown_and_verified(model):
    run = CliRunner()
    listed = run.invoke(main, ["models", "list"]).output
    assert "default" in listed and "diffusion" in listed
    shown = run.invoke(main, ["models", "show", str(model)]).output
    assert "language_model: t5" in shown and "# default" in shown and "Licence" in shown
    shown = run.invoke(main, ["models", "show", str(model / "tokenizer")]).output
    assert "network: dvae" in shown and "no card" in shown
    verified = run.invoke(main, ["models", "verify", str(model)])
    assert verified.exit_code == 0 and verified.output.count("checksums right") == 6
    assert run.invoke(main, ["models", "verify", "diffusion"]).exit_code == 0


def test_verify_finds_what_is_wrong(model):
    shard = model / "language_model" / "weights_000.safetensors"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 4
    shard.write_bytes(data)
    with pytest.raises(ModelError, match="checksum"):
        verify_model(model)
    shard.unlink()
    with pytest.raises(ModelError, match="missing"):
        verify_model(model)


def test_parts_of_different_models_are_not_put_together(model):
    path = model / "language_model" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "tokenizer": "f" * 16}))
    for load in (verify_model, openmm_slm.EnsembleGenerator.from_pretrained):
        with pytest.raises(ModelError, match="trained on the tokens of tokenizer ffff"):
            load(model)


def test_another_package_registers_a_model(model, tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text(f"def directory():\n    return {str(model)!r}\n")
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[openmm_slm.models]\nours = theirs:directory\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert model_identity("ours") == {**model_identity("default"), "name": "ours"}
    assert "ours" in CliRunner().invoke(main, ["models", "list"]).output
    assert len(verify_model("ours")) == 7
