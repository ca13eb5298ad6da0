"""Relaxing many frames: in processes, to disk, as a command and as part of sampling."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys

import mdtraj as md
import numpy as np
import pytest
from all_atoms import villin_path
from click.testing import CliRunner
from frames_to_relax import ALONE, QUIET, changed
from openmm import unit

import openmm_slm
from openmm_slm.cli.main import main
from openmm_slm.errors import SLMError
from openmm_slm.relaxation.relaxation_settings import RelaxationSettings
from openmm_slm.relaxation.relaxation_workers import WorkerPool
from openmm_slm.relaxation.relaxer import Relaxer

# -- many at once ----------------------------------------------------------------------------


def test_copies_in_one_system_come_out_as_alone(villin, relaxed):
    bad = changed(villin, 4, [7], np.nan)
    many = openmm_slm.relax(bad, copies=3, progress=False)
    assert many.report["valid"].tolist() == [True] * 4 + [False, True]
    sound = [0, 1, 2, 3, 5]
    off = np.linalg.norm(many.trajectory.xyz - relaxed.trajectory.xyz, axis=-1)[sound]
    assert np.median(np.sqrt((off**2).mean(1))) < 0.01
    np.testing.assert_allclose(
        many.report["energy_after_kj_mol"][sound],
        relaxed.report["energy_after_kj_mol"][sound], rtol=0.2,
    )  # fmt: skip


def test_worker_processes_change_nothing_and_one_that_dies_costs_one_frame(villin, relaxed):
    frames = [0, 1, 2, 3]
    pool = WorkerPool(villin.topology, RelaxationSettings(), 2)
    try:
        os.kill(pool._workers[0]._process.pid, signal.SIGKILL)
        pool._workers[0]._process.wait()
        found = pool.relax(villin.xyz[frames], 0)
        assert [bool(frame.error) for frame in found] == [True, False, False, False]
        assert "process" in found[0].error
        np.testing.assert_array_equal(found[0].xyz, villin.xyz[0])
        for i in frames[1:]:
            np.testing.assert_array_equal(found[i].xyz, relaxed.trajectory.xyz[i])
        again = pool.relax(villin.xyz[:1], 0)[0]
        np.testing.assert_array_equal(again.xyz, relaxed.trajectory.xyz[0])
    finally:
        pool.close()
    assert all(worker._process.returncode is not None for worker in pool._workers)


def test_a_script_needs_no_guard_no_torch_and_leaves_no_process(peptide, tmp_path):
    """Neither torch in this process nor the user's script again in the workers."""
    md.join([peptide] * 2).save_xtc(str(tmp_path / "x.xtc"))
    peptide[0].save_pdb(str(tmp_path / "x.pdb"))
    code = (
        "import sys, mdtraj, openmm_slm\n"
        "print('once')\n"
        "traj = mdtraj.load('x.xtc', top='x.pdb')\n"
        "res = openmm_slm.relax(traj, processes=2, iterations=5, progress=False)\n"
        "print(len(res.report['valid']), 'torch' in sys.modules)\n"
    )
    (tmp_path / "script.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["once", "8", "False"]


def test_annealing_repeats_and_does_not_depend_on_the_frames_before(peptide):
    options = {"anneal": 0.2, "seed": 3, "iterations": 10, **ALONE}
    all_four = openmm_slm.relax(peptide, **options).trajectory.xyz
    settings = RelaxationSettings(anneal=0.2, seed=3, iterations=10)
    with Relaxer(peptide.topology, settings, processes=1) as relaxer:
        last, _ = relaxer.relax(peptide.xyz[3:], first=3)
    np.testing.assert_array_equal(last[0], all_four[3])
    other = openmm_slm.relax(peptide[:1], **{**options, "seed": 4}).trajectory.xyz
    assert np.abs(other[0] - all_four[0]).max() > 0.005
    with pytest.raises(SLMError, match="anneal"):
        openmm_slm.relax(peptide, anneal=1, copies=2, progress=False)


# -- to disk, and as part of sampling --------------------------------------------------------


def test_streaming_resumes_and_the_command_does_the_same(peptide, tmp_path, monkeypatch):
    monkeypatch.setattr("openmm_slm.relaxation.relaxing.BLOCK", 3)
    md.join([peptide] * 2).save_dcd(str(tmp_path / "x.dcd"))
    peptide[0].save_pdb(str(tmp_path / "x.pdb"))
    settings = {"top": tmp_path / "x.pdb", "iterations": 5, **ALONE}
    whole = openmm_slm.relax(tmp_path / "x.dcd", output=tmp_path / "whole", **settings)
    made, left = Relaxer.relax, iter(range(1))

    def stops(self, *arguments):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return made(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Relaxer, "relax", stops)
        with pytest.raises(KeyboardInterrupt):
            openmm_slm.relax(tmp_path / "x.dcd", output=tmp_path / "cut", **settings)
    assert json.loads((tmp_path / "cut/progress.json").read_text())["frames"] == 3
    openmm_slm.relax(tmp_path / "x.dcd", output=tmp_path / "cut", resume=True, **settings)
    arguments = ["relax", str(tmp_path / "x.dcd"), "--top", str(tmp_path / "x.pdb"), "-o"]
    arguments += [str(tmp_path / "cli"), "--iterations", "5", "--processes", "1"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    for name in ("samples.xtc", "report.csv", "topology.pdb"):
        for other in ("cut", "cli"):
            assert (tmp_path / other / name).read_bytes() == (whole / name).read_bytes()
    traj = md.load(str(tmp_path / "x.dcd"), top=str(tmp_path / "x.pdb"))
    memory = openmm_slm.relax(traj, iterations=5, **ALONE)
    disk = md.load(str(whole / "samples.xtc"), top=str(whole / "topology.pdb"))
    np.testing.assert_allclose(disk.xyz, memory.trajectory.xyz, atol=1.5e-3)
    with open(whole / "report.csv") as handle:
        rows = list(csv.DictReader(handle))
    assert [int(row["frame"]) for row in rows] == list(range(8))
    assert [row["valid"] == "1" for row in rows] == memory.report["valid"].tolist()


def test_sampling_relaxes_and_a_frame_stays_itself(tmp_path):
    options = {"seed": 2, "relax": {"iterations": 10}, "progress": False}
    generator = openmm_slm.EnsembleGenerator.from_pretrained(device="cpu")
    whole = generator.sample("GYDPETGTWG", 6, **options)
    where = generator.write("GYDPETGTWG", tmp_path / "o", 3, batch_size=2, **options)
    generator.write("GYDPETGTWG", where, 6, batch_size=4, resume=True, **options)
    disk = md.load(str(where / "samples.xtc"), top=str(where / "topology.pdb"))
    # Blocks of other sizes round otherwise by 1e-4 nm, and minimising makes more of it.
    off = np.sqrt(((disk.xyz - whole.trajectory.xyz) ** 2).sum(-1).mean(-1))
    assert off.max() < 2e-3
    run = json.loads((where / "run.json").read_text())
    assert run["relax"]["iterations"] == 10 and run["environment"]["openmm"]
    report = whole.report
    assert (report["energy_after_kj_mol"] < report["energy_before_kj_mol"]).all()
    assert report["valid"].sum() >= report["valid_before"].sum()
    result = CliRunner().invoke(
        main, ["sample", "GYDPETGTWG", "-n", "1", "--relax", "-o", str(tmp_path / "cli")]
    )
    assert result.exit_code == 0, result.output


# -- what cannot be done ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"forcefield": "amber77"}, "amber77"), ({"forcefield": []}, "forcefield"),
        ({"solvent": "milk"}, "vacuum, obc2, gbn2"), ({"platform": "Abacus"}, "CPU"),
        ({"restraint": -1}, "restraint is -1"), ({"iterations": 0}, "iterations is 0"),
        ({"cutoff": 0}, "cutoff is 0"), ({"tolerance": "fine"}, "tolerance is 'fine'"),
        ({"restraint": 3 * unit.kelvin}, "restraint is 3 K"), ({"processes": 0}, "processes is 0"),
        ({"copies": 2, "processes": 2}, "one or the other"), ({"resume": True}, "output"),
        ({"cis_allowed": [99]}, "rows 0 to 7"), ({"disulfides": [(0, 1)]}, "not CYS"),
        ({"seed": -1}, "seed is -1"),
    ],
)  # fmt: skip
def test_bad_settings_are_named(peptide, options, named):
    with pytest.raises(ValueError, match=named):
        openmm_slm.relax(peptide, **{**QUIET, **options})


