"""Templates by name, and predicted models: what has low pLDDT is sampled, not copied."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from odd_files import build, plain
from structure_server import SEQUENCES, crystal, databases, predicted

import openmm_slm
from openmm_slm.cli.main import main
from openmm_slm.data.prepare import prepare
from openmm_slm.data.shards import read_index
from openmm_slm.errors import StructureError
from openmm_slm.protein.loading import read_structure
from openmm_slm.sampling.request import make_request
from openmm_slm.sampling.settings import SamplingSettings
from openmm_slm.sampling.template import Template

SEQUENCE = ":".join(SEQUENCES)
PLDDT = np.array([30, 40, 45, *[90] * 12, 55, 55, 45, 30, 20], float)
MODEL = predicted(build(plain(kind="cif", sequences=SEQUENCES)).text, PLDDT)
PREDICTED, EXPERIMENT = "afdb:P00974", "pdb:1ABC"


@pytest.fixture
def server(tmp_path, monkeypatch):
    with databases(tmp_path / "cache", monkeypatch) as running:
        running.answers["/api/P00974"] = MODEL  # a mirror may send the file at once
        running.answers["/pdb/1ABC.cif"] = crystal()
        yield running


def run(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_low_plddt_is_unknown_and_can_be_selected(server):
    laid = Template.of(PREDICTED, SEQUENCE)
    np.testing.assert_array_equal(laid.known[0], PLDDT >= 50)
    np.testing.assert_array_equal(laid.select("bfactor < 60"), PLDDT < 60)
    in_a = laid.select("bfactor<60 and chainid 0")
    np.testing.assert_array_equal(np.flatnonzero(in_a), [0, 1, 2])
    both = laid.select("(bfactor >= 45 and bfactor <= 55) or resid 5")
    np.testing.assert_array_equal(np.flatnonzero(both), [2, 5, 15, 16, 17])
    with pytest.raises(StructureError, match="selects no residue"):
        laid.select("bfactor > 99")
    all_known = Template.of(PREDICTED, SEQUENCE, 0)
    assert all_known.known.all() and all_known.identity(PREDICTED)["unsure"] == ""
    found = Template.of(EXPERIMENT, SEQUENCE)  # its B factors of 20 are no pLDDT
    assert found.known.all() and found.select("bfactor < 21").all()
    assert found.identity(EXPERIMENT).keys() == {"path", "sha256"}
    with pytest.raises(StructureError, match="the template has no B factors"):
        Template.of(read_structure(EXPERIMENT).to_trajectory(), SEQUENCE).select("bfactor < 5")


def test_samples_do_not_know_where_unsure_residues_were(tmp_path):
    """Neither with `noise` nor with `resample`."""
    (tmp_path / "x.cif").write_bytes(MODEL)
    before = read_structure(tmp_path / "x.cif")
    moved = before.atom14 + np.float32(0.7) * (PLDDT < 50)[:, None, None]
    after = replace(before, atom14=moved)
    generator = openmm_slm.EnsembleGenerator.from_pretrained("default", device="cpu")
    for options in ({}, {"resample": "B:1-2"}):
        a, b = (
            generator.sample(
                SEQUENCE, 2, template=structure, sidechains=None, seed=1, progress=False, **options
            ).trajectory.xyz
            for structure in (before, after)
        )
        np.testing.assert_array_equal(a, b)


def test_a_run_records_the_name_and_goes_on_without_the_server(server, tmp_path):
    first, again = tmp_path / "first", tmp_path / "again"
    options = ["--sidechains", "none", "--seed", 3, "--threads", 1]
    begin = ["sample", SEQUENCE, "--template", "afdb:p00974", *options]
    done = run(*begin, "-n", 2, "-o", first)
    assert done.exit_code == 0, done.output
    saved = json.loads((first / "run.json").read_text())["template"]
    assert saved["path"] == PREDICTED and len(saved["sha256"]) == 16
    assert saved["min_plddt"] == 50 and saved["unsure"] == "A:1-3, B:8-10"
    server.answers.clear()
    done = run(*begin, "-n", 3, "-o", first, "--resume")
    assert done.exit_code == 0, done.output
    done = run("sample", "--repeat", first / "run.json", "-o", again)
    assert done.exit_code == 0, done.output
    assert (again / "samples.xtc").read_bytes() == (first / "samples.xtc").read_bytes()
    done = run(*begin, "--min-plddt", 60, "-n", 3, "-o", first, "--resume")
    assert done.exit_code == 2 and "holds a run with" in done.output
    shutil.rmtree(tmp_path / "cache")
    done = run("sample", "--repeat", first / "run.json", "-o", tmp_path / "no")
    assert done.exit_code == 2 and "the AlphaFold database has no entry P00974" in done.output


def test_what_does_not_fit_is_named(server):
    for given, options, named in (
        ({}, {"min_plddt": 50}, "no template is given; give template"),
        ({"template": PREDICTED}, {"min_plddt": 101}, "min_plddt is 101"),
        ({"template": PREDICTED}, {"min_plddt": 95}, "no residue has pLDDT of 95 or more"),
        ({"template": EXPERIMENT}, {"min_plddt": 50}, "from an experiment"),
        ({"template": "pdb:1ABC:A"}, {}, "the template has 1 chain .A., the sequence 2"),
        ({"template": "pdb:XYZ"}, {}, "'XYZ' is no entry of the PDB"),
        ({"template": "pdb:2ABC"}, {}, "the PDB has no entry 2ABC"),
    ):
        with pytest.raises(ValueError, match=named):
            make_request(SEQUENCE, 2, **given, settings=options)
    with pytest.raises(ValueError, match="no template is given"):
        SamplingSettings(SEQUENCE, 2, template={"path": "x", "relatives": []}, min_plddt=50)


@pytest.mark.parametrize("verb", ["complete", "relax", "seed", "compare", "prepare", "sample"])
def test_every_verb_takes_names(server, tmp_path, verb):
    """Shown by the server's answer to one that is unknown."""
    arguments = {
        "compare": ["pdb:2ABC", "pdb:2ABC:A"], "sample": [SEQUENCE, "--template", "pdb:2ABC"],
    }.get(verb, ["pdb:2ABC"])  # fmt: skip
    done = run(verb, *arguments, "-o", tmp_path / "out")
    assert done.exit_code == 2, done.output
    assert "openmm-slm: pdb:2ABC: the PDB has no entry 2ABC" in done.output


def test_entries_become_shards(server, tmp_path):
    options = {"min_length": 5, "processes": 1, "progress": False}
    prepare(["pdb:1ABC", PREDICTED], tmp_path / "shards", **options)
    names = {row["id"]: row["sequence"] for row in read_index(tmp_path / "shards")}
    assert names == {
        f"{entry}_{chain}": sequence
        for entry in ("1ABC", "P00974")
        for chain, sequence in zip("AB", SEQUENCES, strict=True)
    }
    prepare("pdb:1ABC:B", tmp_path / "one", **options)
    assert [row["sequence"] for row in read_index(tmp_path / "one")] == [SEQUENCES[1]]


def test_complete_adds_atoms_to_an_entry(server):
    made = openmm_slm.complete("pdb:1ABC:A", progress=False, device="cpu")
    assert made.n_residues == 10 and any(atom.element.symbol == "H" for atom in made.topology.atoms)
