"""`finetune`: what it trains on, what it holds back, when it ends, and how it goes on."""

from __future__ import annotations

import json
from dataclasses import replace

import mdtraj as md
import numpy as np
import pytest
import torch
from builders import helix
from click.testing import CliRunner
from killing import tensors
from test_structure_contexts import entry
from tiny_model import SEQUENCE, simulation, write_tiny_model

import openmm_slm
from openmm_slm.cli.main import main
from openmm_slm.data.shards import ShardDataset
from openmm_slm.models.registry import find_part, load_springs, verify_model
from openmm_slm.motions.springs import LEARNED_SHARE, NEAR
from openmm_slm.motions.thermal_motion import ThermalMotion
from openmm_slm.networks.storage import assemble_model
from openmm_slm.training import finetuning_networks
from openmm_slm.training.early_stopping import StoppingTrainer
from openmm_slm.training.finetuning import table_of
from openmm_slm.training.loop import LoopConfig
from openmm_slm.training.md_contexts import draw_md_context
from openmm_slm.training.md_frames import HELD, TRAIN, MDFrames, open_simulations, write_frames
from openmm_slm.training.starting_structures import (
    CENTRAL,
    SEVERAL,
    central_frame,
    write_starting_structures,
)
from openmm_slm.training.tuned_amplitude import fitted_amplitude, set_amplitude

