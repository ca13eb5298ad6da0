"""Seeds that are drawn with the weights of frames."""

from __future__ import annotations

import json

import mdtraj as md
import numpy as np
import pytest
from click.testing import CliRunner
from helices import ensemble

import openmm_slm
from openmm_slm.analysis.weights import weights_text
from openmm_slm.cli.main import main
from openmm_slm.errors import SLMError

FRAMES = 12
VALID = np.ones(FRAMES, bool)


@pytest.fixture(scope="module")
def traj():
    return ensemble(frames=FRAMES)


def drawn(traj, n: int, weights, report=VALID, seed: int = 0) -> np.ndarray:
    return openmm_slm.select_seeds(traj, n, report=report, weights=weights, seed=seed)


def test_frames_are_drawn_as_often_as_their_weights_say(traj):
    weights = np.r_[0.5, 0.2, 0.1, 0.1, 0.1, np.zeros(7)]
    counts = np.bincount(
        [drawn(traj, 1, 3 * weights, seed=seed)[0] for seed in range(1000)], minlength=FRAMES
    )
    used = weights > 0
    expected = 1000 * weights[used]
    assert ((counts[used] - expected) ** 2 / expected).sum() < 18.5  # 0.1 % of 4 degrees of freedom
    assert not counts[~used].any()


def test_seeds_differ_and_are_valid_and_follow_from_the_random_seed(traj):
    weights = np.arange(FRAMES)
    report = VALID.copy()
    report[11] = False
    chosen = drawn(traj, 5, weights, report, seed=3)
    assert len({*chosen.tolist()}) == 5 and not {0, 11} & {*chosen.tolist()}
    assert (drawn(traj, 5, weights, report, seed=3) == chosen).all()
    assert any((drawn(traj, 5, weights, report, seed=k) != chosen).any() for k in (4, 5))
    assert sorted(drawn(traj, 10, weights, report)) == list(range(1, 11))


def test_without_weights_all_frames_are_as_likely(traj):
    seen = {
        int(openmm_slm.select_seeds(traj, 1, "drawn", report=VALID, seed=seed)[0])
        for seed in range(100)
    }
    assert seen == set(range(FRAMES))


def test_weights_of_a_comparison_are_read(traj, tmp_path):
    rg = openmm_slm.compare(
        traj, experiment=[{"observable": "rg", "value": 0.8, "error": 0.3, "unit": "nm"}]
    ).experiment.values[:, 0]
    record = {"observable": "rg", "value": rg.max(), "error": np.ptp(rg) / 3, "unit": "nm"}
    found = openmm_slm.compare(traj, experiment=[record], reweight=True)
    found.save(tmp_path / "new")
    weights = found.experiment.reweighting.weights
    from_file = drawn(traj, 4, tmp_path / "new" / "weights.csv")
    assert (from_file == drawn(traj, 4, weights)).all()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"weights": np.ones(3)}, r"weights has shape .3,. for 12 frames"),
        ({"weights": -np.ones(FRAMES)}, "weights must be 0 or more"),
        ({"weights": np.r_[1, np.zeros(11)]}, "2 seeds of 1 valid frame with a weight above 0"),
        ({"weights": np.ones(FRAMES), "method": "kmeans"}, "takes no weights; give 'drawn'"),
        ({"weights": "nowhere.csv"}, "nowhere.csv: expected one weight per line"),
    ],
)
def test_weights_that_cannot_be_used(traj, arguments, named):
    with pytest.raises(SLMError, match=named):
        openmm_slm.select_seeds(traj, 2, report=VALID, **arguments)


def test_command_draws_with_weights_and_records_it(tmp_path):
    traj = openmm_slm.generate_ensemble("AFKPISTW", 3, seed=1, relax=True, progress=False)
    traj[0].save_pdb(str(tmp_path / "top.pdb"))
    traj.save_dcd(str(tmp_path / "x.dcd"))
    (tmp_path / "w.csv").write_text(weights_text(np.array([0.0, 0.0, 1.0])))
    arguments = [
        "seed", str(tmp_path / "x.dcd"), "--top", str(tmp_path / "top.pdb"), "--md", "-n", "1",
        "--weights", str(tmp_path / "w.csv"), "--solvent", "vacuum", "--equilibration", "0",
        "-o", str(tmp_path / "seeds"),
    ]  # fmt: skip
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    run = json.loads((tmp_path / "seeds" / "run.json").read_text())
    assert (run["frames"], run["method"]) == ([2], "drawn") and run["weights"].endswith("w.csv")
    assert md.load(str(tmp_path / "seeds" / "seed_000" / "topology.cif")).n_atoms == traj.n_atoms
    with pytest.raises(SLMError, match="frames and weights are given"):
        openmm_slm.seed_simulations(traj, frames=[0], weights=[1, 1, 1], report=np.ones(3, bool))
