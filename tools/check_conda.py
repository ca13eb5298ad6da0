"""The conda recipe: built, tested, solved, installed and used without a public channel.

    python tools/check_conda.py

Every distribution that the package and its tests need is made into a .conda package out of what is
installed beside this Python, in a channel in a temporary folder. Into it goes the package, which
rattler-build builds from what git tracks and tests in environments of its own; rattler then
installs it in an empty prefix and `openmm-slm sample` runs there. Caches are new each time: a stale
one lets failing tests pass.
"""

from __future__ import annotations

import asyncio
import os
import sys
import sysconfig
import tempfile
import time
from importlib import metadata
from pathlib import Path

from check_wheel import copy_of_tracked, run
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

# conda-forge's name where it is not that of the Python distribution.
CONDA = {
    "torch": "pytorch",
    "matplotlib": "matplotlib-base",
    "typing-extensions": "typing_extensions",
}
TOOLS = ("pip", "setuptools", "pytest", "hypothesis")  # that the recipe's build and tests ask for
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
ALONE = "include-system-site-packages = false"
NOT_PROVEN = """\
Not proven: that the public channel has packages of these names, new enough and for one Python
(here they are made of what pip installed, and depend on each other as their wheels say); any other
Python, system or version than those above; the interpreter, which is this machine's behind a link;
that conda-forge's lint and review accept the recipe."""


def main() -> None:
    start = time.perf_counter()

    def done(what: str) -> None:
        print(f"[{time.perf_counter() - start:5.0f} s] {what}", flush=True)

    with tempfile.TemporaryDirectory(prefix="conda-") as folder:
        work = Path(folder)
        (work / "tmp").mkdir()
        os.environ.update(
            RATTLER_CACHE_DIR=str(work / "cache"), TMPDIR=str(work / "tmp"), PYTHONNOUSERSITE="1"
        )
        os.environ.pop("PYTHONPATH", None)
        channel = work / "channel"
        size = make_channel(channel)
        done(f"{size} dependencies packed")
        package = build(work, channel)
        done(f"{package.name} built, its tests passed")
        prefix = asyncio.run(install(channel, work))
        records = list((prefix / "conda-meta").glob("*.json"))
        done(f"installed in an empty prefix: {len(records)} packages")
        sample(prefix, work)
        done("openmm-slm sample ran there")
    print(NOT_PROVEN)


def conda_name(distribution: str) -> str:
    name = canonicalize_name(distribution)
    return CONDA.get(name, name)


def needs(distribution: metadata.Distribution) -> list[str]:
    """Names of what a distribution needs on this machine, without its extras."""
    requirements = [Requirement(line) for line in distribution.requires or []]
    return [r.name for r in requirements if not r.marker or r.marker.evaluate({"extra": ""})]


def make_channel(channel: Path) -> int:
    """Pack this Python, what the package needs of it, and what that needs: how many."""
    pack_python(channel)
    waiting, packed = [*needs(metadata.distribution("openmm_slm")), *TOOLS], set()
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name not in packed:
            packed.add(name)
            distribution = metadata.distribution(name)
            pack(distribution, channel)
            waiting += needs(distribution)
    return len(packed) + 1


def pack(distribution: metadata.Distribution, channel: Path) -> None:
    """All files of a distribution but its commands, which name the interpreter they came with."""
    site, files = f"lib/{PYTHON}/site-packages", {}
    for file in distribution.files or []:
        source = Path(distribution.locate_file(file))
        if ".." not in file.parts and source.is_file():
            compiled = source.suffix == ".pyc"
            target = f"{site}/{file}"
            files[target] = undated(source, channel.parent / target) if compiled else source
    depends = ["python", *map(conda_name, needs(distribution))]
    write(channel, conda_name(distribution.name), distribution.version, depends, files)


def undated(compiled: Path, copy: Path) -> Path:
    """Bytecode that counts whatever the date of its source: archives here keep no dates."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    code = compiled.read_bytes()
    copy.write_bytes(code[:4] + (1).to_bytes(4, "little") + bytes(8) + code[16:])  # PEP 552
    return copy


def pack_python(channel: Path) -> None:
    """This machine's interpreter as a package: a virtual environment is a link and its home."""
    home = channel.parent / "python"
    home.mkdir()
    base = Path(sys._base_executable).resolve()
    (home / "pyvenv.cfg").write_text(f"home = {base.parent}\n{ALONE}\n")
    (home / "python").symlink_to(base)
    files = {f"bin/{name}": home / "python" for name in ("python", "python3", PYTHON)}
    files["pyvenv.cfg"] = home / "pyvenv.cfg"
    write(channel, "python", ".".join(map(str, sys.version_info[:3])), [], files)


def write(
    channel: Path, name: str, version: str, depends: list[str], files: dict[str, Path]
) -> None:
    from rattler import Subdir
    from rattler_build import FileEntry, assemble_package

    here = str(Subdir.current())
    (channel / here).mkdir(parents=True, exist_ok=True)
    assemble_package(
        name=name,
        version=Version(version).public,
        target_platform=here,
        build_string="0",
        output_dir=channel / here,
        files=[FileEntry.from_paths(source, target) for target, source in files.items()],
        depends=depends,
        compression_level=1,
        detect_prefix=False,
    )


def build(work: Path, channel: Path) -> Path:
    """Render, build and test the recipe of the tracked files with this channel alone."""
    from rattler import index
    from rattler_build import BuildError, Stage0Recipe, ToolConfiguration, VariantConfig

    (channel / "noarch").mkdir(exist_ok=True)
    asyncio.run(index.index_fs(channel))
    copy_of_tracked(work / "source")
    recipe = Stage0Recipe.from_file(work / "source" / "conda-recipe" / "recipe.yaml")
    try:
        (result,) = recipe.run_build(
            VariantConfig({"python_min": [sysconfig.get_python_version()]}),
            ToolConfiguration(test_strategy="native"),
            output_dir=channel,
            channels=[channel.as_uri()],
        )
    except BuildError as error:
        sys.exit("\n".join([*error.log, str(error)]))
    print(*(line.strip() for line in result.log if " passed" in line), sep="\n")
    (package,) = result.packages
    return Path(package)


async def install(channel: Path, work: Path) -> Path:
    """Solve for the package by its name alone, and install."""
    from rattler import Channel, Gateway, VirtualPackage, index, solve
    from rattler import install as link

    await index.index_fs(channel)
    records = await solve(
        sources=[Channel(channel.as_uri())],
        specs=["openmm_slm"],
        gateway=Gateway(cache_dir=work / "repodata"),
        virtual_packages=VirtualPackage.detect(),
    )
    await link(records, work / "prefix", cache_dir=work / "packages", show_progress=False)
    return work / "prefix"


def sample(prefix: Path, work: Path) -> None:
    (work / "elsewhere").mkdir()
    command = prefix / "bin" / "openmm-slm"
    run(command, "sample", "GYDPETGTWG", "-n", "2", "-o", "out", where=work / "elsewhere")
    print(run(command, "check", "--device", "cpu", where=work / "elsewhere"))


if __name__ == "__main__":
    main()
