"""Seeds: simulations that run from chosen frames."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import mdtraj as md
import numpy as np
import openmm
import pytest
from absent import without
from all_atoms import villin_path
from click.testing import CliRunner
from force_fields import where_present
from openmm import app, unit

import openmm_slm
from openmm_slm.cli.main import main
from openmm_slm.errors import SLMError
from openmm_slm.seeding.building import SeedBuilder
from openmm_slm.seeding.judging import SeedJudge, judge_md
from openmm_slm.seeding.plain import fast_system
from openmm_slm.seeding.reading_back import energies
from openmm_slm.seeding.seeding_settings import SeedSettings
from openmm_slm.seeding.solvating import box_width, solvate, warn_of_large_box
from openmm_slm.seeding.systems import create_system, load_forcefield

PEPTIDE = "AFKPISTW"
QUICK = {"equilibration": 0.1, "platform": "CPU"}
ALL = np.ones(3, bool)


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture(scope="module")
def peptide() -> md.Trajectory:
    """Three valid frames of eight residues, all atoms."""
    traj = openmm_slm.generate_ensemble(PEPTIDE, 3, seed=1, relax=True, progress=False)
    assert openmm_slm.geometry_report(traj)["valid"].all()
    return traj


# -- simulations -----------------------------------------------------------------------------


def test_simulations_run_and_take_reporters(peptide, tmp_path):
    runs = openmm_slm.seed_simulations(peptide, 2, "implicit", **QUICK)
    assert next(runs).frame != next(runs).frame
    (simulation,) = openmm_slm.seed_simulations(peptide, solvent="implicit", frames=[1], **QUICK)
    assert isinstance(simulation, app.Simulation) and simulation.currentStep == 0
    atoms = peptide.topology.select("backbone")
    reporter = md.reporters.DCDReporter(str(tmp_path / "x.dcd"), 5, atomSubset=atoms)
    simulation.reporters += [reporter, app.StateDataReporter(str(tmp_path / "x.csv"), 5, step=True)]
    simulation.step(20)
    reporter.close()
    run = md.load(str(tmp_path / "x.dcd"), top=peptide.topology.subset(atoms))
    assert run.n_frames == 4 and np.isfinite(run.xyz).all() and judge_md(run)["valid"].all()
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 5


def test_quantities_are_taken(peptide):
    (simulation,) = openmm_slm.seed_simulations(
        peptide, 1, "vacuum", temperature=310 * unit.kelvin, timestep=0.003 * unit.picosecond,
        hydrogen_mass=2 * unit.dalton, constraints="allbonds", friction=2 / unit.picosecond,
        **QUICK,
    )  # fmt: skip
    integrator = simulation.integrator
    assert integrator.getTemperature() == 310 * unit.kelvin
    assert integrator.getStepSize()._value == pytest.approx(0.003)
    assert integrator.getFriction()._value == 2
    assert simulation.system.getNumConstraints() == peptide.topology.n_bonds
    masses = [simulation.system.getParticleMass(i)._value for i in range(peptide.n_atoms)]
    hydrogens = [m for m, a in zip(masses, peptide.topology.atoms, strict=True)
                 if a.element.symbol == "H"]  # fmt: skip
    assert set(hydrogens) == {2.0}
    assert not any(isinstance(f, openmm.CustomExternalForce) for f in simulation.system.getForces())


def test_a_seed_stays_near_its_frame_and_of_its_hand(peptide, tmp_path):
    out = openmm_slm.write_seeds(
        peptide, tmp_path / "s", 2, solvent="implicit", progress=False, **QUICK
    )
    rows = rows_of(out / "seeds.csv")
    assert [row["written"] for row in rows] == ["1", "1"]
    for row in rows:
        seed = md.load(str(out / row["seed"] / "topology.cif"))
        assert float(row["ca_moved_nm"]) < 0.1
        frame = peptide[int(row["frame"])]
        moved = md.rmsd(seed, frame, atom_indices=peptide.topology.select("name CA"))[0]
        assert moved == pytest.approx(float(row["ca_moved_nm"]), abs=2e-3)
        report = openmm_slm.geometry_report(seed)
        assert report["d_residues"] == report["wrong_cb"] == report["pierced_rings"] == 0
    run = json.loads((out / "run.json").read_text())
    assert run["solvent"] == "obc2" and run["frames"] == [int(row["frame"]) for row in rows]


def test_what_dynamics_spoiled_is_seen(peptide):
    judge = SeedJudge(peptide.topology)
    x = peptide.xyz[:1]
    assert judge.faults(x) == [""]
    assert "D residues" in judge.faults(-x)[0]
    assert "not finite" in judge.faults(np.full_like(x, np.nan))[0]
    turned = judge.cis(x)[0]
    turned[2] = True
    assert judge.faults(x, turned) == ["the peptide before LYS3 flipped (cis/trans)"]


def test_seeds_that_fail_are_told_and_do_not_stop_the_others(peptide, tmp_path, caplog):
    """A mirror image has the same energy, but D residues."""
    bad = md.Trajectory(peptide.xyz.copy(), peptide.topology)
    bad.xyz[1] *= -1
    out = openmm_slm.write_seeds(
        bad, tmp_path / "s", frames=[1, 2], report=ALL, solvent="vacuum", progress=False, **QUICK
    )
    rows = rows_of(out / "seeds.csv")
    assert [row["written"] for row in rows] == ["0", "1"]
    assert "D residues" in rows[0]["error"]
    assert [p.name for p in out.glob("*seed_*")] == ["seed_001"]
    assert "frame 1 gave no simulation" in caplog.text
    with pytest.raises(SLMError, match="no seed of 1 could"):
        openmm_slm.write_seeds(
            bad, tmp_path / "t", frames=[1], report=ALL, solvent="vacuum", progress=False, **QUICK
        )


OTHERS = ("openmm_slm", "mdtraj", "torch", "parmed", "pdbfixer", "scipy")
ONLY_OPENMM = f"""{without(OTHERS)}
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def test_run_py_needs_openmm_alone(peptide, tmp_path):
    out = openmm_slm.write_seeds(
        peptide, tmp_path / "s", 1, solvent="implicit", progress=False, **QUICK
    )
    folder = out / "seed_000"
    command = [sys.executable, "-I", "-c", ONLY_OPENMM, str(folder / "run.py"), "40"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    run = md.load(str(folder / "trajectory.dcd"), top=str(folder / "topology.cif"))
    assert run.n_frames == 10 and judge_md(run)["valid"].all()
    assert len((folder / "log.csv").read_text().splitlines()) == 11
    assert (folder / "last.xml").exists()


def test_rounds(peptide, tmp_path):
    """Sample, simulate, find the least populated, start there again; as docs/seeding.md has it."""
    pool, judge, method = peptide, None, "kcenters"
    for number in range(2):
        runs = []
        for simulation in openmm_slm.seed_simulations(
            pool, 2, "vacuum", judge, method=method, seed=number, **QUICK
        ):
            name = str(tmp_path / f"round{number}_{simulation.frame}.dcd")
            reporter = md.reporters.DCDReporter(name, 10)
            simulation.reporters.append(reporter)
            simulation.step(60)
            reporter.close()
            runs.append(md.load(name, top=peptide.topology))
        pool, judge, method = md.join(runs), "md", "least-populated"
    assert pool.n_frames == 12 and judge_md(pool)["valid"].all()
    pool.save_xtc(str(tmp_path / "md.xtc"))
    peptide[0].save_pdb(str(tmp_path / "md.pdb"))
    arguments = [str(tmp_path / "md.xtc"), "--top", str(tmp_path / "md.pdb"), "--md", "-n", "1"]
    options = ["--method", "least-populated", "--solvent", "vacuum", "--equilibration", "0"]
    result = CliRunner().invoke(
        main, ["seed", *arguments, *options, "--platform", "CPU", "-o", str(tmp_path / "s")]
    )
    assert result.exit_code == 0, result.output


# -- explicit solvent ------------------------------------------------------------------------

WET = {"padding": 0.5, "cutoff": 0.6, "ionic_strength": 0.3}


def test_the_box_of_an_extended_chain_is_told(caplog):
    warn_of_large_box(11.0)
    assert not caplog.text
    warn_of_large_box(20.0)
    assert "20.0 nm wide, a cube of about 267,000 waters" in caplog.text


@pytest.mark.slow
def test_an_extended_box_holds_the_most_extended_frame(peptide):
    settings = SeedSettings(box="extended", solvent="explicit", equilibration=0, **WET)
    widths = [box_width(x, settings) for x in peptide.xyz]
    compact = np.argmin(widths)
    built = SeedBuilder(peptide, np.array([compact]), settings).build(compact)
    assert np.linalg.norm(built.box[0]) == pytest.approx(max(widths), abs=0.05)
    assert max(widths) > min(widths) + 0.05


@pytest.mark.parametrize(
    "shape",
    ["octahedron", *(pytest.param(s, marks=pytest.mark.slow) for s in ("cube", "dodecahedron"))],
)
def test_boxes_keep_images_apart_and_are_neutral(peptide, shape):
    settings = SeedSettings(box_shape=shape, **WET)
    field, xyz = load_forcefield(settings), peptide.xyz[0]
    width = box_width(xyz, settings)
    wet = solvate(peptide.topology.to_openmm(), xyz, field, settings, width, 1)
    again = solvate(peptide.topology.to_openmm(), xyz, field, settings, width, 1)
    np.testing.assert_array_equal(wet.xyz, again.xyz)
    box = np.array(wet.topology.getPeriodicBoxVectors().value_in_unit(unit.nanometer))
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3), -1).reshape(-1, 3)
    images = [xyz + s @ box for s in shifts if s.any()]
    nearest = min(np.linalg.norm(xyz[:, None] - image, axis=-1).min() for image in images)
    assert nearest >= settings.padding - 1e-3
    system = create_system(wet.topology, field, settings)
    (force,) = (f for f in system.getForces() if isinstance(f, openmm.NonbondedForce))
    charge = sum(force.getParticleParameters(i)[0]._value for i in range(len(wet.xyz)))
    assert abs(charge) < 1e-3 and wet.counts.positive + wet.counts.negative >= 3


