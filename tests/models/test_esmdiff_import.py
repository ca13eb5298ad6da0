"""Checkpoints in the published layout of ESMDiff: read without running what they hold."""

from __future__ import annotations

import collections
import os
import pickle

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from openmm_slm.cli.main import main
from openmm_slm.errors import ModelError
from openmm_slm.models.esmdiff_import import NAMES, find_states, import_esmdiff, read_settings
from openmm_slm.models.registry import load_language_model
from openmm_slm.models.torch_files import read_torch_file

pytest.importorskip("esm", reason="needs the esm package (openmm_slm[esm3])")
yaml = pytest.importorskip("yaml", reason="needs PyYAML (openmm_slm[esm3])")

SIZES = {"d_model": 64, "n_heads": 1, "v_heads": 4, "n_layers": 2}
RUN = {
    "task_name": "MaskedDiffusionLanguageModeling",
    "model": {
        "_target_": "slm.models.model.MaskedDiffusionLanguageModeling",
        "noise_schedule": {"_target_": "slm.utils.noise_utils.LogLinearNoise"},
        "time_conditioning": True,
        "T": 0,
        "sigma_embedder": {"_target_": "slm.models.net.TimestepEmbedder", "hidden_size": 64},
        "net": {"_target_": "slm.models.net.CustomizedESM3", "n_structure_heads": 4101, **SIZES},
    },
}


class Payload:
    """What a pickle may do."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture(scope="module")
def network():
    from openmm_slm.language.esm3_network import ESMDiffConfig, ESMDiffNetwork

    torch.manual_seed(0)
    made = ESMDiffNetwork(ESMDiffConfig(**SIZES)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(parameter.bfloat16())
    return made


def forged(directory, network, prefix="", dtype=torch.bfloat16, **more):
    """A run's folder as the published trainer leaves it; returns that of the checkpoint."""
    back = {ours: theirs for theirs, ours in NAMES.items() if ours}
    state = {}
    for name, value in network.state_dict().items():
        start = next(start for start in back if name.startswith(start))
        state[prefix + back[start] + name.removeprefix(start)] = value.to(dtype)
    whole = {
        "module": state,
        "ds_config": {"train_micro_batch_size_per_gpu": 16},
        "param_shapes": [collections.OrderedDict((k, v.shape) for k, v in state.items())],
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(1.0)}},
        "counts": collections.defaultdict(list, {"a": [1]}),
        **more,
    }
    where = directory / "checkpoints" / "epoch_999.ckpt"
    (where / "checkpoint").mkdir(parents=True)
    torch.save(whole, where / "checkpoint" / "mp_rank_00_model_states.pt")
    (directory / ".hydra").mkdir()
    (directory / ".hydra" / "config.yaml").write_text(yaml.safe_dump(RUN))
    return where


