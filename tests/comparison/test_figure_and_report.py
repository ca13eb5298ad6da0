"""Figure, page and command line."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest
from click.testing import CliRunner
from helices import ensemble

import openmm_slm
from openmm_slm.analysis.weights import read_weights, weights_text
from openmm_slm.cli.main import main
from openmm_slm.comparison.report import beyond_floor, number
from openmm_slm.errors import StructureError
from openmm_slm.plots.drawing import free_energy

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def pair():
    return ensemble(frames=40), ensemble(frames=40, seed=1)


@pytest.fixture(scope="module")
def comparison(pair):
    return openmm_slm.compare(*pair, tica_lag=2, tica_components=5, n_bootstrap=4)


def test_the_page_shows_the_five_views(comparison):
    figure = comparison.plot()
    titles = " ".join(ax.get_title() for ax in figure.axes)
    for what in ("samples", "reference", "contacts", "size", "flexibility", "phi, psi"):
        assert what in titles
    names = {ax.get_xlabel() for ax in figure.axes}
    assert {"TIC 1", "radius of gyration (Å)", "phi (°)"} <= names


def test_without_an_order_in_time_principal_components_are_shown(pair):
    found = openmm_slm.compare(*pair, tica_lag=None, n_bootstrap=0)
    assert "JS-TIC" not in found.table.index
    assert "PC 1" in {ax.get_xlabel() for ax in found.plot().axes}


def test_free_energy_is_minus_the_logarithm_of_the_weight():
    x = np.array([[0.5, 0.5], [0.5, 0.5], [1.5, 0.5]])
    edges = [np.arange(4.0), np.arange(3.0)]
    energy = free_energy(x, np.array([1.0, 1.0, 0.5]), edges)
    assert energy[0, 0] == 0 and energy[1, 0] == pytest.approx(np.log(4))
    assert np.isnan(energy[2, 1])


def test_the_html_page_needs_no_other_file(comparison, tmp_path):
    page = comparison.to_html(tmp_path / "page.html").read_text()
    assert re.search(r'src="data:image/png;base64,[A-Za-z0-9+/=]{1000,}"', page)
    assert not re.search(r'(src|href)="(?!data:)', page) and "@import" not in page
    for name in comparison.table.index:
        assert f"<td>{name}</td>" in page


def test_values_beyond_the_floor_are_told():
    row = {"value": 0.4, "floor_low": 0.1, "floor_high": 0.3}
    assert beyond_floor({**row, "better": "lower"})
    assert not beyond_floor({**row, "better": "higher"})
    assert beyond_floor({**row, "better": "reference"})
    assert not beyond_floor({**row, "floor_low": np.nan, "floor_high": np.nan, "better": "lower"})
    assert [number(x) for x in (1.23456, 0.00012345, 0.0, np.nan)] == [
        "1.235",
        "0.00012",
        "0.000",
        "",
    ]


def test_command_writes_table_picture_and_page_and_overwrites_nothing(pair, tmp_path):
    paths = []
    for name, traj in zip("ab", pair, strict=True):
        folder = tmp_path / name
        folder.mkdir()
        traj[0].save_pdb(str(folder / "topology.pdb"))
        traj.save_xtc(str(folder / "samples.xtc"))
        paths.append(str(folder))
    (tmp_path / "weights.txt").write_text("\n".join(["1"] * 40))
    top = str(tmp_path / "b" / "topology.pdb")
    arguments = [
        "compare", paths[0], str(tmp_path / "b" / "samples.xtc"), "--reference-top", top,
        "--weights", str(tmp_path / "weights.txt"), "--lag", "0", "--lengths", "20,20",
        "-o", str(tmp_path / "report"),
    ]  # fmt: skip
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "JS-PwD" in result.output and "noise floor" in result.output
    assert {p.name for p in (tmp_path / "report").iterdir()} == {
        "table.csv", "comparison.png", "report.html"
    }  # fmt: skip
    with open(tmp_path / "report" / "table.csv") as file:
        rows = {row["metric"]: row for row in csv.DictReader(file)}
    assert float(rows["JS-Rg"]["value"]) > 0 and rows["Rg"]["unit"] == "Å"
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 2 and "choose another folder" in again.output


def test_command_asks_for_a_topology(pair, tmp_path):
    pair[0].save_xtc(str(tmp_path / "x.xtc"))
    path = str(tmp_path / "x.xtc")
    result = CliRunner().invoke(main, ["compare", path, path, "-o", str(tmp_path / "out")])
    assert result.exit_code == 2 and "--top" in result.output


@pytest.fixture
def folder(pair, tmp_path):
    """An ensemble on disk, and what was measured of it."""
    (tmp_path / "a").mkdir()
    pair[0][0].save_pdb(str(tmp_path / "a" / "topology.pdb"))
    pair[0].save_xtc(str(tmp_path / "a" / "samples.xtc"))
    rg = openmm_slm.compare(
        pair[0], experiment=[{"observable": "rg", "value": 1, "error": 1, "unit": "nm"}]
    ).experiment
    wanted = np.quantile(rg.values, 0.8)
    (tmp_path / "x.csv").write_text(
        "observable,value,error,unit,residue\n"
        f"rg,{10 * wanted},{2 * np.ptp(rg.values)},Å,\n3J_HN_HA,4.5,0.3,Hz,A:5\n"
    )
    return tmp_path


def test_command_with_an_experiment_alone_writes_weights_that_it_reads(folder):
    start = ["compare", str(folder / "a"), "--experiment", str(folder / "x.csv")]
    done = CliRunner().invoke(main, [*start, "--reweight", "-o", str(folder / "new")])
    assert done.exit_code == 0, done.output
    assert {p.name for p in (folder / "new").iterdir()} == {
        "experiment.csv", "weights.csv", "comparison.png", "report.html"
    }  # fmt: skip
    assert "effective share of frames" in done.output and "noise floor" not in done.output
    with open(folder / "new" / "experiment.csv", newline="") as file:
        first = {row["observable"]: row for row in csv.DictReader(file)}
    assert first["rg"]["unit"] == "Å" and "3J_HN_HA A:5" in first
    again = [*start, "--weights", str(folder / "new" / "weights.csv"), "-o", str(folder / "again")]
    done = CliRunner().invoke(main, again)
    assert done.exit_code == 0, done.output
    with open(folder / "again" / "experiment.csv", newline="") as file:
        for row in csv.DictReader(file):
            before = first[row["observable"]]
            assert float(row["value"]) == pytest.approx(float(before["reweighted"]))
    refused = CliRunner().invoke(main, [*start, "-o", str(folder / "new")])
    assert refused.exit_code == 2 and "choose another folder" in refused.output


def test_command_refuses_bad_experiments_in_one_line(folder):
    (folder / "bad.csv").write_text("observable,value,error,unit,residue\nrg,1.4,,nm,\n")
    for extra, named in (
        (["--experiment", str(folder / "bad.csv")], "row 1: error is missing"),
        (["--experiment", str(folder / "a" / "topology.pdb")], "ends with .json or .csv"),
        ([], "give a reference or an experiment"),
        (["--experiment", str(folder / "x.csv"), "--theta", "2"], "theta is for reweighting"),
        (["--experiment", str(folder / "x.csv"), "--weights", str(folder / "x.csv")],
         "expected one weight per line"),
    ):  # fmt: skip
        arguments = ["compare", str(folder / "a"), *extra, "-o", str(folder / "out")]
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 2 and named in done.output, done.output
        assert "Traceback" not in done.output and not (folder / "out").exists()


def test_the_page_shows_reference_and_experiment(pair, tmp_path):
    records = [
        {"observable": "3J_HN_HA", "value": 4.5, "error": 0.3, "unit": "Hz", "residue": f"A:{k}"}
        for k in (3, 4, 5)
    ]
    found = openmm_slm.compare(*pair, tica_lag=None, n_bootstrap=0, experiment=records)
    page = found.to_html(tmp_path / "x.html").read_text()
    assert page.count("<img") == 2 and "<td>3J_HN_HA A:4</td>" in page and "<td>JS-Rg</td>" in page
    alone = openmm_slm.compare(pair[0], experiment=records)
    assert {ax.get_title() for ax in alone.plot().axes} >= {"3J_HN_HA A:3", "3J_HN_HA A:5"}
    assert alone.to_html(tmp_path / "y.html").read_text().count("<img") == 1


def test_weights_are_read_as_they_were_written(tmp_path):
    weights = np.random.default_rng(0).random(20)
    (tmp_path / "x.csv").write_text(weights_text(weights))
    assert (read_weights(tmp_path / "x.csv") == weights).all()
    lines = weights_text(weights).splitlines()
    for text in ("\n".join([lines[0], *lines[2:]]), "frame,weight\n0,x\n", "1 2\n3 4\n", "a\n"):
        (tmp_path / "y.csv").write_text(text)
        with pytest.raises(StructureError, match="one weight per line"):
            read_weights(tmp_path / "y.csv")
