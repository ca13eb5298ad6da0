"""Ensembles with ESM3 and ESMDiff, and the files of their weights."""

from __future__ import annotations

from dataclasses import replace

import mdtraj
import numpy as np
import pytest
import torch
from builders import helix
from click.testing import CliRunner

import openmm_slm
from openmm_slm.cli.main import main
from openmm_slm.errors import ModelError
from openmm_slm.language.esm3_network import ESM3Network, ESMDiffNetwork
from openmm_slm.models.esm3_import import FILES, import_esm3
from openmm_slm.models.registry import check_parts, find_model, load_language_model, verify_model
from openmm_slm.networks.storage import load_module, save_module
from openmm_slm.protein.trajectory import backbone_trajectory
from openmm_slm.tokenizer.esm3 import ESM3TokenizerNetwork

pytest.importorskip("esm", reason="needs the esm package (openmm_slm[esm3])")

SEQUENCE_OF_10 = "GYDPETGTWG"
QUIET = {"progress": False, "device": "cpu"}


def test_an_ensemble_by_name_path_and_release(at_hand, imported, release, esmdiff, tmp_path):
    ens = [
        openmm_slm.generate_ensemble(SEQUENCE_OF_10, n=3, model=model, seed=1, **QUIET)
        for model in ("esm3", imported, esmdiff)
    ]
    assert np.array_equal(ens[0].xyz, ens[1].xyz)
    default = openmm_slm.generate_ensemble(SEQUENCE_OF_10, n=1, seed=1, **QUIET)
    assert all(one.topology == default.topology for one in ens)
    lines = verify_model("esm3")
    assert "esm3_tokenizer" in lines[0] and "language_model: esm3" in lines[1]
    assert load_language_model("esm3", "cpu").guided
    shown = CliRunner().invoke(main, ["models", "show", "esm3"]).output
    assert "licence of their own" in shown


def test_runs_are_extended_and_say_what_was_meant(at_hand, esmdiff, tmp_path):
    options = {"model": esmdiff, "seed": 5, "sidechains": None, **QUIET}
    openmm_slm.generate_ensemble(SEQUENCE_OF_10, n=3, output=tmp_path / "a", **options)
    openmm_slm.generate_ensemble(SEQUENCE_OF_10, n=7, output=tmp_path / "a", resume=True, **options)
    whole = openmm_slm.generate_ensemble(SEQUENCE_OF_10, n=7, output=tmp_path / "b", **options)
    a, b = (
        mdtraj.load(str(p / "samples.xtc"), top=str(p / "topology.pdb"))
        for p in (tmp_path / "a", whole)
    )
    assert np.array_equal(a.xyz, b.xyz)
    options["model"] = "esm3"
    openmm_slm.generate_ensemble(SEQUENCE_OF_10, n=1, output=tmp_path / "c", **options)
    assert '"temperature": 1.4' in (tmp_path / "c" / "run.json").read_text()
    assert '"temperature": 1.0' in (tmp_path / "a" / "run.json").read_text()


@pytest.mark.parametrize("model", ["esm3", "esmdiff"])
def test_templates_and_loops(at_hand, esmdiff, model):
    where = esmdiff if model == "esmdiff" else "esm3"
    sequence = "ACDEFGHIKLMNPQR"
    template = backbone_trajectory(helix(15)[None], sequence)
    gen = openmm_slm.EnsembleGenerator.from_pretrained(where, device="cpu")
    options = {"template": template, "seed": 2, "sidechains": None, "progress": False}
    tokens = gen.tokenizer.encode(template)[0]
    loop = gen.sample(sequence, n=2, resample=[5, 6, 7], fragments=None, **options)
    kept, own = np.r_[0:5, 8:15], template.xyz.reshape(1, 15, 4, 3)
    # Tokens do not know the loop; those of two residues on each side are sampled too.
    alone = gen.tokenizer.encode_backbone(own, np.isin(np.arange(15), kept)[None], np.arange(15))
    away = np.r_[0:3, 10:15]
    assert np.array_equal(loop.tokens[:, away], np.tile(alone[0, away], (2, 1)))
    xyz = loop.trajectory.xyz.reshape(2, 15, 4, 3)
    assert np.array_equal(xyz[:, kept, :3], np.broadcast_to(own, xyz.shape)[:, kept, :3])
    assert np.isfinite(xyz).all() and np.abs(xyz[:, 5:8] - own[:, 5:8]).max() > 0.01
    held = gen.sample(sequence, n=2, noise=0.2, deform=0, **options)
    assert np.isfinite(held.trajectory.xyz).all()
    assert 0 < (held.tokens != tokens).sum() <= 2 * 4