def test_a_forged_checkpoint_imports_and_samples(network, tmp_path):
    from openmm_slm.language.esm3 import ESMDiffModel

    where = forged(tmp_path / "run", network, "_forward_module.")
    arguments = ["models", "import-esmdiff", str(where), "-o", str(tmp_path / "esmdiff")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    model = load_language_model(tmp_path / "esmdiff", "cpu")
    assert isinstance(model, ESMDiffModel)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(model.network.state_dict()[name], value, rtol=0, atol=0)
    drawn = model.sample("GYDPETGTWG", range(3), seed=0, steps=4)
    expected = ESMDiffModel(network).sample("GYDPETGTWG", range(3), seed=0, steps=4)
    np.testing.assert_array_equal(drawn.tokens, expected.tokens)
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 2 and "exists; give a new folder" in again.output


@pytest.mark.parametrize("prefix", ["", "module.", "_forward_module.module."])
def test_files_alone_and_wrapped_names_are_read(prefix, network, tmp_path, caplog):
    where = forged(tmp_path / "run", network, prefix, torch.float32)
    config = tmp_path / "run" / ".hydra" / "config.yaml"
    moved = tmp_path / "alone.pt"
    find_states(where).rename(moved)
    import_esmdiff(moved, tmp_path / "esmdiff", config)
    files = list((tmp_path / "esmdiff").glob("*.safetensors"))
    # Matrices are halved.
    assert sum(f.stat().st_size for f in files) < 0.55 * moved.stat().st_size
    with pytest.raises(ModelError, match="weights do not fit ESMDiffNetwork: .* missing"):
        import_esmdiff(moved, tmp_path / "other")  # no config: the sizes of the published model
    assert "the published settings are assumed" in caplog.text


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("old_format", [False, True])
def test_code_in_a_checkpoint_is_refused_and_not_run(old_format, network, tmp_path):
    where = forged(tmp_path / "run", network, hyper_parameters=Payload(tmp_path / "ran"))
    file = find_states(where)
    if old_format:
        whole = {"module": {}, "x": Payload(tmp_path / "ran")}
        torch.save(whole, file, _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match=r"has posix.mkdir, which is neither a tensor"):
        import_esmdiff(where, tmp_path / "esmdiff")
    # Not even where the user says that it does not matter.
    with pytest.raises(ModelError, match=r"has posix.mkdir"):
        import_esmdiff(where, tmp_path / "esmdiff", ignore=["posix.mkdir"])
    file.write_bytes(pickle.dumps({"module": {}, "x": Payload(tmp_path / "ran")}, 4))
    with pytest.raises(ModelError, match="none of its code was run"):
        import_esmdiff(where, tmp_path / "esmdiff")
    file.write_bytes(b"no pickle")
    with pytest.raises(ModelError, match="cannot be read"):
        import_esmdiff(where, tmp_path / "esmdiff")
    assert not (tmp_path / "ran").exists() and not (tmp_path / "esmdiff").exists()
    torch.save({"x": Payload(tmp_path / "ran")}, file)
    torch.load(file, weights_only=False)
    assert (tmp_path / "ran").exists()  # the payload is one


def test_types_that_are_passed_over_are_not_made(network, tmp_path):
    made = []

    class Foreign:
        def __init__(self):
            made.append(self)

        def __setstate__(self, state):
            made.append(state)

    Foreign.__qualname__, Foreign.__module__ = "Foreign", __name__
    globals()["Foreign"] = Foreign
    where = forged(tmp_path / "run", network, extra=Foreign())
    made.clear()
    name = f"{__name__}.Foreign"
    with pytest.raises(ModelError, match=f"has {name}, .*--ignore NAME"):
        import_esmdiff(where, tmp_path / "esmdiff")
    import_esmdiff(where, tmp_path / "esmdiff", ignore=[name])
    assert not made and (tmp_path / "esmdiff" / "README.md").is_file()
    assert read_torch_file(find_states(where), ["collections.defaultdict", "builtins.list", name])


def test_keys_and_sizes_that_differ_are_listed(network, tmp_path):
    where = forged(tmp_path / "run", network)
    file = find_states(where)
    whole = torch.load(file, weights_only=False)
    state = whole["module"]
    state["net.output_heads.structure_head.0.bias"] = torch.ones(3)
    state["net.decoder.weight"] = torch.ones(3)
    del state["sigma_embedder.mlp.0.weight"]
    torch.save(whole, file)
    with pytest.raises(ModelError) as error:
        import_esmdiff(where, tmp_path / "esmdiff")
    for part in ("1 missing (sigma_embedder.mlp.0.weight)", "1 unknown (net.decoder.weight)",
                 "1 of another shape (structure_head.0.bias [3] instead of [64])"):  # fmt: skip
        assert part in str(error.value)
    torch.save({"optimizer": {}}, file)
    with pytest.raises(ModelError, match="no tensors under 'module' or 'state_dict'"):
        import_esmdiff(where, tmp_path / "esmdiff")
    with pytest.raises(ModelError, match="neither a file nor a folder with"):
        import_esmdiff(tmp_path, tmp_path / "esmdiff")


@pytest.mark.parametrize(
    "part, value, message",
    [
        ("net", {"_target_": "slm.models.net.CustomedT5"}, "model.net is 'CustomedT5'"),
        ("net", {**RUN["model"]["net"], "n_structure_heads": 4096}, "n_structure_heads is 4096"),
        ("noise_schedule", None, "model.noise_schedule is ''"),
        ("structure_only", True, "model.structure_only is True, .* has False"),
        ("net", {**RUN["model"]["net"], "d_model": "wide"}, "some sizes are not numbers"),
        ("net", ["a"], "not the config of an ESMDiff run"),
    ],
)
def test_other_settings_are_refused(part, value, message, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"model": {**RUN["model"], part: value}}))
    with pytest.raises(ModelError, match=message):
        read_settings(tmp_path / "x.pt", config)
    config.write_text("!!python/object/apply:os.mkdir [ran]")
    with pytest.raises(ModelError, match="not the config of an ESMDiff run"):
        read_settings(tmp_path / "x.pt", config)