@pytest.mark.slow
def test_one_box_for_all_seeds(peptide):
    made = list(openmm_slm.seed_simulations(
        peptide, 2, same_box=True, pressure=None, **WET, **{**QUICK, "equilibration": 0.02}
    ))  # fmt: skip
    names = [[r.name for r in s.topology.residues()] for s in made]
    assert names[0] == names[1] and names[0].count("HOH") > 100
    boxes = [s.context.getState().getPeriodicBoxVectors(asNumpy=True)._value for s in made]
    np.testing.assert_array_equal(*boxes)
    # Surplus waters were taken from afar: none is missing beside the protein.
    for simulation in made:
        xyz = simulation.context.getState(getPositions=True).getPositions(asNumpy=True)._value
        near = np.linalg.norm(xyz[peptide.n_atoms :, None] - xyz[: peptide.n_atoms], axis=-1)
        assert (near.min(1) < 0.35).sum() > 45


@pytest.mark.slow
@pytest.mark.parametrize("water", ["tip3p", "opc"])
def test_explicit_solvent_runs_at_its_pressure(peptide, tmp_path, water):
    out = openmm_slm.write_seeds(
        peptide, tmp_path / "s", 1, water=water, progress=False, **WET, **QUICK
    )
    folder = out / "seed_000"
    system = openmm.XmlSerializer.deserialize((folder / "system.xml").read_text())
    assert any(isinstance(f, openmm.MonteCarloBarostat) for f in system.getForces())
    command = [sys.executable, "-I", "-c", ONLY_OPENMM, str(folder / "run.py"), "60"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    last = rows_of(folder / "log.csv")[-1].values()
    assert np.isfinite([float(value) for value in list(last)[:5]]).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["charmm36", where_present("charmm36_2024.xml", "charmm36_2024")])
