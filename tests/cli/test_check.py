"""`openmm-slm check` tells an installation that works from each kind that does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from absent import without

import openmm_slm
from openmm_slm.cli.installation import _release, _requirement

PACKAGE = Path(openmm_slm.__file__).parent

CHECK = """
if __name__ == "__main__":
    sys.argv[1:] = ["--device", "cpu"]
    runpy.run_module("openmm_slm.testInstallation", run_name="__main__")
"""


def check(*command: str, where: Path | None = None, **environment: str) -> tuple[int, list[str]]:
    """Exit code and lines of a check in a process of its own; never a traceback."""
    command = command or ("-m", "openmm_slm", "check", "--device", "cpu")
    result = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        cwd=where,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )
    assert "Traceback" not in result.stdout + result.stderr, result.stderr
    return result.returncode, result.stdout.splitlines()


def failures(lines: list[str]) -> dict[str, str]:
    """Part -> its lines that failed."""
    split = [line.split(maxsplit=2) for line in lines if line.split()[1] == "FAILED"]
    return {part: "\n".join(t for p, _, t in split if p == part) for part, _, _ in split}


def parts(lines: list[str]) -> set[str]:
    return {line.split()[0] for line in lines} - {"openmm_slm"}


PARTS = {"versions", "device", "platforms", "models", "sample"}


def plugins(directory: Path, *, broken: str, others: bool) -> str:
    """A plugin directory with a file that is no library, and OpenMM's own plugins or not."""
    import openmm

    real = Path(openmm.version.openmm_library_path) / "plugins"
    directory.mkdir()
    (directory / broken).write_bytes(b"no library")
    for path in real.glob("*") if others else ():
        (directory / path.name).symlink_to(path)
    return str(directory)


def test_it_works_here():
    code, lines = check()
    assert code == 0 and not failures(lines) and lines[-1] == "openmm_slm works"
    assert parts(lines) == PARTS
    text = "\n".join(lines)
    assert "torch computes on cpu" in text and "Reference, CPU" in text
    assert "2 frames of GYDPETGTWG (138 atoms), relaxed, valid, in" in text


@pytest.mark.slow
def test_a_damaged_model_is_named_and_the_rest_is_tried(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "openmm_slm", ignore=shutil.ignore_patterns("__pycache__"))
    shard = tmp_path / "openmm_slm/models/default/packer/weights_000.safetensors"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    code, lines = check(where=tmp_path, PYTHONPATH=str(tmp_path))
    failed = failures(lines)
    assert code == 1 and set(failed) == {"models", "sample"} and parts(lines) == PARTS
    assert "default: " in failed["models"] and "checksum" in failed["models"]
    assert shard.name in failed["models"] and "--force-reinstall" in failed["models"]


@pytest.mark.slow
def test_absent_libraries_optional_and_needed():
    code, lines = check("-c", without(("deeptime", "mdtraj")) + CHECK)
    failed = failures(lines)
    assert code == 1 and parts(lines) == PARTS
    (note,) = [line for line in lines if "deeptime" in line]
    assert " note " in note and "pip install 'openmm_slm[compare]'" in note
    assert "mdtraj cannot be imported" in failed["versions"]
    assert "pip install 'mdtraj>=" in failed["versions"]
    assert "mdtraj" in failed["sample"] and "models" not in failed


@pytest.mark.slow
def test_plugins_that_do_not_load(tmp_path):
    """One that no one needs is noted; the check fails where the CPU platform is gone."""
    some = plugins(tmp_path / "some", broken="libWarp.so", others=True)
    code, lines = check(OPENMM_PLUGIN_DIR=some)
    assert code == 0
    assert any(" note " in line and "libWarp.so: " in line for line in lines)
    none = plugins(tmp_path / "none", broken="libOpenMMCPU.so", others=False)
    code, lines = check(OPENMM_PLUGIN_DIR=none)
    failed = failures(lines)
    assert code == 1 and parts(lines) == PARTS
    assert "no usable platform CPU" in failed["platforms"]
    assert f"unset OPENMM_PLUGIN_DIR ({none})" in failed["platforms"]


def test_requirements_are_read_as_the_metadata_has_them():
    assert _requirement('tmtools; extra == "compare"') == ("tmtools", "0", "compare")
    assert _requirement("openmm>=8.1") == ("openmm", "8.1", "")
    assert _requirement("numpy<3,>=1.26 ; extra=='x'") == ("numpy", "1.26", "x")
    assert _release("2.13.0+cpu") == (2, 13, 0) and _release("1.11.1.post2") == (1, 11, 1)
    assert _release("8.1") <= _release("8.1.0") < _release("8.10")