def test_a_language_model_is_not_run_with_another_tokenizer(at_hand, imported, esmdiff, tmp_path):
    check_parts(esmdiff)
    network = load_module(esmdiff, ESMDiffNetwork)
    save_module(tmp_path / "other", network, tokenizer="0" * 16)
    with pytest.raises(ModelError, match="trained on the tokens of tokenizer 0000"):
        check_parts(tmp_path / "other")
    save_module(tmp_path / "named", network, tokenizer="esm3_tokenizer")
    check_parts(tmp_path / "named")


def test_missing_weights_are_told_where_to_go(monkeypatch, tmp_path):
    for name in ("HF_HOME", "OPENMM_SLM_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("OPENMM_SLM_ESM3", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match=f"{FILES[0]}.*data/weights.*--accept-licence"):
        find_model("esm3")
    monkeypatch.setenv("OPENMM_SLM_ESM3", str(tmp_path))
    with pytest.raises(ModelError, match="OPENMM_SLM_ESM3.*neither"):
        find_model("esm3")
    run = CliRunner()
    asked = run.invoke(main, ["models", "download", "esm3"])
    assert asked.exit_code == 2
    assert asked.output.index("Non-Commercial") < asked.output.index("with --accept-licence")


def test_a_folder_of_the_release_is_converted_once(release, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENMM_SLM_CACHE", str(tmp_path))
    where = find_model(release)
    before = (where / "config.json").stat().st_mtime_ns
    monkeypatch.setenv("OPENMM_SLM_ESM3", str(release))
    assert find_model("esm3") == where and where.parent == tmp_path
    assert (where / "config.json").stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == [where.name]


class Bomb:
    def __reduce__(self):
        import os

        return os.mkdir, ("bomb-went-off",)


def test_nothing_in_the_files_is_executed_and_wrong_weights_are_named(
    published, release, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    files = {path.name: path.read_bytes() for path in (release / "data" / "weights").iterdir()}
    bad = tmp_path / "bad"
    bad.mkdir()

    def put(name, value):
        for other, data in files.items():
            (bad / other).write_bytes(data)
        torch.save(value, bad / name)

    put(FILES[0], {"weights": Bomb()})
    with pytest.raises(ModelError, match=FILES[0]):
        import_esm3(bad, tmp_path / "out")
    assert not (tmp_path / "bomb-went-off").exists()
    put(FILES[1], [1, 2])
    with pytest.raises(ModelError, match="something other than named tensors"):
        import_esm3(bad, tmp_path / "out")
    state = published[2].state_dict()
    put(FILES[2], {key: value for key, value in state.items() if key != "plddt_head.dense.bias"})
    with pytest.raises(ModelError, match="plddt_head.dense.bias"):
        import_esm3(bad, tmp_path / "out")
    put(FILES[0], state)
    with pytest.raises(ModelError, match="not those of ESM3"):
        import_esm3(bad, tmp_path / "out")
    (bad / FILES[1]).unlink()
    answer = CliRunner().invoke(main, ["models", "import-esm3", str(bad), "-o", "out"])
    assert answer.exit_code == 2 and "are missing" in answer.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad"]


def test_sizes_follow_from_the_weights(imported):
    tokenizer = load_module(imported / "tokenizer", ESM3TokenizerNetwork)
    assert tokenizer.config.decoder_layers == 2 and tokenizer.config.encoder_v_heads == 8
    network = load_module(imported / "language_model", ESM3Network)
    assert network.config == replace(network.config, d_model=64, n_heads=1, v_heads=4, n_layers=2)
