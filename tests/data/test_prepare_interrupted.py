"""`openmm-slm prepare`: a run that was stopped goes on to the same bytes."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from structure_folders import contents, report, sequence, write

from openmm_slm.data.merge import summarise
from openmm_slm.data.prepare import prepare
from openmm_slm.errors import SLMError

QUIET = {"progress": False, "processes": 1}
LINUX = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc")


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    """60 files, one in ten of which is bad."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(60):
        if number % 10 == 7:
            (folder / f"f{number:02d}.pdb").write_text("ATOM  rubbish\n")
        else:
            text = f"{sequence(number, 150)}:{sequence(number % 7, 90)}"
            write(folder / f"f{number:02d}.{'cif' if number % 2 else 'pdb'}", text, number)
    return folder


@pytest.fixture(scope="module")
def uninterrupted(many, tmp_path_factory) -> dict[str, bytes]:
    out = prepare(many, tmp_path_factory.mktemp("whole") / "out", test_share=0.3, **QUIET)
    return contents(out)


def test_processes_do_not_change_a_byte(many, uninterrupted, tmp_path):
    out = prepare(many, tmp_path / "out", test_share=0.3, processes=3, progress=False)
    assert contents(out) == uninterrupted


def test_a_finished_folder_is_left_alone_and_other_settings_are_refused(
    many, uninterrupted, tmp_path, caplog
):
    out = tmp_path / "out"
    for name, content in uninterrupted.items():
        out.mkdir(exist_ok=True)
        (out / name).write_bytes(content)
    times = {name: (out / name).stat().st_mtime_ns for name in contents(out)}
    with caplog.at_level(logging.INFO):
        prepare(many, out, test_share=0.3, **QUIET)
    assert "is finished" in caplog.text
    assert {name: (out / name).stat().st_mtime_ns for name in contents(out)} == times
    with pytest.raises(SLMError, match="prepared with test_share 0.3, now it is 0.1"):
        prepare(many, out, test_share=0.1, **QUIET)
    with pytest.raises(SLMError, match="prepared with inputs"):
        prepare(many / "f00.pdb", out, test_share=0.3, **QUIET)
    (out / "prepare.json").unlink()
    with pytest.raises(SLMError, match="holds other shards"):
        prepare(many, out, test_share=0.3, **QUIET)


def begin(many: Path, out: Path, processes: int = 2) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "openmm_slm", "prepare", str(many), "-o", str(out),
         "--test-share", "0.3", "--processes", str(processes)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def until(condition, process: subprocess.Popen, seconds: float = 30):
    """Value of `condition` once it is true; the process must still run then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        assert process.poll() is None, "it ended too early"
        time.sleep(0.002)
    raise AssertionError("waited in vain")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(many, uninterrupted, tmp_path, how):
    if how == signal.SIGINT and signal.getsignal(how) == signal.SIG_IGN:
        pytest.skip("SIGINT is ignored here (a shell's background job)")
    out = tmp_path / "out"
    process = begin(many, out)
    until(lambda: list(out.glob("parts/*.npz")), process)
    process.send_signal(how)
    assert process.wait(10) != 0
    assert not (out / "index.csv").exists()
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("parts/*.npz")}
    assert 0 < len(before) < 4  # of 4 parts: it was in the middle
    assert begin(many, out, processes=1).wait(30) == 0
    assert contents(out) == uninterrupted


@LINUX
@pytest.mark.parametrize("deaths", [1, 2])
def test_a_worker_that_dies_costs_at_most_the_file_it_read(many, uninterrupted, tmp_path, deaths):
    """The file is a pipe: its reader waits there, to be shot."""
    folder, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(many, folder)
    text = (folder / "f04.pdb").read_bytes()
    (folder / "f04.pdb").unlink()
    os.mkfifo(folder / "f04.pdb")
    process = begin(folder, out)
    for _ in range(deaths):
        handle, victim = until(lambda: reader(folder / "f04.pdb"), process)
        os.kill(victim, signal.SIGKILL)
        os.close(handle)
        until(lambda v=victim: not reads(v, folder / "f04.pdb"), process)  # or it is shot twice
    if deaths == 1:
        handle, _ = until(lambda: reader(folder / "f04.pdb"), process)
        os.set_blocking(handle, True)
        with open(handle, "wb") as stream:
            stream.write(text)
    assert process.wait(30) == 0
    rows = report(out)
    if deaths == 1:
        assert contents(out)["shard_000.atoms.npy"] == uninterrupted["shard_000.atoms.npy"]
    else:
        assert rows["f04"]["reason"] == "unreadable" and "died, twice" in rows["f04"]["detail"]
        assert summarise(out)["kept"] == 54 * 2 - 2


def reader(pipe: Path) -> tuple[int, int] | None:
    """(open handle, process that reads the pipe), or None as long as there is none."""
    try:
        handle = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None
    while True:
        for process in Path("/proc").glob("[0-9]*"):
            number = int(process.name)
            if number != os.getpid() and reads(number, pipe):
                return handle, number


def reads(process: int, pipe: Path) -> bool:
    """Whether a process has the pipe open."""
    with contextlib.suppress(OSError):  # it may end at any moment
        for handle in os.listdir(f"/proc/{process}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{process}/fd/{handle}") == str(pipe):
                    return True
    return False
