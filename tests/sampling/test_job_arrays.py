"""Many sequences by job arrays: shards, what fails, and SLURM's way of running them."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import openmm_slm
from openmm_slm.cli.main import main
from openmm_slm.errors import SLMError
from openmm_slm.files.ensemble_folder import read_run
from openmm_slm.files.job_shards import JobShard
from openmm_slm.sampling.many_sequences import sample_fasta

ROOT = Path(__file__).parents[2]
FILES = ("topology.pdb", "samples.xtc", "report.csv")
RECORDS = {
    "trpcage": "NLYIQWLKDGGPSSGRPPPS", "chignolin": "GYDPETGTWG", "dimer": "ACDE:FGHI",
    "sp|P1|four": "GYDPETGTWGKLACDE", "five": "KWKLFKKIEKVGQ", "six": "GIGAVLKVLTTGLPALIS",
}  # fmt: skip
OPTIONS = ("-n", "3", "--seed", "5")


def write_fasta(path: Path, records: dict[str, str] = RECORDS) -> Path:
    path.write_text("".join(f">{name} of a test\n{text}\n" for name, text in records.items()))
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "openmm_slm", *map(str, arguments)]


def one_thread() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENMM_CPU_THREADS": "1"}


def contents(folder: Path) -> dict[str, bytes]:
    """Files of all ensembles below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*")) if path.name in FILES
    }  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The ensembles of one run that is not in shards, one thread."""
    where = tmp_path_factory.mktemp("whole")
    fasta = write_fasta(where / "in.fasta")
    made = subprocess.run(
        command("sample", fasta, *OPTIONS, "-o", where / "out"),
        capture_output=True, text=True, env=one_thread(),
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return contents(where / "out")


# -- who takes what ------------------------------------------------------------------------------


@given(
    st.dictionaries(st.text("ab1", min_size=1), st.floats(1, 1e6), max_size=40), st.integers(1, 12)
)
def test_every_record_is_in_one_shard_and_none_has_far_too_much(costs, count):
    shares = [JobShard(number, count).share(costs) for number in range(1, count + 1)]
    assert sorted(name for share in shares for name in share) == sorted(costs)
    loads = [sum(costs[name] for name in share) for share in shares]
    # Graham's bound: the best there can be is at least the mean, and at least the dearest.
    if costs:
        assert max(loads) <= sum(costs.values()) / count * 1.000001 + max(costs.values())


def test_shards_do_not_depend_on_the_order_of_the_file_and_are_balanced():
    costs = {f"p{i}": float(20 + 997 * i % 1000) for i in range(1000)}
    turned = dict(reversed(costs.items()))
    loads = []
    for number in range(1, 9):
        mine = JobShard(number, 8).share(costs)
        assert set(mine) == set(JobShard(number, 8).share(turned))
        assert mine == [name for name in costs if name in set(mine)]  # in the order of the file
        loads.append(sum(costs[name] for name in mine))
    assert max(loads) < 1.01 * min(loads)


def test_more_tasks_than_records():
    assert JobShard(2, 10**12).share({"a": 1.0, "b": 2.0}) == ["a"]
    assert JobShard(10**12, 10**12).share({"a": 1.0, "b": 2.0}) == []


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("0/8", "numbered from 1: 1/8 to 8/8 (with SLURM: --array=1-8)"), ("9/8", "1/8 to 8/8"),
        ("3", "as in 3/8"), ("", "as in 3/8"), ("a/b", "as in 3/8"), ("-1/3", "as in 3/8"),
        ("1/0", "as in 3/8"), ("1/2/3", "as in 3/8"), ("²/3", "as in 3/8"), ("1.0/2", "as in 3/8"),
    ],
)  # fmt: skip
def test_a_shard_that_is_none_is_named_with_the_remedy(text, remedy, tmp_path):
    with pytest.raises(SLMError) as caught:
        JobShard.of(text)
    assert repr(text) in str(caught.value) and remedy in str(caught.value)
    fasta = write_fasta(tmp_path / "in.fasta")
    refused = CliRunner().invoke(
        main, ["sample", str(fasta), "--shard", text, "-o", str(tmp_path / "out")]
    )
    assert refused.exit_code == 2 and remedy in refused.output
    assert not (tmp_path / "out").exists()


def test_one_sequence_has_no_shards(tmp_path):
    refused = CliRunner().invoke(
        main, ["sample", "GYDPETGTWG", "--shard", "1/4", "-o", str(tmp_path / "out")]
    )
    assert refused.exit_code == 2 and "its own --seed" in refused.output


@pytest.mark.slow
def test_shards_that_run_at_once_in_one_folder_make_what_one_run_makes(whole, tmp_path):
    fasta = write_fasta(tmp_path / "in.fasta")
    tasks = [
        subprocess.Popen(
            command("sample", fasta, *OPTIONS, "--shard", f"{number}/3", "-o", tmp_path / "out"),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=one_thread(),
        )
        for number in (1, 2, 3)
    ]  # fmt: skip
    said = [task.communicate(timeout=300) for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0, 0], said
    assert contents(tmp_path / "out") == whole
    assert sum(out.count("samples.xtc") for out, _ in said) == len(RECORDS)
    assert not list((tmp_path / "out").glob("failures*.csv"))


# -- what fails ----------------------------------------------------------------------------------

BAD = {"letters": "ACDXF", "ok": "GYDPETGTWG", "none": "", "long": "A" * 1025, "starved": "ACDEFGH"}


@pytest.fixture
def starving(monkeypatch):
    """A sequence for which there is no memory."""
    write = openmm_slm.EnsembleGenerator.write

    def refuse(self, sequence, *arguments, **settings):
        if sequence == BAD["starved"]:
            raise MemoryError("12 GiB\nwere asked for")
        return write(self, sequence, *arguments, **settings)

    monkeypatch.setattr(openmm_slm.EnsembleGenerator, "write", refuse)


def failures(path: Path) -> dict[str, str]:
    with open(path, newline="") as handle:
        return {row["name"]: row["reason"] for row in csv.DictReader(handle)}


def test_what_fails_is_reported_and_passed_over_and_tried_again(tmp_path, starving, caplog):
    fasta, out = write_fasta(tmp_path / "in.fasta", BAD), tmp_path / "out"
    arguments = ["sample", str(fasta), "-n", "1", "--seed", "1", "-o", str(out)]
    first = CliRunner().invoke(main, arguments)
    assert first.exit_code == 1 and "Traceback" not in first.output
    (line,) = [line for line in first.output.splitlines() if line.startswith("openmm-slm: ")]
    assert "4 of 5 sequences failed" in line and "failures.csv" in line and "--resume" in line
    found = failures(out / "failures.csv")
    assert found.keys() == BAD.keys() - {"ok"}
    assert "'X' at position 4" in found["letters"] and "empty" in found["none"]
    assert "1025 residues" in found["long"]
    assert found["starved"] == "MemoryError: 12 GiB were asked for"
    for name, reason in found.items():
        assert f"{name} is skipped: {reason}" in caplog.text
    assert contents(out).keys() == {f"ok/{name}" for name in FILES}
    # The mistakes are put right, and there is memory.
    before = {path: path.stat().st_mtime_ns for path in (out / "ok").iterdir()}
    write_fasta(fasta, {name: text if name == "ok" else "ACDEF" for name, text in BAD.items()})
    second = CliRunner().invoke(main, [*arguments, "--resume"])
    assert second.exit_code == 0, second.output
    assert {path.parent.name for path in out.glob("*/samples.xtc")} == BAD.keys()
    assert not (out / "failures.csv").exists()
    same = {path: when for path, when in before.items() if path.name in FILES}
    assert all(path.stat().st_mtime_ns == when for path, when in same.items())


def test_failures_of_a_shard_have_a_table_of_their_own(tmp_path):
    fasta = write_fasta(tmp_path / "in.fasta", {"a": "ACDX", "b": "GYDPETGTWG", "c": "AXA"})
    settings = {"seed": 1, "progress": False, "device": "cpu"}
    runs = [sample_fasta(fasta, tmp_path / "out", 1, shard=f"{i}/2", **settings) for i in (1, 2)]
    assert {name for run in runs for name in run.failures} == {"a", "c"}
    assert [folder.name for run in runs for folder in run.folders] == ["b"]
    for number, run in enumerate(runs, 1):
        assert run.table == tmp_path / "out" / f"failures_{number}_of_2.csv"
        assert (failures(run.table) if run.table.exists() else {}) == run.failures


def test_a_setting_that_no_record_can_have_is_refused_before_any_work(tmp_path):
    fasta = write_fasta(tmp_path / "in.fasta", {"bad": "AXA", "good": "ACDEF"})
    for wrong in (["--temperature", "-1"], ["--steps", "5"], ["--model", "nope"]):
        refused = CliRunner().invoke(
            main, ["sample", str(fasta), *wrong, "-o", str(tmp_path / "out")]
        )
        assert refused.exit_code == 2 and wrong[0].strip("-") in refused.output
        assert not (tmp_path / "out").exists()


def test_without_resume_nothing_that_is_there_is_touched(tmp_path):
    fasta = write_fasta(tmp_path / "in.fasta", {"b": "ACDEF", "a": "ACDE"})
    settings = {"seed": 1, "progress": False, "device": "cpu"}
    sample_fasta(write_fasta(tmp_path / "b.fasta", {"b": "ACDEF"}), tmp_path / "out", 1, **settings)
    with pytest.raises(SLMError, match=r"b already holds an ensemble.*--resume"):
        sample_fasta(fasta, tmp_path / "out", 1, **settings)
    assert not (tmp_path / "out" / "a").exists()


def test_each_record_draws_and_keeps_a_seed_of_its_own(tmp_path):
    fasta = write_fasta(tmp_path / "in.fasta", {"b": "ACDEF", "a": "ACDEF"})
    quiet = {"progress": False, "device": "cpu"}
    runs = [sample_fasta(fasta, tmp_path / "out", n, resume=True, **quiet) for n in (1, 2)]
    seeds = [read_run(folder)["seed"] for folder in runs[1].folders]
    assert len(set(seeds)) == 2 and runs[0] == runs[1]


# -- SLURM ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_slurm_example_under_a_scheduler_that_kills_and_requeues_a_task(whole, tmp_path):
    write_fasta(tmp_path / "proteome.fasta")
    # The environment's openmm-slm, as a user who activated it has it.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    longest = max(RECORDS, key=lambda name: len(RECORDS[name]))  # the dearest: it is in shard 1

    def sbatch(*options: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, ROOT / "tests" / "support" / "stub_sbatch.py", *options,
             ROOT / "examples" / "slurm_array.sh", "proteome.fasta", "ensembles", *OPTIONS],
            cwd=tmp_path, env={**os.environ, "PATH": path, **environment},
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip

    ran = sbatch(KILL=f"1:{tmp_path / 'ensembles' / longest / 'run.json'}")
    logs = [(tmp_path / f"ensembles_{n}.log").read_text() for n in range(1, 5)]
    assert ran.returncode == 0, (ran.stderr, logs)
    assert contents(tmp_path / "ensembles") == whole
    assert sum(log.count("samples.xtc") for log in logs) == len(RECORDS)
    assert ran.stdout == "task 1 was killed and is requeued\n"
    # An ensemble that is lost is made again by its shard alone.
    shutil.rmtree(tmp_path / "ensembles" / longest)
    assert sbatch("--array=1").returncode == 0
    assert contents(tmp_path / "ensembles") == whole
