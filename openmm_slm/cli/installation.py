"""Checks of an installation; each part is tried and reports its findings in single lines."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path

from .. import __version__
from ..errors import SLMError, counted

SEQUENCE = "GYDPETGTWG"  # chignolin
SEED = 1
OK, NOTE, FAILED = "ok", "note", "FAILED"
_PACKAGE = Path(__file__).parents[1]
_DEVELOPMENT = {"test", "docs", "packaging"}  # extras that users do not need
_CONDA = {"torch": "pytorch"}  # conda-forge names that differ from PyPI's
_MODULE = {"pyyaml": "yaml"}  # module names that differ from the package's
_PLATFORMS = ("Reference", "CPU")  # hydrogens are placed with the first, frames relaxed with both
_REINSTALL = (
    "reinstall with pip install --force-reinstall --no-deps openmm_slm, or from conda-forge"
)


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Attributes
    ----------
    part : str
        ``"versions"``, ``"device"``, ``"platforms"``, ``"models"`` or ``"sample"``.
    state : str
        ``"ok"``; ``"note"`` if something optional is missing; ``"FAILED"`` if something needed is
        missing or broken.
    text : str
        One line. That of a failure includes the remedy.
    """

    part: str
    state: str
    text: str


def check_installation(device: str = "auto") -> Iterator[Finding]:
    """Check every part of the installation in turn; a failure does not stop the others.

    Parameters
    ----------
    device : str
        Device that samples the small test ensemble: ``"auto"``, ``"cpu"``, ``"cuda"``, ...

    Yields
    ------
    Finding
        As soon as it is known. If a library crashes the process, the last line shows where.
    """
    for part, check, remedy in _PARTS:
        try:
            for state, text in check(device):
                yield Finding(part, state, text)
        # A broken library may raise anything: report it and go on with the other parts.
        except ImportError as error:
            yield Finding(part, FAILED, f"{_first_line(error)}; see the lines 'versions' above")
        except Exception as error:
            yield Finding(part, FAILED, f"{_first_line(error)}; {remedy}")


def _first_line(error: Exception) -> str:
    line = (str(error).strip().splitlines() or [""])[0]
    return line if isinstance(error, SLMError) else f"{type(error).__name__}: {line}"


def _versions(device: str) -> Iterator[tuple[str, str]]:
    """Versions of Python, the package, and every library that its metadata names."""
    yield OK, f"Python {platform.python_version()} on {platform.platform()}"
    yield OK, f"openmm_slm {__version__} in {_PACKAGE}"
    try:
        requirements = metadata.requires("openmm_slm") or []
    except metadata.PackageNotFoundError:
        yield FAILED, "openmm_slm is on the path but not installed; install it: pip install FOLDER"
        return
    for line in requirements:
        name, bound, extra = _requirement(line)
        if extra not in _DEVELOPMENT:
            yield _optional(name, extra) if extra else _needed(name, bound)


def _requirement(line: str) -> tuple[str, str, str]:
    """Name, lower bound and extra in a requirement such as ``pandas>=2; extra == "compare"``."""
    wanted, _, marker = line.partition(";")
    name = re.match(r"[\w.-]+", wanted).group()
    bound = re.search(r">=\s*([\d.]+)", wanted)
    extra = re.search(r"extra\s*==\s*['\"](\w+)", marker)
    return name, bound.group(1) if bound else "0", extra.group(1) if extra else ""


def _needed(name: str, bound: str) -> tuple[str, str]:
    remedy = f"pip install '{name}>={bound}', or {_CONDA.get(name, name)} from conda-forge"
    try:
        import_module(name)
    except Exception as error:
        return FAILED, f"{name} cannot be imported ({_first_line(error)}); {remedy}"
    version = _version(name)
    if _release(version) < _release(bound):
        return FAILED, f"{name} {version} is older than {bound}; {remedy}"
    return OK, f"{name} {version}"


def _optional(name: str, extra: str) -> tuple[str, str]:
    """Find an optional library without importing it, which may take seconds."""
    if find_spec(_MODULE.get(name, name)) is None:
        return NOTE, f"{name} is not installed (optional); pip install 'openmm_slm[{extra}]'"
    return OK, f"{name} {_version(name)}, optional"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return getattr(import_module(name), "__version__", "(version unknown)")


