"""README and docs: every command and snippet runs, links resolve, the site has what is public."""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from click.testing import CliRunner
from snippets import ROOT, SEQUENCE, blocks, furnish, run

import openmm_slm
from openmm_slm.cli.main import main

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [block for page in PAGES for block in blocks(page)]
RUN = [b for b in BLOCKS if b.language in ("python", "bash") and b.reason is None]
WITH_CODE = sorted({block.page for block in RUN})


def test_every_block_is_run_or_says_why_not():
    for block in BLOCKS:
        known = block.language in ("python", "bash", "text") or block.language.startswith("{")
        assert known, f"{block.page}, line {block.line}: name the language of the block"
        assert block.language in ("python", "bash") or block.reason is None
    left_out = [block for block in BLOCKS if block.reason is not None]
    run_elsewhere = {(block.page, block.text) for block in RUN}
    for block in left_out:
        if block.reason.startswith("as in "):
            assert (block.reason.removeprefix("as in "), block.text) in run_elsewhere, block.line
    # Mostly what needs weights that are not shipped; who adds one raises this number on purpose.
    assert len(left_out) <= 21, [(b.page, b.line, b.reason) for b in left_out]


@pytest.fixture(scope="module")
def furnished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("furnished")
    furnish(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_CODE)
def test_every_command_and_snippet_runs(page, furnished, tmp_path, monkeypatch):
    import mdtraj as md

    folder = tmp_path / "here"
    shutil.copytree(furnished, folder)
    monkeypatch.chdir(folder)
    logging.disable(logging.WARNING)  # that frames are not valid is said for each of them
    namespace = {"__name__": "page", "openmm_slm": openmm_slm, "sequence": SEQUENCE}
    namespace["traj"] = md.load("x.pdb")  # what a page says it begins with
    namespace["md_traj"] = md.load("md.xtc", top="md.pdb")
    try:
        for block in RUN:
            if block.page == page:
                begin = time.monotonic()
                run(block, namespace)
                print(f"{time.monotonic() - begin:5.1f} s  {page}, line {block.line}")
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_to_files_and_headings_resolve(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if urlsplit(target).scheme:
            continue
        name, _, heading = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), f"{page.name}: {target}"
        if heading:
            assert heading in headings(path), f"{page.name}: {target}"


def headings(path: Path) -> set[str]:
    """Anchors as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", path.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


def test_functions_that_pages_name_exist():
    named = [
        (page.name, name)
        for page in PAGES
        for name in re.findall(r"`(openmm_slm(?:\.\w+)+)", page.read_text())
    ]
    assert len(named) > 10
    assert [(page, name) for page, name in named if resolve(name) is None] == []


def test_troubleshooting_quotes_errors_as_they_are_printed(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    monkeypatch.chdir(tmp_path)
    peptide = "GYDPETGTWG"
    frames = openmm_slm.generate_ensemble(peptide, n=1, seed=1, sidechains=None)
    frames.save_pdb("x.pdb")
    for arguments in (
        ["GYDPX"],
        ["GYD.fasta"],
        [peptide, "--model", "nosuch"],
        [peptide, "--noise", "0.1"],
        ["ACDEFHIKLMNPQ", "--template", "x.pdb"],
        [peptide, "--template", "x.pdb", "--resample", "H:2-4"],
        [peptide, "--steps", "5"],
    ):
        done = CliRunner().invoke(main, ["sample", *arguments, "-n", "1", "-o", "out"])
        assert done.exit_code == 2, arguments
        message = done.output.strip().splitlines()[-1].removeprefix("openmm-slm: ")
        assert f"`{message}`" in page, message


def resolve(name: str) -> object:
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found
    return None


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The pages as `make docs` has built them, or built here: warnings are errors, the notebooks as
    they are, not executed.
    """
    if "BUILT_SITE" in os.environ:
        return Path(os.environ["BUILT_SITE"]).resolve()
    for library in ("sphinx", "myst_nb", "numpydoc", "pydata_sphinx_theme", "sphinx_click"):
        pytest.importorskip(library, reason="install openmm_slm[docs]")
    where = tmp_path_factory.mktemp("site")
    strict = ("-W", "--keep-going", "-n", "-q", "-D", "nb_execution_mode=off")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *strict, str(ROOT / "docs"), str(where)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return where


class Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.targets, self.ids = set(), set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids.add(values.get("id"))
        for key in ("href", "src"):
            if values.get(key):
                self.targets.add(values[key])


def test_links_inside_the_site_resolve(site):
    pages = {path: Page(path) for path in site.rglob("*.html") if "_static" not in path.parts}
    assert len(pages) > 25
    for path, page in pages.items():
        for target in page.targets:
            there = urlsplit(target)
            if there.scheme or there.netloc:
                continue
            file = (path.parent / unquote(there.path)).resolve() if there.path else path
            assert file.exists(), f"{path.name}: {target}"
            if there.fragment and file in pages:
                assert unquote(there.fragment) in pages[file].ids, f"{path.name}: {target}"


def test_the_python_page_has_all_that_is_public_and_nothing_private(site):
    ids = Page(site / "api.html").ids - {None}
    described = {name.removeprefix("openmm_slm.") for name in ids if name.startswith("openmm_slm.")}
    assert {name for name in described if "." not in name} == set(openmm_slm.__all__)
    for name in described - {"__version__"}:
        assert not any(part.startswith("_") for part in name.split(".")), name
    for name in openmm_slm.__all__:
        offered = getattr(openmm_slm, name)
        for member, value in vars(offered).items() if inspect.isclass(offered) else ():
            function = inspect.isfunction(value) or isinstance(value, (property, classmethod))
            if function and not member.startswith("_"):
                assert f"{name}.{member}" in described, f"{name}.{member} has no docstring"


def test_the_page_of_commands_has_every_verb(site):
    text = (site / "cli.html").read_text()
    for name, command in main.commands.items():
        for verb in [name, *(f"{name} {below}" for below in getattr(command, "commands", ()))]:
            assert f'id="openmm-slm-{verb.replace(" ", "-")}"' in text, verb