def test_charmm_on_the_fast_force_is_charmm(peptide, name):
    """The energy of OpenMM's own System, an NBFIX pair (sodium, carboxylate) included."""
    ion = app.Topology()
    residue = ion.addResidue("NA", ion.addChain())
    ion.addAtom("NA", app.element.sodium, residue)
    acid = next(atom.index for atom in peptide.topology.atoms if atom.name == "OXT")
    place = peptide.xyz[0, acid] + [0.0, 0.0, 0.28]
    modeller = app.Modeller(peptide.topology.to_openmm(), peptide.xyz[0] * unit.nanometer)
    modeller.add(ion, [openmm.Vec3(*map(float, place))] * unit.nanometer)
    xyz = np.array(modeller.positions.value_in_unit(unit.nanometer))
    settings = SeedSettings(forcefield=name, solvent="explicit")  # knows ions
    field = load_forcefield(settings)
    settings = SeedSettings(forcefield=name, solvent="vacuum")
    theirs = create_system(modeller.topology, field, settings, flexible=True)
    ours = fast_system(modeller.topology, theirs)
    assert "NBFIX" in [force.getName() for force in ours.getForces()]
    assert "LennardJones" not in [force.getName() for force in ours.getForces()]
    found = [energies(system, xyz) for system in (theirs, ours)]
    for term in ("bonds", "nonbonded", "torsions", "cmap"):
        assert found[1][term] == pytest.approx(found[0][term], rel=1e-5)
    fixes = [force for force in ours.getForces() if force.getName() == "NBFIX"][0]
    assert abs(energies(_alone(fixes, len(xyz)), xyz)["nonbonded"]) > 0.01


def _alone(force: openmm.Force, size: int) -> openmm.System:
    system = openmm.System()
    for _ in range(size):
        system.addParticle(1.0)
    system.addForce(openmm.XmlSerializer.clone(force))
    return system


