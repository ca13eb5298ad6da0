"""A lent machine: data, code and weights in a small folder; a run goes on from its results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from absent import without
from toys import TINY, TINY_LM, write_shards, write_side_chains

from openmm_slm.data.coordinate_codes import (
    codable,
    decode_backbone,
    encode_backbone,
    step_of,
)
from openmm_slm.data.data_pack import pack_data, unpack_data
from openmm_slm.data.shards import ShardDataset
from openmm_slm.data.tokens import TokenStore, tokenize
from openmm_slm.errors import ModelError, StructureError
from openmm_slm.networks.storage import load_network
from openmm_slm.training.batches import prefetch
from openmm_slm.training.checkpoint import read_tensors
from openmm_slm.training.run_pack import expand_run, shrink_run
from openmm_slm.training.train_tokenizer import train_tokenizer

ROOT = Path(__file__).parents[2]
LACKING = ("openmm", "mdtraj", "scipy", "pandas", "matplotlib", "parmed", "gemmi", "pdbfixer")
THERE = f"""{without(LACKING)}
folder = sys.argv[1]
sys.argv = [folder + '/run.py', *sys.argv[2:]]
try:
    runpy.run_path(folder + '/run.py', run_name='__main__')
finally:
    package = sys.modules.get('openmm_slm')
    assert package is None or package.__file__.startswith(folder), package.__file__
"""


def python(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def lease(*arguments: object) -> str:
    done = python(ROOT / "tools" / "lease" / "lease.py", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def flip(path: Path, where: int | None = None) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if where is None else where] ^= 1
    path.write_bytes(data)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Shards, a tokenizer of two steps and its tokens."""
    home = tmp_path_factory.mktemp("lease")
    write_shards(home / "shards")
    config = {**TINY, "training": {**TINY["training"], "steps": 2}}
    train_tokenizer(config, home / "shards", home / "run", progress=False)
    tokenize(home / "shards", home / "run" / "model", home / "tokens", progress=False)
    (home / "configs").mkdir()
    for name, each in (("decoder", TINY), ("lm", TINY_LM)):
        training = {**each["training"], "steps": 2, "optimizer": "muon"}
        text = json.dumps({**each, "training": training})
        (home / "configs" / f"{name}.json").write_text(text)
    return home


def test_no_atom_is_off_by_more_than_was_asked_for():
    """Not after 400 residues, not beside gaps, nor in geometry that no protein has."""
    rng = np.random.default_rng(0)
    bonds = rng.normal(size=(1200, 4, 3))
    bonds *= rng.uniform(0.12, 0.18, (1200, 4, 1)) / np.linalg.norm(bonds, axis=-1, keepdims=True)
    backbone = np.empty((1200, 4, 3), np.float32)
    backbone[:, :3] = np.cumsum(bonds[:, :3].reshape(3600, 3), axis=0).reshape(1200, 3, 3)
    backbone[:, 3] = backbone[:, 2] + bonds[:, 3]
    backbone[50] = np.nan
    backbone[60:] += 3.0  # nm: a gap
    backbone[70, 3] += 1.0  # torn
    backbone[80, 2] = 2 * backbone[80, 1] - backbone[80, 0]  # straight
    there = codable(backbone)
    assert not there[[50, 70, 80]].any() and there.mean() > 0.9
    first = np.isin(np.arange(1200), (0, 400, 800))
    begins = (first | ~np.roll(there, 1))[there]
    for error in (0.005, 0.02):
        codes = encode_backbone(backbone[there], begins, step_of(error))
        assert 3 < codes.anchor.sum() < 0.3 * there.sum()
        off = np.linalg.norm(decode_backbone(codes, step_of(error)) - backbone[there], axis=-1)
        assert 0.6 * error < off.max() <= error
    with pytest.raises(ValueError, match=r"error is 0.004 nm; give at least 0.005"):
        step_of(0.004)


@pytest.mark.parametrize("atoms", [4, 14])
def test_what_is_unpacked_is_what_was_packed(home, tmp_path, atoms):
    """All but the coordinates to the bit, with positions, breaks, clusters and tokens."""
    data = home / "shards" if atoms == 4 else write_side_chains(tmp_path / "shards")
    tokens = home / "tokens" if atoms == 4 else None
    told = pack_data(data, tmp_path / "data.npz", tokens=tokens, atoms=atoms)
    made = unpack_data(tmp_path / "data.npz", tmp_path)
    before, after = ShardDataset(data), ShardDataset(made["data"])
    assert len(before) == len(after) == told["entries"]
    worst = 0.0
    for number, row in enumerate(after.rows):
        a, b = before[number], after[number]
        assert (a.id, a.split, a.cluster, a.sequence) == (b.id, b.split, b.cluster, b.sequence)
        assert np.array_equal(a.residue_index, b.residue_index)
        assert np.array_equal(a.chain_break, b.chain_break)
        assert np.array_equal(np.isfinite(a.atoms), np.isfinite(b.atoms))
        worst = max(worst, np.nanmax(np.linalg.norm(a.atoms - b.atoms, axis=-1)))
        if tokens:
            mine = TokenStore(made["tokens"], made["data"]).read(row)
            assert np.array_equal(mine, TokenStore(tokens, data).read(before.rows[number]))
    assert worst == pytest.approx(told["error"], rel=1e-3) and worst <= 0.005
    pack_data(data, tmp_path / "val.npz", splits=("val",))
    rows = ShardDataset(unpack_data(tmp_path / "val.npz", tmp_path / "val")["data"]).rows
    assert {row["split"] for row in rows} == {"val"}
    bonds = np.load(tmp_path / "data.npz")["bonds"].tobytes()
    flip(tmp_path / "data.npz", (tmp_path / "data.npz").read_bytes().index(bonds) + 50)
    with pytest.raises(StructureError, match=r"data.npz: damaged .* copy it here again"):
        unpack_data(tmp_path / "data.npz", tmp_path / "again")


