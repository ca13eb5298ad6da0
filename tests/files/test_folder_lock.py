"""Two runs in one output folder: the second is refused, a killed one is in nobody's way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from killing import check_whole, files
from reference_sets import write_references
from toys import TINY_PACKER, write_side_chains

from openmm_slm.cli.main import main
from openmm_slm.errors import SLMError
from openmm_slm.files.folder_lock import FolderLock

SAMPLE = ("GYDPETGTWG", "-n", "12", "--seed", "1", "--batch-size", "2", "--device", "cpu")


def run(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_second_process_is_refused_and_goes_on_when_the_first_was_killed(tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "openmm_slm", "sample", *SAMPLE, "-o", str(out)]
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not (out / "progress.json").exists():
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        first.send_signal(signal.SIGSTOP)  # alive, and where it is
        before = files(out)
        second = run("sample", *SAMPLE, "--resume", "-o", out)
        assert second.exit_code == 2 and files(out) == before
        assert f"{out} is in use" in second.output
        assert len(second.output.strip().splitlines()) == 1
    finally:
        first.kill()
        first.wait()
    third = run("sample", *SAMPLE, "--resume", "-o", out)
    assert third.exit_code == 0, third.output
    check_whole(out)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """What the commands read."""
    where = tmp_path_factory.mktemp("inputs")
    assert run("sample", "GYDPETGTWG", "-n", "1", "-o", where / "frames").exit_code == 0
    (where / "in.fasta").write_text(">a\nACDEF\n>b\nACDE\n")
    write_side_chains(where / "shards")
    (where / "packer.json").write_text(json.dumps(TINY_PACKER))
    write_references(where / "references")
    return where


@pytest.mark.parametrize(
    "command",
    [
        "sample in.fasta -n 1 --shard 2/2", "complete frames/topology.pdb", "relax frames",
        "prepare frames/topology.pdb --min-length 5",
        "train packer packer.json --data shards --time-limit 1",
        "benchmark apo-holo --references references -n 2",
    ],
)  # fmt: skip
def test_every_command_that_goes_on_with_a_folder_is_refused(
    command, inputs, tmp_path, monkeypatch
):
    monkeypatch.chdir(inputs)
    name = "failures_2_of_2.lock" if "--shard" in command else ".lock"
    with FolderLock(tmp_path / "out", name):
        refused = run(*command.split(), "-o", tmp_path / "out")
        assert refused.exit_code == 2 and "is in use" in refused.output
    assert os.listdir(tmp_path / "out") == [name]


def test_the_lock_is_one_even_as_its_file_comes_and_goes(tmp_path):
    inside, most, taken = [], [], []
    begin = threading.Barrier(4)

    def compete(number: int) -> None:
        begin.wait()
        for _ in range(300):
            try:
                with FolderLock(tmp_path):
                    inside.append(number)
                    most.append(len(inside))
                    taken.append(number)
                    inside.remove(number)
            except SLMError:
                continue

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(compete, range(4)))
    assert max(most) == 1 and len(set(taken)) > 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SLMError, match="file.*cannot be written"):
        FolderLock(tmp_path / "file").__enter__()