# -- what cannot be done ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"n": 4}, "4 seeds of 3 valid"), ({"n": 0}, "n is 0"),
        ({"method": "random"}, "kcenters, kmeans, least-populated"),
        ({"features": "colour"}, "ca-rmsd, dihedrals"), ({"frames": [7]}, "0 to 2"),
        ({"features": "tica", "lag": 2}, "2 frames and the longest trajectory has 3"),
        ({"features": "tica", "lag": 0}, "lag is 0; give"),
        ({"frames": []}, "empty"), ({"report": "nice"}, "'nice'"),
        ({"report": np.zeros(3, bool)}, "0 valid frames"), ({"report": ALL[:2]}, "of 2 frames"),
        ({"report": {"energy": [1]}}, "'valid'"),
        ({"frames": [0], "report": np.zeros(3, bool)}, "frame 0 is not valid"),
        ({"forcefield": "amber77"}, "amber14, amber19, charmm36"),
        ({"water": "milk"}, "tip3p"), ({"solvent": "membrane"}, "addMembrane"),
        ({"solvent": "oil"}, "'oil'"), ({"solvent": "vacuum", "water": "tip3p"}, "explicit"),
        ({"padding": -1}, "padding is -1"), ({"padding": 3 * unit.kelvin}, "padding is 3 K"),
        ({"temperature": 0}, "temperature is 0"), ({"pressure": 0}, "or None"),
        ({"box_shape": "ball"}, "cube"), ({"constraints": "none"}, "hbonds"),
        ({"seed": -1}, "seed is -1"), ({"platform": "Abacus"}, "CPU"),
    ],
)  # fmt: skip
def test_bad_settings_are_named_at_once(peptide, options, named):
    report = options.pop("report", ALL)
    with pytest.raises(ValueError, match=named):
        next(openmm_slm.seed_simulations(peptide, report=report, **{"n": 1, **options}))


def test_a_setting_that_is_not_there_is_named(peptide):
    with pytest.raises(TypeError, match="pading"):
        openmm_slm.seed_simulations(peptide, report=ALL, n=1, pading=1)


def test_missing_atoms_ligands_and_membranes_are_named(peptide):
    bare = peptide.atom_slice([a.index for a in peptide.topology.atoms if a.element.symbol != "H"])
    stub = peptide.atom_slice([a.index for a in peptide.topology.atoms if a.name != "CG"])
    for traj, named in ((bare, r"ALA.*openmm_slm\.complete"), (stub, r"heavy atoms.*complete")):
        with pytest.raises(SLMError, match=named):
            openmm_slm.seed_simulations(traj, 1, "vacuum", report=ALL)
    lost = md.Trajectory(peptide.xyz.copy(), peptide.topology)
    lost.xyz[1:, 4] = np.nan
    with pytest.raises(SLMError, match="2 seeds of 1 valid"):
        openmm_slm.seed_simulations(lost, 2, "vacuum")
    for name, count, named in (("LIG", 1, "no parameters for LIG"), ("POPC", 10, "membranes")):
        topology, xyz = peptide.topology.copy(), peptide.xyz
        for _ in range(count):
            residue = topology.add_residue(name, topology.add_chain())
            topology.add_atom("X", md.element.carbon, residue)
            xyz = np.concatenate([xyz, xyz[:, :1] + 0.2], 1)
        with pytest.raises(SLMError, match=named):
            openmm_slm.seed_simulations(md.Trajectory(xyz, topology), 1, report=ALL)


def test_waters_and_ions_of_a_simulation_are_left_out():
    wet = md.load(villin_path())
    (simulation,) = openmm_slm.seed_simulations(
        wet, 1, "vacuum", report="md", equilibration=0, platform="CPU"
    )
    assert simulation.topology.getNumAtoms() == len(wet.topology.select("protein"))


def test_a_folder_that_is_not_empty_is_refused(peptide, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SLMError, match="not empty"):
        openmm_slm.write_seeds(peptide, tmp_path, 1, solvent="vacuum", report=ALL)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_the_command_writes_seeds_of_a_sampled_folder(tmp_path):
    samples = openmm_slm.generate_ensemble(
        "AFKP", 2, seed=1, relax=True, output=tmp_path / "samples", progress=False
    )
    arguments = ["seed", str(samples), "-n", "1", "--solvent", "vacuum", "--equilibration", "0.1"]
    result = CliRunner().invoke(main, [*arguments, "-o", str(tmp_path / "s"), "--format", "amber"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "s" / "seed_000" / "system.prmtop").exists()
    result = CliRunner().invoke(main, [*arguments, "-o", str(tmp_path / "s")])
    assert result.exit_code == 2 and "not empty" in result.output
    result = CliRunner().invoke(main, ["seed", "--help"])
    assert "Example" in result.output


def test_openmm_has_every_force_field_that_is_named():
    from openmm_slm.seeding.seeding_settings import PROTEINS, WATERS

    data = Path(str(files("openmm") / "app" / "data"))
    for name, waters in WATERS.items():
        assert (data / PROTEINS[name]).exists()
        assert all((data / file).exists() for file in waters.values())