def test_a_run_made_small_goes_on(home, tmp_path):
    """Half-precision weights, means and momentum; without room for all, the momentum goes first."""
    run = home / "run"
    assert shrink_run(run, tmp_path / "a", 10**9) == ("model", "ema", "optimizer")
    expand_run(tmp_path / "a", tmp_path / "run")
    (meta, before), (again, after) = (
        read_tensors(where / "checkpoint.safetensors") for where in (run, tmp_path / "run")
    )
    assert meta == again and before.keys() == after.keys()
    for name, value in before.items():
        scale = value.abs().max() if value.numel() else 1
        assert after[name].dtype == value.dtype
        assert (after[name] - value).abs().max() <= 0.005 * scale, name
    assert (tmp_path / "run" / "log.csv").read_text() == (run / "log.csv").read_text()
    config = {**TINY, "training": {**TINY["training"], "steps": 3}}
    train_tokenizer(config, home / "shards", tmp_path / "run", resume=True, progress=False)
    assert read_tensors(tmp_path / "run" / "checkpoint.safetensors")[0]["step"] == 3

    size = sum(path.stat().st_size for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert shrink_run(run, tmp_path / "b", size - 1) == ("model", "ema")
    assert shrink_run(run, tmp_path / "c", 10**9, files=4) == ("model", "ema", "optimizer")
    with pytest.raises(ModelError, match="train a smaller network"):
        shrink_run(run, tmp_path / "d", 10**9, files=3)
    flip(tmp_path / "a" / "state" / "weights_000.safetensors")
    with pytest.raises(ModelError, match="checksum differs"):
        expand_run(tmp_path / "a", tmp_path / "altered")


@pytest.mark.slow
def test_pieces_on_a_machine_that_has_torch_and_little_else(home, tmp_path):
    data = ("--data", home / "shards", "--tokens", home / "tokens")
    start = home / "run" / "model"
    told = lease("pack", *data, "--start", start, "--configs", home / "configs", "-o",
                 tmp_path / "lease")  # fmt: skip
    assert "atoms off by at most 0.00" in told and "of 64 MiB" in told
    options = ("--minutes", 1, "--loaders", 2, "--device", "cpu", "-o")
    done = python("-c", THERE, tmp_path / "lease", "decoder", "decoder.json", *options,
                  tmp_path / "results")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "residues/s" in done.stdout and "matrix products reach here" in done.stdout
    files = [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert len(files) <= 8
    told = lease("unpack", tmp_path / "results", "-o", tmp_path / "run")
    assert "step 2; kept: model, ema, optimizer" in told
    frozen, trained = (load_network(path)[1] for path in (start, tmp_path / "run" / "model"))
    same = {name: torch.equal(value, frozen[name]) for name, value in trained.items()}
    assert all(same[name] for name in same if not name.startswith("decoder."))
    assert not all(same.values())

    config = json.loads((home / "configs" / "decoder.json").read_text())
    config["training"]["steps"] = 4
    config["training"]["loaders"] = 1
    (home / "configs" / "more.json").write_text(json.dumps(config))
    again = ("--data", tmp_path / "lease" / "data.npz", "--configs", home / "configs")
    lease("pack", *again, "--run", tmp_path / "run", "-o", tmp_path / "next")
    done = python("-c", THERE, tmp_path / "next", "decoder", "more.json", "--decay", 1, *options,
                  tmp_path / "more")  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = lease("unpack", tmp_path / "more", "-o", tmp_path / "further")
    assert "step 4" in told and (tmp_path / "further" / "decayed" / "config.json").exists()
    log = (tmp_path / "further" / "log.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in log[1:]] == ["1", "2", "3", "4"]

    flip(tmp_path / "next" / "data.npz")
    done = python("-c", THERE, tmp_path / "next", "lm", "lm.json", *options, tmp_path / "none")
    assert done.returncode == 2 and "data.npz: missing or altered" in done.stderr


def test_batches_of_processes_are_those_of_the_thread():
    """In order, and errors are told."""

    def make(step: int) -> dict:
        if step == 8:
            raise ValueError("no such batch")
        return {"step": np.full(3, step)}

    batches = prefetch(make, 5, processes=2)
    assert [int(next(batches)["step"][0]) for _ in range(3)] == [5, 6, 7]
    with pytest.raises(ValueError, match="no such batch"):
        next(batches)
