"""Kill -9 at random moments: what is done again equals what was never killed, to the last bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mdtraj as md
import numpy as np
import pytest
from all_atoms import villin_path
from killing import Command, check_whole, files, relax_workers
from toys import TINY_PACKER, write_side_chains

from openmm_slm.files.ensemble_folder import EnsembleWriter
from openmm_slm.training.journal import Journal

KILLS = 4
PEPTIDE = "GYDPETGTWG"
pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL and fork are POSIX")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Of all processes started here: bits depend on the number."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OMP_NUM_THREADS", "OPENMM_CPU_THREADS", "MKL_NUM_THREADS"):
            patch.setenv(name, "1")
        yield


def protein() -> md.Trajectory:
    """A frame of 35 residues."""
    found = md.load(villin_path())
    return found.atom_slice(found.topology.select("protein"))


def kill_and_compare(root: Path, *arguments: object, again: tuple = (), **options: int) -> None:
    """Kill the command KILLS times at random moments of its time, each time followed by `again`.

    A run is killed until it is done, then the next one begins: some are killed once, some often.
    """
    Command(root / "log", "--version").finish()  # starts the server: no part of the time
    seconds = Command(root / "log", *arguments, "-o", root / "whole", **options).finish()
    check_whole(root / "whole")
    expected = files(root / "whole")
    rng = np.random.default_rng(11)
    kills = runs = 0
    while kills < KILLS:
        runs += 1
        where = root / f"run{runs}"
        command = Command(root / "log", *arguments, *again, "-o", where, **options)
        while kills < KILLS and command.kill(after=rng.uniform(0, seconds)):
            kills += 1
            check_whole(where)
        command.finish()
        assert files(where).keys() == expected.keys()
        for name, value in files(where).items():
            assert value == expected[name], (runs, name)


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory):
    """Frames to relax."""
    root = tmp_path_factory.mktemp("ensemble")
    Command(root / "log", "sample", PEPTIDE, "-n", 16, "--seed", 1, "-o", root / "out").finish()
    return root / "out"


@pytest.mark.slow
def test_sample(tmp_path):
    options = ("--seed", 1, "-n", 40, "--batch-size", 8, "--device", "cpu")
    kill_and_compare(tmp_path, "sample", PEPTIDE, *options, again=("--resume",))


@pytest.mark.slow
def test_sample_of_a_fasta_file(tmp_path):
    text = "".join(f">p{number}\n{PEPTIDE[number:]}\n" for number in range(4))
    (tmp_path / "in.fasta").write_text(text + ">bad\nAXA\n")
    options = ("--seed", 1, "-n", 8, "--batch-size", 4, "--device", "cpu")
    fails = Command(tmp_path / "log", "sample", tmp_path / "in.fasta", *options, "-o",
                    tmp_path / "all")  # fmt: skip
    process = fails.start()
    process.join(300)
    assert process.exitcode == 1  # one sequence is bad, and nothing was killed
    (tmp_path / "in.fasta").write_text(text)
    kill_and_compare(tmp_path, "sample", tmp_path / "in.fasta", *options, again=("--resume",))


@pytest.mark.slow
def test_relax(tmp_path, ensemble):
    before = relax_workers()
    options = ("--iterations", 30, "--processes", 2)
    kill_and_compare(tmp_path, "relax", ensemble, *options, again=("--resume",))
    deadline = time.monotonic() + 30
    while relax_workers() - before:  # what a killed run left behind ends by itself
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_prepare(tmp_path):
    (tmp_path / "pdbs").mkdir()
    rng = np.random.default_rng(0)
    chain = protein()
    still = chain.xyz
    for number in range(80):
        chain.xyz = still + rng.normal(0, 0.002, still.shape)
        chain.save_pdb(str(tmp_path / "pdbs" / f"p{number:03d}.pdb"))
    options = ("--validation-share", 0.2, "--processes", 2)
    kill_and_compare(tmp_path, "prepare", tmp_path / "pdbs", *options)


@pytest.mark.slow
def test_train(tmp_path):
    training = {**TINY_PACKER["training"], "steps": 16, "validate_every": 4}
    training["checkpoint_minutes"] = 0.0  # after each step
    (tmp_path / "config.json").write_text(json.dumps({**TINY_PACKER, "training": training}))
    options = ("--data", write_side_chains(tmp_path / "shards"), "--threads", 1, "--device", "cpu")
    config = tmp_path / "config.json"
    kill_and_compare(tmp_path, "train", "packer", config, *options, again=("--resume",))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for workers in /proc")
def test_ctrl_c_ends_the_workers_at_once_and_the_run_goes_on(tmp_path, ensemble):
    command = [sys.executable, "-m", "openmm_slm", "relax", str(ensemble), "--processes", "2"]
    subprocess.run([*command, "-o", str(tmp_path / "whole")], check=True, capture_output=True)
    before = relax_workers()
    command += ["-o", str(tmp_path / "stopped")]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # What a shell starts in the background ignores Ctrl-C, and so does what that starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while len(relax_workers() - before) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    text = process.communicate(timeout=20)[1]
    assert process.returncode == 1 and "Aborted" in text and "Traceback" not in text, text
    assert not relax_workers() - before
    check_whole(tmp_path / "stopped")
    subprocess.run([*command, "--resume"], check=True, capture_output=True)
    assert files(tmp_path / "stopped") == files(tmp_path / "whole")


# -- moments that chance seldom meets --------------------------------------------------------------


def test_a_finished_ensemble_is_not_lost_while_it_is_opened_to_be_extended(tmp_path, monkeypatch):
    traj = protein()
    run = {"sequence": "A", "seed": 1, "n": 2}
    report = {"frame": np.arange(1), "valid": np.ones(1, bool)}
    for number in range(2):
        with EnsembleWriter(tmp_path, run, resume=True) as writer:
            writer.add(traj, {**report, "frame": np.array([number])}, slice(None))
    before = files(tmp_path)

    class Killed(BaseException):
        pass

    def replace(path, target):
        rename(path, target)
        if str(target).endswith(".part"):
            raise Killed

    rename = Path.replace
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Path, "replace", replace)
        EnsembleWriter(tmp_path, {**run, "n": 3}, resume=True)
    with EnsembleWriter(tmp_path, {**run, "n": 3}, resume=True) as writer:
        assert writer.done == 2
        writer.add(traj, {**report, "frame": np.array([2])}, slice(None))
    check_whole(tmp_path)
    after = files(tmp_path)
    assert all(after[name].startswith(before[name]) for name in ("samples.xtc", "report.csv"))


def test_a_journal_that_was_killed_before_its_first_row(tmp_path):
    (tmp_path / "log.csv").touch()
    journal = Journal(tmp_path / "log.csv", 0)
    journal.write({"step": 1, "loss": 0.5})
    assert (tmp_path / "log.csv").read_text().split() == ["step,loss", "1,0.5"]
    assert journal.last == 1 and Journal(tmp_path / "log.csv", 0).last == -1
