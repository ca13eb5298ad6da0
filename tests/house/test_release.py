"""What a release says of itself agrees: versions, stubs, the changelog, what CI runs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import openmm_slm

ROOT = Path(__file__).parents[2]
needs_checkout = pytest.mark.skipif(
    not (ROOT / "CITATION.cff").exists(), reason="the tests are not in a checkout"
)


def test_stub_names_what_the_package_offers():
    """`__init__.pyi` is what editors and type checkers see of the lazily imported names."""
    tree = ast.parse(Path(openmm_slm.__file__).with_suffix(".pyi").read_text())
    imported = {
        alias.asname: node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname and node.level
    }
    declared = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert imported.keys() | declared == openmm_slm._HOME.keys()
    assert imported.items() <= openmm_slm._HOME.items()


@needs_checkout
def test_versions_agree():
    version = openmm_slm.__version__
    assert re.search(rf"^version: {re.escape(version)}$", (ROOT / "CITATION.cff").read_text(), re.M)
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest[1] == version


@needs_checkout
def test_the_workflow_runs_what_every_submission_runs():
    assert "bash .ci/run" in (ROOT / ".github/workflows/tests.yml").read_text()
    oldest = re.search(r'requires-python = ">=(\S+)"', (ROOT / "pyproject.toml").read_text())[1]
    assert f'"{oldest}"' in (ROOT / ".github/workflows/tests.yml").read_text()
