"""The page of an ensemble: opened in a browser, complete, and of one file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import mdtraj as md
import numpy as np
import pytest
from click.testing import CliRunner

import openmm_slm
from openmm_slm.cli.main import main
from openmm_slm.errors import SLMError
from openmm_slm.files.report_table import read_report
from openmm_slm.plots.contact_maps import contact_counts
from openmm_slm.plots.overview import overview
from openmm_slm.plots.profiles import rmsf_about_mean
from openmm_slm.plots.report_page import page_is_old, write_report_page

pytest.importorskip("matplotlib")
PEPTIDE = "GYDPETGTWGKLACDEFGHI"
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
SECTIONS = (
    "Superposed",
    "Fluctuations",
    "Torsions, contacts, size",
    "Frames",
    "Repeat",
    "Settings",
)


@pytest.fixture(scope="module")
def generator():
    return openmm_slm.EnsembleGenerator.from_pretrained("default", device="cpu")


@pytest.fixture(scope="module")
def folder(generator, tmp_path_factory):
    where = tmp_path_factory.mktemp("pages") / "<b>my & protein"
    generator.write(PEPTIDE, where, 30, seed=4, progress=False)
    write_report_page(where)
    return where


def sample(*arguments):
    arguments = [str(a) for a in arguments]
    return CliRunner().invoke(main, ["sample", *arguments, "--threads", "1", "--device", "cpu"])


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page)


def pictures(page: str) -> int:
    """Pictures, all of them inside the page."""
    found = re.findall(r'<img alt="[^"]+" src="data:image/png;base64,[A-Za-z0-9+/=]{500,}">', page)
    assert len(found) == page.count("<img")
    return len(found)


def in_browser(path, *options, directory) -> str:
    """What headless Chromium says of a page, without a network."""
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={directory / 'profile'}", "--proxy-server=127.0.0.1:9",
        "--window-size=1200,2600", *options, path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(BROWSER is None, reason="no Chromium (Debian's package chromium)")
def test_the_page_opens_in_a_browser(folder, tmp_path):
    image = pytest.importorskip("matplotlib.image")
    page = folder / "report.html"
    in_browser(page, f"--screenshot={tmp_path / 'page.png'}", directory=tmp_path)
    shot = image.imread(tmp_path / "page.png")[..., :3]
    assert shot.shape[:2] == (2600, 1200)
    # Not blank: text and pictures in every band but the last, and the colours of viridis.
    bands = shot[:2400].reshape(8, 300, 1200, 3)
    assert (bands.std((1, 2)).max(1) > 0.02).all()
    saturated = np.ptp(shot, axis=2) > 0.3
    assert 0.003 < saturated.mean() < 0.5
    dom = in_browser(page, "--dump-dom", directory=tmp_path)
    for section in SECTIONS:
        assert f"<h2>{section}</h2>" in dom
    # A picture that the browser could not read would be as high as its text.
    assert dom.count("<img") == 4 and "Boltzmann" in dom


def test_the_page_needs_no_other_file_and_no_network(folder):
    page = (folder / "report.html").read_text()
    assert not re.search(r'(src|href)="(?!data:)|url\(', page)
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    assert "<script" not in page and "@import" not in page
    assert pictures(page) == 4
    assert not list(folder.glob("*.part"))


def test_the_page_says_what_was_run_and_found(folder, tmp_path):
    folder = shutil.copytree(folder, tmp_path / "copy")
    rows = (folder / "report.csv").read_text().splitlines(keepends=True)
    cells = rows[7].split(",")
    cells[rows[0].split(",").index("valid")] = "0"  # so that one at least is not valid
    rows[7] = ",".join(cells)
    (folder / "report.csv").write_text("".join(rows))
    write_report_page(folder)
    page, table = (folder / "report.html").read_text(), read_report(folder)
    assert headings(page) == list(SECTIONS)
    assert f"{table['valid'].sum()} of 30 valid" in page
    assert f'<td class="n">{(~table["valid"]).sum()}</td>' in page
    for text in (PEPTIDE, "openmm-slm sample --repeat run.json -o again/", "not a Boltzmann"):
        assert text in page
    assert "<td>seed</td><td class=\"long\">4</td>" in page  # fmt: skip


def test_names_are_not_html(folder):
    page = (folder / "report.html").read_text()
    assert "<b>" not in page and "&lt;b&gt;my &amp; protein" in page


def test_the_overview_equals_what_the_whole_ensemble_says(folder, monkeypatch):
    """A chunk at a time, with the mean structure of some frames only, or of all."""
    traj = md.load(str(folder / "samples.xtc"), top=str(folder / "topology.pdb"))
    ca = traj.xyz[:, traj.topology.select("name CA")]
    monkeypatch.setattr("openmm_slm.plots.overview._CHUNK", 7 * traj.n_atoms)
    seen = overview(folder, np.arange(30))
    np.testing.assert_allclose(seen.rmsf, rmsf_about_mean(ca), atol=1e-6)
    np.testing.assert_allclose(seen.contacts, contact_counts(ca) / 30)
    alone = traj.atom_slice(traj.topology.select("name CA"))
    np.testing.assert_allclose(seen.rg, md.compute_rg(alone), atol=1e-5)
    np.testing.assert_array_equal(seen.frame, np.arange(30))
    assert seen.torsions.sum() == 30 * (len(PEPTIDE) - 2)
    monkeypatch.setattr("openmm_slm.plots.overview._FOR_MEAN", 20)
    few = overview(folder, np.arange(30))
    assert len(few.few) == 20 and few.few_frames[0] == 0 and few.few_frames[-1] == 29
    # Another mean structure to lay frames on, but all frames count.
    np.testing.assert_allclose(few.rmsf, seen.rmsf, rtol=0.2)
    assert not np.allclose(few.rmsf, seen.rmsf, rtol=1e-6)


def test_a_frame_that_is_not_finite_is_passed_over(folder, tmp_path):
    """XTC has integers and no NaN: what a broken frame left there is not looked at."""
    where = tmp_path / "nan"
    shutil.copytree(folder, where)
    traj = md.load(str(where / "samples.xtc"), top=str(where / "topology.pdb"))
    traj.xyz[5] = 1000.0
    traj.save_xtc(str(where / "samples.xtc"))
    rows = (where / "report.csv").read_text().splitlines()
    cells = rows[6].split(",")
    assert cells[0] == "5" and rows[0].split(",")[2:4] == ["valid", "finite"]
    rows[6] = ",".join([*cells[:2], "0", "0", *cells[4:]])
    (where / "report.csv").write_text("\n".join(rows) + "\n")
    page = write_report_page(where).read_text()
    assert pictures(page) == 4 and "coordinates are not finite" in page
    seen = overview(where, np.delete(np.arange(30), 5))
    assert len(seen.rg) == 29 and seen.rg.max() < 10 and 5 not in seen.few_frames


@pytest.mark.parametrize(
    ("sequence", "options", "expected"),
    [
        ("GA", ["-n", "1"], 3),  # no fluctuations of one frame
        ("ACDEF:GHIKL", ["-n", "2", "--sidechains", "none"], 4),
        ("WWWWWWWWWWWWWWWWWWWW", ["-n", "2", "--temperature", "3", "--drop-invalid"], None),
    ],
)
def test_sample_writes_a_page_of_any_ensemble(tmp_path, sequence, options, expected):
    result = sample(sequence, *options, "--seed", 2, "--report", "-o", tmp_path / "x")
    assert result.exit_code == 0 and "report.html" in result.output
    page = (tmp_path / "x" / "report.html").read_text()
    if expected is None:
        kept = int(read_report(tmp_path / "x")["valid"].sum())
        expected = (1, 3, 4)[kept]
        assert f"{2 - kept} not valid and left out" in page
        assert ("no frames to draw" in page) == (not kept)
    assert pictures(page) == expected


def test_each_record_of_a_fasta_file_gets_a_page_that_resume_keeps(tmp_path):
    (tmp_path / "x.fasta").write_text(">one\nGYDPETG\n>two\nACDEFGH\n>bad\nGYD1\n")
    common = (tmp_path / "x.fasta", "-n", 1, "--seed", 2, "--report", "-o", tmp_path)
    assert sample(*common).exit_code == 1  # of the bad one, which is passed over
    pages = [tmp_path / name / "report.html" for name in ("one", "two")]
    assert all("1 conformation" in page.read_text() for page in pages)
    pages[1].unlink()  # as if the run had been killed before it
    before = pages[0].stat().st_mtime_ns
    assert sample(*common, "--resume").exit_code == 1
    assert pages[1].exists() and pages[0].stat().st_mtime_ns == before


def test_pages_are_written_anew_where_one_ensemble_is_repeated_or_resumed(folder, tmp_path):
    result = sample("--repeat", folder, "-o", tmp_path / "x", "--report")
    assert result.exit_code == 0, result.output
    pages = [(where / "report.html").read_text() for where in (tmp_path / "x", folder)]
    assert [page.count("<tr>") for page in pages] == [pages[0].count("<tr>")] * 2
    (tmp_path / "x" / "report.html").write_text("old")
    assert not page_is_old(tmp_path / "x")
    os.utime(tmp_path / "x" / "report.html", (0, 0))
    assert page_is_old(tmp_path / "x")
    assert pictures(write_report_page(tmp_path / "x").read_text()) == 4


def test_what_has_no_page_is_said(folder, tmp_path):
    with pytest.raises(SLMError, match="cannot be read as the run.json"):
        write_report_page(tmp_path)
    shutil.copy(folder / "run.json", tmp_path)
    with pytest.raises(SLMError, match="not finished.*--resume"):
        write_report_page(tmp_path)
    (tmp_path / "report.csv").write_text("frame,valid\n0\n")
    with pytest.raises(SLMError, match="report.csv: cannot be read"):
        write_report_page(tmp_path)
    (tmp_path / "report.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SLMError, match="not the report"):
        write_report_page(tmp_path)


def test_the_report_is_read_as_it_was(generator, folder):
    report, written = (
        generator.sample(PEPTIDE, 30, seed=4, progress=False).report,
        read_report(folder),
    )
    assert list(report) == list(written)
    for name, values in report.items():
        assert written[name].dtype.kind == values.dtype.kind, name
        np.testing.assert_allclose(written[name], values, rtol=1e-5, atol=1e-3)