def _release(version: str) -> tuple[int, ...]:
    """``"2.13.0+cpu"`` -> (2, 13, 0)."""
    return tuple(int(number) for number in re.findall(r"\d+", version.split("+")[0])[:3])


def _device(device: str) -> Iterator[tuple[str, str]]:
    import torch

    from ..models.registry import find_device

    chosen = find_device(device)
    ones = torch.ones(4, 4, device=chosen)
    if not bool((ones @ ones == 4).all()):
        raise SLMError(f"torch computes a wrong matrix product on {chosen}")
    text = f"torch computes on {chosen}, {counted(torch.get_num_threads(), 'CPU thread')}"
    if chosen.startswith("cuda"):
        text += f", {torch.cuda.get_device_name(chosen)}, CUDA {torch.version.cuda}"
    elif not torch.cuda.is_available():
        text += ", torch finds no CUDA GPU"
    yield OK, text


def _platforms(device: str) -> Iterator[tuple[str, str]]:
    """OpenMM platforms that can take a step, and plugins that did not load."""
    import openmm as mm

    working = []
    for number in range(mm.Platform.getNumPlatforms()):
        one = mm.Platform.getPlatform(number)
        system = mm.System()
        system.addParticle(1.0)
        try:
            context = mm.Context(system, mm.VerletIntegrator(0.001), one)
            context.setPositions([mm.Vec3(0, 0, 0)])
            context.getIntegrator().step(1)
            working.append(one.getName())
        except mm.OpenMMException as error:
            yield NOTE, f"{one.getName()} is not usable here ({_first_line(error)})"
    for failure in mm.Platform.getPluginLoadFailures():
        # "Error loading library /long/path/libOpenMMOpenCL.so: libOpenCL.so.1: cannot open ..."
        line = re.sub(r"^Error loading library \S*/", "", failure.strip().splitlines()[0])
        yield NOTE, f"{line}; only that GPU platform needs it: install its driver to use it"
    missing = [name for name in _PLATFORMS if name not in working]
    if missing:
        remedy = "reinstall openmm, and run python -m openmm.testInstallation"
        if directory := os.environ.get("OPENMM_PLUGIN_DIR"):
            remedy = f"unset OPENMM_PLUGIN_DIR ({directory}), or point it to OpenMM's plugins"
        yield FAILED, f"OpenMM has no usable platform {' or '.join(missing)}; {remedy}"
    yield OK, f"OpenMM computes on {', '.join(working) or 'no platform'}"


def _models(device: str) -> Iterator[tuple[str, str]]:
    from ..models.registry import shipped_models, verify_model

    shipped = shipped_models()
    if "default" not in shipped:
        yield FAILED, f"no weights in {_PACKAGE / 'models'}; {_REINSTALL}"
    for name in shipped:
        try:
            *parts, _ = verify_model(name)
            yield OK, f"{name}: {len(parts)} networks, checksums match"
        except SLMError as error:
            yield FAILED, f"{name}: {_first_line(error)}; {_REINSTALL}"


def _sample(device: str) -> Iterator[tuple[str, str]]:
    from ..sampling.ensemble import EnsembleGenerator

    start = time.perf_counter()
    generator = EnsembleGenerator.from_pretrained("default", device)
    ensemble = generator.sample(SEQUENCE, n=2, relax=True, seed=SEED, progress=False)
    seconds = time.perf_counter() - start
    frames = ensemble.trajectory
    sample = f"{frames.n_frames} frames of {SEQUENCE} ({frames.n_atoms} atoms), relaxed"
    if not ensemble.report["valid"].all():
        why = "; ".join(filter(None, ensemble.report["error"]))
        raise SLMError(f"{sample}, but not valid ({why})")
    yield OK, f"{sample}, valid, in {seconds:.1f} s including loading of the model"


_AGAIN = f'python -c "import openmm_slm; openmm_slm.generate_ensemble({SEQUENCE!r}, 2, relax=True)"'
_PARTS: list[tuple[str, Callable[[str], Iterator[tuple[str, str]]], str]] = [
    ("versions", _versions, _REINSTALL),
    ("device", _device, "choose --device cpu, or install the torch build for this GPU driver"),
    ("platforms", _platforms, "reinstall openmm, and run python -m openmm.testInstallation"),
    ("models", _models, _REINSTALL),
    ("sample", _sample, f"first fix what failed above; if nothing did, run {_AGAIN}"),
]