def test_what_does_not_fit_a_force_field_is_named(peptide):
    bare = peptide.atom_slice([a.index for a in peptide.topology.atoms if a.element.symbol != "H"])
    with pytest.raises(SLMError, match=r"ALA.*openmm_slm\.complete"):
        openmm_slm.relax(bare, **QUIET)
    water = md.load(villin_path())
    with pytest.raises(SLMError, match="(Cl|HOH).*atom_slice"):
        openmm_slm.relax(water, **QUIET)
    for options, named in (({"sidechains": None}, "all atoms"), ({"hydrogens": False}, "all atom")):
        with pytest.raises(ValueError, match=named):
            openmm_slm.generate_ensemble("GYDPETGTWG", 1, relax=True, **options, **QUIET)
    for relax, named in (("yes", "'yes'"), ({"solvant": "obc2"}, "solvant")):
        with pytest.raises(ValueError, match=named):
            openmm_slm.generate_ensemble("GYDPETGTWG", 1, relax=relax, **QUIET)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nowhere.pdb"], "nowhere.pdb"), (["XTC"], "--top"), (["XTC", "--top", "XTC"], "read"),
        (["PDB", "--forcefield", "amber77"], "amber77"), (["PDB", "--platform", "X"], "CPU"),
        (["TEXT"], "cannot be read"),
    ],
)  # fmt: skip
def test_bad_input_gives_one_line_and_exit_code_2(peptide, arguments, named, tmp_path):
    peptide[0].save_pdb(str(tmp_path / "x.pdb"))
    peptide.save_xtc(str(tmp_path / "x.xtc"))
    (tmp_path / "y.pdb").write_text("nothing\n")
    places = {name: str(tmp_path / file) for name, file in
              (("XTC", "x.xtc"), ("PDB", "x.pdb"), ("TEXT", "y.pdb"))}  # fmt: skip
    arguments = [places.get(a, a) for a in arguments]
    result = CliRunner().invoke(main, ["relax", *arguments, "-o", str(tmp_path / "out")])
    assert result.exit_code == 2 and result.exception.__class__ is SystemExit
    assert named in result.output and len(result.output.strip().splitlines()) == 1
