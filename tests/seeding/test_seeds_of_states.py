"""Seeds of an ensemble of several states: so many of each."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner
from hinge import two_helices

import openmm_slm
from openmm_slm.cli.main import main


@pytest.fixture(scope="module")
def ensemble() -> openmm_slm.Ensemble:
    generator = openmm_slm.EnsembleGenerator.from_pretrained("default", device="cpu")
    given = [two_helices(psi) for psi in (-45.0, 60.0)]
    options = {"sidechains": None, "seed": 1, "progress": False}
    return generator.sample(given[0].sequence, 10, template=given, **options)


def test_each_state_gives_so_many_seeds(ensemble):
    good = np.ones(10, bool)
    for method in ("kcenters", "drawn"):
        chosen = openmm_slm.select_seeds(
            ensemble, 2, method, report={"valid": good, "state": ensemble.state}, per_state=True
        )
        assert ensemble.state[chosen].tolist() == [0, 0, 1, 1] and len(set(chosen)) == 4
    odd = ensemble.state == 1  # of the frames of state 1 alone, the ordinary choice
    alone = openmm_slm.select_seeds(ensemble, 2, report=odd)
    good = {"valid": good, "state": ensemble.state}
    assert openmm_slm.select_seeds(ensemble, 2, report=good, per_state=True)[2:].tolist() == (
        alone.tolist()
    )


def test_too_few_frames_of_a_state_and_no_states_are_named(ensemble, tmp_path):
    few = {"valid": ensemble.report["frame"] != 3, "state": ensemble.state}
    with pytest.raises(ValueError, match="state 1: 5 seeds of 4 valid frames"):
        openmm_slm.select_seeds(ensemble, 5, report=few, per_state=True)
    with pytest.raises(ValueError, match="no column 'state'; sample from several states"):
        openmm_slm.select_seeds(ensemble.trajectory, 1, per_state=True)
    with pytest.raises(ValueError, match="frames and per_state are given"):
        openmm_slm.write_seeds(
            ensemble, tmp_path / "s", report=few, frames=[0], per_state=True, progress=False
        )
    ensemble.trajectory.save_pdb(str(tmp_path / "x.pdb"))
    command = ["seed", str(tmp_path / "x.pdb"), "-o", str(tmp_path / "out"), "--per-state"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2 and "no column 'state'" in done.output
