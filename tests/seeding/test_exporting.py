"""AMBER and GROMACS files say what OpenMM's System says, term by term, or are refused."""

from __future__ import annotations

import csv
from pathlib import Path

import mdtraj as md
import numpy as np
import openmm
import pytest
from force_fields import where_present
from openmm import app, unit

import openmm_slm
from openmm_slm.errors import SLMError
from openmm_slm.seeding import writing
from openmm_slm.seeding.exporting import check_formats
from openmm_slm.seeding.reading_back import ExportError, compare_energies
from openmm_slm.seeding.seeding_settings import SeedSettings

PEPTIDE = "AFKPISTWD"  # Pro has a CMAP of its own, Ile and Thr a hand at CB
QUICK = {"equilibration": 0.02, "platform": "CPU", "progress": False}
WET = {"padding": 0.5, "cutoff": 0.6, "ionic_strength": 0.3}
FIELDS = [
    "amber14", where_present("amber19-all.xml", "amber19", slow=True),
    pytest.param("charmm36", marks=pytest.mark.slow),
]  # fmt: skip


@pytest.fixture(scope="module")
def peptide() -> md.Trajectory:
    return openmm_slm.generate_ensemble(PEPTIDE, 1, seed=1, relax=True, progress=False)


def exported(peptide: md.Trajectory, folder: Path, formats, **settings) -> tuple[Path, dict]:
    """The folder of a seed, and its energies: (format, term) to ours and theirs."""
    out = openmm_slm.write_seeds(
        peptide, folder, 1, formats, report=np.ones(1, bool), **QUICK, **settings
    )
    with open(out / "seed_000" / "energies.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    return out / "seed_000", {
        (row["format"], row["term"]): (float(row["openmm_kj_mol"]), float(row["read_back_kj_mol"]))
        for row in rows
    }


def check(found: dict, formats) -> None:
    assert {name for name, _ in found} == set(formats)
    for name in formats:
        assert {"bonds", "angles", "torsions", "nonbonded", "total"} <= {
            term for kind, term in found if kind == name
        }
    largest = max(abs(ours) for ours, _ in found.values())
    for (_, term), (ours, theirs) in found.items():
        allowed = 1e-3 * (largest if term == "total" else abs(ours))
        assert theirs == pytest.approx(ours, abs=max(allowed, 0.05))


@pytest.mark.parametrize("field", FIELDS)
def test_vacuum_in_both_formats_and_implicit_in_amber(peptide, tmp_path, field):
    formats = ("amber", "gromacs")
    folder, found = exported(peptide, tmp_path / "v", formats, solvent="vacuum", forcefield=field)
    check(found, formats)
    assert (("amber", "cmap") in found) == (field != "amber14")
    gro = md.load(str(folder / "system.gro"))
    np.testing.assert_allclose(gro.xyz, md.load(str(folder / "topology.cif")).xyz, atol=2e-5)
    _, found = exported(peptide, tmp_path / "i", ["amber"], solvent="implicit", forcefield=field)
    check(found, ["amber"])
    assert found["amber", "implicit solvent"][0] < -500


@pytest.mark.slow
def test_two_chains_with_a_disulfide(tmp_path):
    """Both kinds of termini in residues of one name and size: types are told apart."""
    chains = openmm_slm.generate_ensemble(
        "CAHC:AFKC", 1, seed=4, relax=True, disulfides=[(0, 7)], progress=False
    )
    formats = ("amber", "gromacs")
    folder, found = exported(
        chains, tmp_path / "s", formats, solvent="vacuum", forcefield="charmm36"
    )
    check(found, formats)
    assert app.PDBxFile(str(folder / "topology.cif")).topology.getNumChains() == 2


@pytest.mark.slow
def test_gbn2_radii_reach_amber(peptide, tmp_path):
    _, found = exported(peptide, tmp_path / "s", ["amber"], solvent="gbn2")
    check(found, ["amber"])


@pytest.fixture(scope="module")
def octahedron(peptide, tmp_path_factory) -> tuple[Path, dict]:
    """In water of the default force field, in both formats."""
    return exported(peptide, tmp_path_factory.mktemp("wet") / "s", ("amber", "gromacs"), **WET)


def check_wet(folder: Path, found: dict) -> None:
    """Waters are what other programs take for rigid ones."""
    check(found, ("amber", "gromacs"))
    top = (folder / "system.top").read_text()
    assert "[ settles ]" in top and "[ molecules ]" in top
    read = app.AmberPrmtopFile(str(folder / "system.prmtop"))
    waters = [r for r in read.topology.residues() if r.name in ("HOH", "WAT")]
    rigid = read.createSystem(nonbondedMethod=app.NoCutoff, constraints=app.HBonds)
    flexible = read.createSystem(nonbondedMethod=app.NoCutoff, rigidWater=False)
    assert rigid.getNumConstraints() - flexible.getNumConstraints() >= 3 * len(waters) > 300


