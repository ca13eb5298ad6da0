"""The conda recipe and the wheel's file list say what pyproject.toml and the folders say.

That both build, install and work is shown by tools/check_conda.py and tools/check_wheel.py.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import openmm_slm
from openmm_slm.cli.installation import _DEVELOPMENT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
#: As conda-forge calls them.
CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base", "tables": "pytables"}


@pytest.fixture(scope="module")
def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def recipe() -> dict:
    return yaml.safe_load((ROOT / "conda-recipe" / "recipe.yaml").read_text())


def lower_bounds(lines: list[str]) -> dict[str, str]:
    """Lower bound by conda name; an upper bound is left to those who install an optional part."""
    found = {}
    for requirement in map(Requirement, lines):
        name = requirement.name.lower()
        least = [s.version for s in requirement.specifier if s.operator == ">="]
        found[CONDA.get(name, name)] = "".join(least)
    return found


def spec(line: str) -> tuple[str, str]:
    """Name and lower bound of a line of the recipe, which may have nothing else."""
    match = re.fullmatch(r"(\S+)(?: >=(.+))?", line)
    assert match and "," not in line, f"more than a lower bound: {line}"
    return match[1], match[2] or ""


def test_the_recipe_asks_for_what_pip_installs(pyproject, recipe):
    run = dict(map(spec, recipe["requirements"]["run"]))
    assert run.pop("python") == "${{ python_min }}"
    assert run == lower_bounds(pyproject["project"]["dependencies"])
    (least,) = yaml.safe_load((ROOT / "conda-recipe" / "variants.yaml").read_text())["python_min"]
    assert pyproject["project"]["requires-python"] == f">={least}"


def test_the_recipe_bounds_every_optional_part(pyproject, recipe):
    extras = pyproject["project"]["optional-dependencies"]
    assert set(extras) >= _DEVELOPMENT
    users = [line for name in extras if name not in _DEVELOPMENT for line in extras[name]]
    constraints = dict(map(spec, recipe["requirements"]["run_constraints"]))
    assert constraints == lower_bounds(users)


def test_both_make_the_same_command_of_the_same_version(pyproject, recipe):
    scripts = [f"{name} = {where}" for name, where in pyproject["project"]["scripts"].items()]
    assert recipe["build"]["python"]["entry_points"] == scripts
    assert recipe["context"]["version"] == openmm_slm.__version__
    assert recipe["about"]["license"] == pyproject["project"]["license"]
    assert recipe["about"]["summary"] == pyproject["project"]["description"]


def test_the_recipe_tests_with_files_that_are_there(recipe):
    commands = [line for test in recipe["tests"] for line in test.get("script", [])]
    files = re.findall(r"tests/\S+", " ".join(commands))
    assert files and all((ROOT / name).is_file() for name in files)
    assert {"openmm-slm --help", "openmm-slm check --device cpu"} <= set(commands)


def test_the_wheel_takes_every_file_that_is_no_module(pyproject):
    patterns = pyproject["tool"]["setuptools"]["package-data"]["openmm_slm"]
    package = ROOT / "openmm_slm"
    taken = {path for pattern in patterns for path in package.glob(pattern)}
    others = {
        path for path in package.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}
    }
    assert others == taken
