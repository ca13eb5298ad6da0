"""OpenMM's force fields, each read once by a process: that takes seconds."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import pytest
from openmm import app

#: Of newer versions of OpenMM only.
NEWER = ("amber19-all.xml", "charmm36_2024.xml")


def has(name: str) -> bool:
    return (files("openmm") / "app" / "data" / name).is_file()


def where_present(name: str, *values: object, slow: bool = False):
    """Parameters of a test (default: the file's name) that is skipped without the file."""
    marks = [pytest.mark.skipif(not has(name), reason=f"this OpenMM has no {name}")]
    return pytest.param(*(values or (name,)), marks=[*marks, *([pytest.mark.slow] * slow)])


@lru_cache
def load(*files: str) -> app.ForceField:
    return app.ForceField(*files)