@pytest.mark.slow
def test_explicit_in_both_formats(octahedron):
    check_wet(*octahedron)


@pytest.mark.slow
@pytest.mark.parametrize(("field", "shape"), [("amber19", "cube"), ("charmm36", "octahedron")])
def test_explicit_with_other_force_fields(peptide, tmp_path, field, shape):
    formats = ("amber", "gromacs")
    settings = {"forcefield": field, "box_shape": shape, **WET}
    check_wet(*exported(peptide, tmp_path / "s", formats, **settings))


@pytest.mark.slow
def test_waters_in_amber_have_three_bonds_at_rest_and_its_octahedron(octahedron):
    """By hand: distances in the files are those in OpenMM, in AMBER's orientation of the box."""
    folder, _ = octahedron
    flags = (folder / "system.prmtop").read_text().split("%FLAG ")
    pointers = next(part for part in flags if part.startswith("POINTERS")).split()[2:]
    assert pointers[27] == "2"  # IFBOX: truncated octahedron
    inpcrd = app.AmberInpcrdFile(str(folder / "system.inpcrd"))
    angles = (folder / "system.inpcrd").read_text().split()[-3:]
    assert all(abs(float(angle) - 109.4712190) < 1e-4 for angle in angles)
    ours = md.load(str(folder / "topology.cif")).xyz[0].astype(float)
    theirs = np.array(inpcrd.getPositions(asNumpy=True).value_in_unit(unit.nanometer))
    pairs = np.random.default_rng(0).integers(0, len(ours), (2, 500))
    apart = [np.linalg.norm(x[pairs[0]] - x[pairs[1]], axis=1) for x in (ours, theirs)]
    np.testing.assert_allclose(*apart, atol=1e-3)
    state = openmm.XmlSerializer.deserialize((folder / "state.xml").read_text())
    volume = state.getPeriodicBoxVolume().value_in_unit(unit.nanometer**3)
    box = np.array(inpcrd.getBoxVectors().value_in_unit(unit.nanometer))
    assert abs(np.linalg.det(box)) == pytest.approx(volume, rel=1e-5)


@pytest.mark.parametrize(
    ("formats", "settings", "named"),
    [
        (("gromacs",), {"solvent": "implicit"}, "no implicit solvent.*openmm"),
        (("amber", "gromacs"), {"solvent": "gbn2"}, r"formats=\('amber',\)"),
        (("amber",), {"box_shape": "dodecahedron"}, "octahedron"),
        (("gromacs",), {"water": "opc"}, "fourth site of opc"),
        (("charmm",), {}, "openmm, amber, gromacs, replica-exchange, westpa"), ((), {}, "empty"),
    ],
)  # fmt: skip
def test_what_a_format_cannot_hold_is_refused_with_the_reason(peptide, formats, settings, named):
    with pytest.raises(SLMError, match=named):
        openmm_slm.write_seeds(peptide, "nowhere", 1, formats, **settings)
    assert not Path("nowhere").exists()
    assert check_formats("openmm", SeedSettings(**settings)) == ("openmm",)


def test_energies_that_differ_are_an_error():
    ours = {"bonds": 100.0, "cmap": 0.0, "total": -5.0}
    assert len(compare_energies("amber", ours, {**ours, "bonds": 100.09, "total": -4.91})) == 3
    for theirs in (
        {"bonds": 100.2, "total": -5.0},
        {**ours, "cmap": 1.0},
        {**ours, "total": np.nan},
    ):
        with pytest.raises(ExportError, match="amber files read back"):
            compare_energies("amber", ours, theirs)


def test_files_that_do_not_agree_cost_their_seed_alone(peptide, tmp_path, monkeypatch, caplog):
    """The first of three; the others are written before it is an error."""
    read, first = writing.read_back, iter([1.0])

    def off(*arguments):
        found = read(*arguments)
        return {**found, "bonds": found["bonds"] + next(first, 0.0)}

    monkeypatch.setattr(writing, "read_back", off)
    thrice = peptide[np.zeros(3, int)]
    options = {"solvent": "vacuum", "frames": range(3), "report": np.ones(3, bool), **QUICK}
    with pytest.raises(ExportError, match="1 of 3 seeds has no folder.*read back: bonds"):
        openmm_slm.write_seeds(thrice, tmp_path / "s", formats=("amber",), **options)
    with open(tmp_path / "s" / "seeds.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["written"] for row in rows] == ["0", "1", "1"]
    assert "read back: bonds" in rows[0]["error"] and "frame 0 is not written" in caplog.text
    assert sorted(path.name for path in (tmp_path / "s").glob("*seed_*")) == [
        "seed_001", "seed_002",
    ]  # fmt: skip
