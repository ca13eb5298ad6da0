"""The wheel and the sdist, made and used as a stranger would, without a network.

    python tools/check_wheel.py           # a minute or three
    python tools/check_wheel.py --full     # with dependencies from the package index

What git tracks is copied to a temporary folder, an sdist is made of it and a wheel of the sdist
(`python -m build`), twine judges both, the wheel is compared with one made of the sources
themselves and with what git tracks, and installed in a new virtual environment whose commands are
then run from another folder.

Without --full that environment borrows the dependencies installed beside this Python: that their
names and versions can be had from the index is not shown.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
SMOKE = """
import json, sys
from pathlib import Path
import mdtraj, openmm_slm
home = Path(openmm_slm.__file__).parent
assert Path(sys.prefix) in home.parents, home
assert json.loads(Path("out/run.json").read_text())["sequence"] == "GYDPETGTWG"
assert mdtraj.load("out/samples.xtc", top="out/topology.pdb").n_frames == 2
print("used from", Path.cwd(), "installed in", home)
"""


def run(*command: object, where: Path, **environment: str) -> str:
    """Output of a command; what a command that fails says is shown before we stop."""
    result = subprocess.run(
        [str(part) for part in command],
        cwd=where,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if result.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{result.stdout}")
    return result.stdout


def copy_of_tracked(folder: Path) -> list[str]:
    """What git tracks, as it is in the working tree, copied to `folder`: names."""
    names = run("git", "ls-files", "-z", where=ROOT).split("\0")
    names = [name for name in names if name and (ROOT / name).is_file()]
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    return names


def contents(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


def build(work: Path) -> tuple[Path, Path]:
    """Make sdist and wheel; check them against the sources and each other."""
    source, again = work / "source", work / "again"
    tracked = copy_of_tracked(source)
    copy_of_tracked(again)
    tool = (sys.executable, "-m", "build", "--no-isolation")
    run(*tool, "--outdir", work / "dist", where=source, **OFFLINE)
    run(*tool, "--wheel", "--outdir", work / "direct", where=again, **OFFLINE)
    (sdist,), (wheel,) = (work / "dist").glob("*.tar.gz"), (work / "dist").glob("*.whl")
    (direct,) = (work / "direct").glob("*.whl")
    print(run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel, where=work).strip())

    found = contents(wheel)
    assert found == contents(direct), "the wheel of the sdist differs from that of the sources"
    package = [name for name in tracked if name.startswith("openmm_slm/")]
    for name in package:
        digest = hashlib.sha256((source / name).read_bytes()).hexdigest()
        assert found.get(name) == digest, f"{name} is missing from the wheel, or differs"
    more = [name for name in found if ".dist-info/" not in name and name not in package]
    assert not more, f"the wheel has what git does not track: {more}"
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    lost = [name for name in tracked if name not in inside and not Path(name).name.startswith(".")]
    assert not lost, f"the sdist lacks {lost}"
    weights = [name for name in package if name.endswith(".safetensors")]
    for path in (sdist, wheel):
        print(f"{path.name}: {path.stat().st_size / 2**20:.1f} MiB")
    print(f"{len(package)} files of the package, {len(weights)} of them weights, as git has them")
    return sdist, wheel


def use(wheel: Path, work: Path, full: bool) -> None:
    """Install in a new environment; check, sample and import from another folder."""
    venv.create(work / "venv", with_pip=True)
    here, python = work / "elsewhere", work / "venv" / "bin" / "python"
    here.mkdir()
    pip = (python, "-m", "pip", "install", "--quiet")
    if full:
        pinned = [s for s in (ROOT / "constraints.txt").read_text().split() if "torch==" in s]
        run(*pip, *pinned, where=here)  # first and alone: see constraints.txt
        run(*pip, "-c", ROOT / "constraints.txt", wheel, where=here)
    else:
        run(*pip, "--no-deps", wheel, where=here, **OFFLINE)
        (site,) = (work / "venv").glob("lib/python*/site-packages")
        (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = work / "venv" / "bin" / "openmm-slm"
    print(run(command, "check", "--device", "cpu", where=here).strip())
    run(command, "sample", "GYDPETGTWG", "-n", "2", "--seed", "1", "-o", "out", where=here)
    print(run(python, "-c", SMOKE, where=here).strip())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--full", action="store_true", help="download the dependencies as well")
    full = parser.parse_args().full
    start = time.perf_counter()
    os.environ.pop("PYTHONPATH", None)
    with tempfile.TemporaryDirectory() as folder:
        _, wheel = build(Path(folder))
        print(f"built in {time.perf_counter() - start:.0f} s")
        use(wheel, Path(folder), full)
    print(f"wheel and sdist work: {time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()