QUICK = {"steps": 3, "samples": 4, "device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def frames() -> md.Trajectory:
    return simulation()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


# -- frames ----------------------------------------------------------------------------------------


def test_the_last_fifth_of_each_trajectory_is_held_back(frames, tmp_path) -> None:
    runs = [frames[:25], frames[25:]]
    write_frames(open_simulations(runs, None), tmp_path / "all", 1000)
    found = MDFrames.read(tmp_path / "all")
    assert found.sequence == SEQUENCE and found.held_lengths == [5, 3]
    ca = frames.atom_slice(frames.topology.select("name CA")).xyz
    np.testing.assert_allclose(found.held[:, :, 1], ca[[*range(20, 25), *range(37, 40)]], atol=1e-5)
    np.testing.assert_allclose(found.train[:, :, 1], ca[[*range(20), *range(25, 37)]], atol=1e-5)
    write_frames(open_simulations([frames], None), tmp_path / "few", 20)
    few = [len(ShardDataset(tmp_path / "few", split)) for split in (TRAIN, HELD)]
    assert few == [16, 4]


def test_bad_trajectories_are_named(frames, tmp_path, tiny) -> None:
    def message(trajectories: object, **options: object) -> str:
        with pytest.raises(ValueError) as caught:
            given = {"model": tiny, **QUICK, **options}
            openmm_slm.finetune(trajectories, tmp_path / "out", **given)
        return str(caught.value)

    assert "19 frames" in message(frames[:19]) and "20 or more" in message(frames[:19])
    assert "no trajectory" in message([])
    assert "no such file" in message(tmp_path / "nowhere.xtc")
    frames.save_xtc(str(tmp_path / "md.xtc"))
    assert "contains no topology" in message(tmp_path / "md.xtc")
    shorter = frames.atom_slice(frames.topology.select("resid 0 to 14"))
    assert "another protein" in message([frames, shorter])
    assert "lacks N, CA, C or O" in message(frames.atom_slice(frames.topology.select("name CA")))
    assert "samples is 1" in message(frames, samples=1)
    assert "hours is 0" in message(frames, hours=0)
    assert "esm3" in message(frames, model="esm3")


def test_a_folder_with_another_model_is_not_overwritten(frames, tiny) -> None:
    before = (tiny / "config.json").read_bytes()
    with pytest.raises(ValueError, match="another model"):
        openmm_slm.finetune(frames, tiny, model="default", **QUICK)
    assert (tiny / "config.json").read_bytes() == before


# -- contexts and springs --------------------------------------------------------------------------


def test_contexts_show_the_other_frame_and_how_far_it_is() -> None:
    one, other = entry(), entry()
    rng = np.random.default_rng(0)
    angle = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    moved = other.atoms + 0.05 * rng.normal(size=(len(other.atoms), 1, 3))
    object.__setattr__(other, "atoms", (moved @ angle.T + 3).astype(np.float32))
    told = 0
    for seed in range(40):
        drawn = draw_md_context(np.random.default_rng(seed), one, other)
        seen = np.isfinite(drawn.level) & (drawn.level > 0)
        if seen.sum() > 30 and np.ptp(drawn.level[seen]) == 0 and not drawn.encoded:
            off = np.sqrt(((drawn.backbone - one.backbone)[seen, 1] ** 2).sum(-1).mean())
            told += np.isclose(off, 0.0866, rtol=0.25)  # superposed again, however it was turned
            assert drawn.hidden.any()
    assert told >= 8


def test_tuned_springs_are_used_at_their_own_size() -> None:
    springs = load_springs("default", "cpu")
    assert (springs.near, springs.learned_share) == (NEAR, LEARNED_SHARE)
    backbone = helix(len(SEQUENCE))  # stiff: its motion is not limited
    arguments = backbone, SEQUENCE, np.arange(len(SEQUENCE)), springs
    before = ThermalMotion(*arguments).mean_square()
    springs.near, springs.learned_share = 1.0, 1.0
    after = ThermalMotion(*arguments).mean_square()
    assert after.mean() == pytest.approx(before.mean() / NEAR**2)
    covariance = springs.motions(*arguments[:3])[1]
    np.testing.assert_allclose(after, np.einsum("iaia->i", covariance), rtol=1e-6)


def test_samples_of_tuned_springs_fluctuate_as_much_as_the_simulation(frames, tmp_path) -> None:
    parts = [find_part("default", name) for name in ("tokenizer", "language_model", "motions")]
    model = assemble_model(*parts[:2], tmp_path / "model", "", motions=parts[2])
    write_frames(open_simulations([frames], None), tmp_path / "frames", 1000)
    found = MDFrames.read(tmp_path / "frames")
    same = fitted_amplitude(model, found, 16, 1, "cpu")
    assert same["near"] == pytest.approx(NEAR, rel=0.25)  # the simulation is of such samples
    mean = found.train.mean(0)
    train = (mean + 1.6 * (found.train - mean)).astype(np.float32)
    template = central_frame(found)
    train[template] = found.train[template]
    larger = replace(found, train=train)
    fitted = fitted_amplitude(model, larger, 16, 1, "cpu")
    assert fitted["near"] == pytest.approx(1.6 * same["near"], rel=0.05)
    set_amplitude(model / "motions", fitted["near"])
    assert load_springs(model, "cpu").near == fitted["near"]
    after = fitted_amplitude(model, larger, 16, 1, "cpu")
    assert abs(after["sampled"] / after["simulated"] - 1) < 0.12
    assert abs(fitted["sampled"] / fitted["simulated"] - 1) > 0.25


def test_the_central_frame_is_the_one_about_which_the_others_are(frames, tmp_path) -> None:
    write_frames(open_simulations([frames], None), tmp_path / "frames", 1000)
    found = MDFrames.read(tmp_path / "frames")
    rng = np.random.default_rng(1)
    train = found.train[0] + 0.05 * rng.normal(size=found.train.shape).astype(np.float32)
    train += 5 * rng.random((len(train), 1, 1, 3), np.float32)  # frames are superposed
    train[7] = found.train[0]
    assert central_frame(replace(found, train=train)) == 7
    assert found.train_places == [(0, frame) for frame in range(len(train))]


def test_starting_structures_have_ligands_beside_the_protein_and_no_water(frames, tmp_path) -> None:
    topology = frames.topology.copy()
    chain = topology.add_chain()
    for name, atom, element in (("ZN", "ZN", "Zn"), ("HOH", "O", "O")):
        residue = topology.add_residue(name, chain)
        topology.add_atom(atom, md.element.get_by_symbol(element), residue)
    beside = frames.xyz[:, :1] + np.float32([0.4, 0, 0])
    whole = md.Trajectory(np.concatenate([frames.xyz, beside + 9, beside], 1), topology)
    whole.unitcell_vectors = np.tile(9 * np.eye(3), (len(whole), 1, 1))
    simulations = open_simulations([whole], None)
    write_frames(simulations, tmp_path / "frames", 1000)
    write_starting_structures(simulations, MDFrames.read(tmp_path / "frames"), tmp_path)
    found = md.load(str(tmp_path / SEVERAL))
    assert [a.name for a in found.topology.atoms][frames.n_atoms :] == ["ZN"]
    np.testing.assert_allclose(found.xyz[0, -1], beside[0, 0], atol=0.001)


# -- training --------------------------------------------------------------------------------------


class Number(torch.nn.Module):
    """A weight that training lowers by its rate at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))


def test_training_ends_once_held_back_data_get_worse(tmp_path) -> None:
    def validate(model: Number) -> dict[str, float]:  # best near -0.3
        return {"held_back": float((model.weight + 0.3) ** 2)}

    saved = []
    trainer = StoppingTrainer(
        Number(),
        lambda model, batch, step: (model.weight.sum(), {"residues": 1}),
        lambda step: {},
        validate,
        lambda model, where: (where.mkdir(), saved.append(model.weight.item())),
        tmp_path,
        LoopConfig(learning_rate=0.1, warmup=0, ema=0.0, weight_decay=0, validate_every=1,
                   bf16=False, betas=(0.0, 0.9)),
        patience=4,
    )  # fmt: skip
    trainer.run(progress=False)
    best = trainer.best()
    assert trainer.step == best["step"] + 4 and 1 <= best["step"] <= 4
    assert trainer.start()["held_back"] == pytest.approx(0.09)
    assert abs(saved[-2] + 0.3) < 0.06  # the last is of the last step


def parts(model) -> dict[str, dict[str, bytes]]:
    return {
        name: tensors(find_part(model, name) / "weights_000.safetensors")
        for name in ("language_model", "motions")
    }


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_and_its_model_samples(frames, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(finetuning_networks, "CHECKPOINT_MINUTES", 0.0)  # after each step
    openmm_slm.finetune(frames, tmp_path / "whole", model=tiny, **QUICK)

    class Killed(BaseException):
        pass

    step = StoppingTrainer._train_step
    for at, network in ((1, "motions"), (2, "language_model"), (1, None)):

        def train_step(self, *arguments, at=at, network=network):
            if self.step == at and self.directory.name == network:
                raise Killed
            return step(self, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(StoppingTrainer, "_train_step", train_step)
            if network is None:
                openmm_slm.finetune(frames, tmp_path / "killed", model=tiny, **QUICK)
                continue
            with pytest.raises(Killed):
                openmm_slm.finetune(frames, tmp_path / "killed", model=tiny, **QUICK)
        assert not (tmp_path / "killed" / "config.json").exists()
        with pytest.raises(ValueError, match="seed"):
            openmm_slm.finetune(frames, tmp_path / "killed", model=tiny, seed=5, **QUICK)
    model = tmp_path / "killed"
    assert parts(model) == parts(tmp_path / "whole")
    assert parts(model) != parts(tiny)
    assert table_of(model) == table_of(tmp_path / "whole")
    assert sorted(path.name for path in model.iterdir() if not path.name.startswith(".")) == [
        "README.md", "backmapping", "central.pdb", "config.json", "finetune.json", "frames.pdb",
        "language_model", "motions", "packer", "tokenizer",
    ]  # fmt: skip
    assert len(verify_model(model)) == 7
    card, record = (
        (model / "README.md").read_text(),
        json.loads((model / "finetune.json").read_text()),
    )
    (given,) = record["trajectories"]
    assert (given["frames"], given["held_back"]) == (40, 8)
    assert given["sha256"] in card and SEQUENCE in card and "trained on the trajectories" in card
    assert f"(`near`) is {load_springs(model, 'cpu').near:.2f} times the motion" in card
    central = md.load(str(model / CENTRAL))
    same = [k for k in range(32) if np.abs(frames.xyz[k] - central.xyz[0]).max() < 0.001]
    several = md.load(str(model / SEVERAL))
    np.testing.assert_allclose(several.xyz[[0, -1]], frames.xyz[[0, 31]], atol=0.001)
    assert (
        several.n_frames == 10 and len(same) == 1 and central.topology.n_atoms == frames.n_atoms
    )  # of the part for training
    samples = openmm_slm.generate_ensemble(
        SEQUENCE, 3, template=central, model=model, seed=1, progress=False, device="cpu"
    )
    assert np.isfinite(samples.xyz).all()
    written = (model / "README.md").stat().st_mtime_ns
    openmm_slm.finetune(frames, model, model=tiny, **QUICK)  # it is finished
    assert (model / "README.md").stat().st_mtime_ns == written


@pytest.mark.slow
def test_command(frames, tiny, tmp_path) -> None:
    frames.save_xtc(str(tmp_path / "md.xtc"))
    frames[0].save_pdb(str(tmp_path / "md.pdb"))
    options = ["--top", tmp_path / "md.pdb", "-o", tmp_path / "out", "--model", tiny, "--steps", 1,
               "--samples", 4, "--device", "cpu"]  # fmt: skip
    command = ["finetune", tmp_path / "md.xtc", *options]
    done = CliRunner().invoke(main, [str(each) for each in command])
    assert done.exit_code == 0, done.output
    for row in (
        "nats per token",
        "mean RMSF",
        "before",
        "after",
        "jitter",
        "ANM",
        "MD, training part",
    ):
        assert row in done.output
    done = CliRunner().invoke(main, [str(each) for each in [*command, "--seed", 2]])
    assert done.exit_code == 2 and "choose another output folder" in done.output
