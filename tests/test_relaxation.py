"""Relaxation: frames become valid, energies are OpenMM's, and a bad frame stays alone with it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys

import mdtraj as md
import numpy as np
import openmm
import pytest
from all_atoms import template_chain, villin_path
from builders import ideal_backbone
from click.testing import CliRunner
from openmm import app, unit

import openmm_slm
from openmm_slm.cli import main
from openmm_slm.contacts import bonding, pierced_rings
from openmm_slm.errors import SLMError
from openmm_slm.geometry import superpose
from openmm_slm.relaxation.judging import FrameJudge
from openmm_slm.relaxation.relaxer import Relaxer
from openmm_slm.relaxation.settings import RelaxationSettings
from openmm_slm.relaxation.workers import WorkerPool
from openmm_slm.structure import ATOM14, ProteinStructure, from_backbone

QUIET = {"progress": False}
ALONE = {"progress": False, "processes": 1}
PEPTIDE = "AFKPISTW"


def completed(atom14: np.ndarray, sequence: str) -> md.Trajectory:
    """Frames [F, L, 14, 3] with hydrogens."""
    structure = from_backbone(atom14[:, :, :4], sequence)
    fields = {name: getattr(structure, name) for name in structure.__dataclass_fields__}
    full = ProteinStructure(**{**fields, "atom14": atom14})
    return openmm_slm.complete(full, progress=False, device="cpu")


@pytest.fixture(scope="module")
def villin() -> md.Trajectory:
    """Six frames of a protein of 35 residues that have clashes: MD, with noise of 0.26 A."""
    traj = md.load(villin_path())
    traj = traj.atom_slice(traj.topology.select("protein"))
    noise = np.random.default_rng(0).normal(0, 0.015, (6, traj.n_atoms, 3))
    return md.Trajectory((traj.xyz + noise).astype(np.float32), traj.topology)


@pytest.fixture(scope="module")
def relaxed(villin):
    return openmm_slm.relax(villin, **ALONE)


@pytest.fixture(scope="module")
def peptide() -> md.Trajectory:
    """Eight residues, four frames; Pro and both kinds of CB that have a hand."""
    rng = np.random.default_rng(1)
    chain = template_chain(PEPTIDE)
    frames = chain + rng.normal(0, 0.002, (4, *chain.shape)).astype(np.float32)
    return completed(frames, PEPTIDE)


def atoms_of(traj: md.Trajectory, row: int) -> dict[str, int]:
    return {atom.name: atom.index for atom in traj.topology.residue(row).atoms}


def changed(traj: md.Trajectory, frame: int, atoms, xyz) -> md.Trajectory:
    out = md.Trajectory(traj.xyz.copy(), traj.topology)
    out.xyz[frame, atoms] = xyz
    return out


def with_d_residue(traj: md.Trajectory, frame: int, row: int) -> md.Trajectory:
    """The side chain and HA of a residue mirrored in the plane of N, CA and C."""
    atoms = atoms_of(traj, row)
    x = traj.xyz[frame].astype(float)
    n, ca, c = (x[atoms[name]] for name in ("N", "CA", "C"))
    normal = np.cross(n - ca, c - ca)
    normal /= np.linalg.norm(normal)
    side = [i for name, i in atoms.items() if name not in ("N", "CA", "C", "O", "H")]
    return changed(traj, frame, side, x[side] - 2 * ((x[side] - ca) @ normal)[:, None] * normal)


def fresh_simulation(topology: app.Topology, *files: str) -> app.Simulation:
    system = app.ForceField(*files).createSystem(
        topology, nonbondedMethod=app.CutoffNonPeriodic, nonbondedCutoff=1 * unit.nanometer,
        constraints=None, rigidWater=False,
    )  # fmt: skip
    platform = openmm.Platform.getPlatformByName("Reference")
    return app.Simulation(topology, system, openmm.VerletIntegrator(0.001), platform)


# -- what comes out --------------------------------------------------------------------------


def test_frames_with_clashes_become_valid_and_hardly_move(villin, relaxed):
    report = relaxed.report
    assert not report["valid_before"].any() and report["valid"].all()
    assert (report["energy_after_kj_mol"] < report["energy_before_kj_mol"]).all()
    assert (report["closest_heavy_nm"] >= 0.25).all() and (report["d_residues"] == 0).all()
    assert all("N-CA or CA-C" in text for text in report["faults_before"])
    assert (report["error"] == "").all()
    moved = np.linalg.norm(relaxed.trajectory.xyz - villin.xyz, axis=-1)
    assert np.median(moved) < 0.06 and (report["ca_moved_nm"] < 0.06).all()
    assert relaxed.trajectory.topology is villin.topology or relaxed.trajectory.topology == (
        villin.topology
    )


def test_the_report_is_that_of_the_frames(relaxed):
    again = openmm_slm.geometry_report(relaxed.trajectory)
    for column, values in again.items():
        np.testing.assert_array_equal(relaxed.report[column], values)


@pytest.mark.parametrize(
    ("field", "solvent", "files"),
    [
        ("amber14-all", "vacuum", ["amber14-all.xml"]),
        ("charmm36.xml", "vacuum", ["charmm36.xml"]),
        ("amber14-all.xml", "obc2", ["amber14-all.xml", "implicit/obc2.xml"]),
        ("amber14-all.xml", "gbn2", ["amber14-all.xml", "implicit/gbn2.xml"]),
        ("amber19-all.xml", "vacuum", ["amber19-all.xml"]),
    ],
)
def test_energies_are_those_of_a_fresh_simulation(peptide, field, solvent, files):
    result = openmm_slm.relax(peptide[:2], forcefield=field, solvent=solvent, iterations=8, **ALONE)
    context = fresh_simulation(peptide.topology.to_openmm(), *files).context
    for traj, column in ((peptide, "before"), (result.trajectory, "after")):
        for frame in range(2):
            context.setPositions(traj.xyz[frame])
            expected = context.getState(getEnergy=True).getPotentialEnergy()._value
            found = result.report[f"energy_{column}_kj_mol"][frame]
            assert found == pytest.approx(expected, rel=1e-4)


def test_a_stronger_restraint_holds_the_backbone(relaxed):
    frame = relaxed.trajectory[0]
    moved = [
        openmm_slm.relax(frame, restraint=k, iterations=40, **ALONE).report["ca_moved_nm"][0]
        for k in (0, 1000, 1e5)
    ]
    assert moved[0] > moved[1] > 3 * moved[2]


def test_units_are_openmms():
    given = RelaxationSettings(
        restraint=2.390057 * unit.kilocalorie_per_mole / unit.angstrom**2 / 10,
        cutoff=12 * unit.angstrom, anneal=500 * unit.femtosecond,
    )  # fmt: skip
    assert given.restraint == pytest.approx(100, rel=1e-4)
    assert given.cutoff == pytest.approx(1.2) and given.anneal == pytest.approx(0.5)


# -- what a force field alone does not mend --------------------------------------------------


def test_a_d_residue_comes_back_and_an_l_residue_stays(peptide):
    spoiled = with_d_residue(peptide, 1, 2)
    result = openmm_slm.relax(spoiled, **ALONE)
    assert result.report["faults_before"][1].startswith("D residues: 1")
    assert (result.report["d_residues"] == 0).all() and result.report["valid"].all()
    # OpenMM alone leaves it as it is.
    topology = spoiled.topology.to_openmm()
    system = app.ForceField("amber14-all.xml").createSystem(topology)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001))
    context.setPositions(spoiled.xyz[1])
    openmm.LocalEnergyMinimizer.minimize(context)
    found = context.getState(getPositions=True).getPositions(asNumpy=True)._value
    alone = openmm_slm.geometry_report(md.Trajectory(found[None], spoiled.topology))
    assert alone["d_residues"].tolist() == [1]


def peptide_with_omega(degrees: float, sequence: str, row: int) -> md.Trajectory:
    length = len(sequence)
    omega = np.full(length, np.pi)
    omega[row] = np.radians(degrees)
    phi, psi = np.full(length, np.radians(-80.0)), np.full(length, np.radians(130.0))
    atom14 = np.full((1, length, 14, 3), np.nan, np.float32)
    atom14[0, :, :4] = ideal_backbone(phi, psi, omega)
    return completed(atom14, sequence)


@pytest.mark.parametrize("degrees", [0.0, 45.0, 110.0, -90.0])
def test_peptides_become_trans(degrees):
    traj = peptide_with_omega(degrees, "GAVLSKE", 3)
    result = openmm_slm.relax(traj, **ALONE)
    assert not result.report["valid_before"][0] and "peptide" in result.report["faults_before"][0]
    assert result.report["valid"][0], result.report["error"][0]


def test_a_cis_peptide_stays_before_proline_and_where_it_is_allowed():
    proline = openmm_slm.relax(peptide_with_omega(5.0, "GAVPSKE", 3), **ALONE).report
    assert proline["cis"][0] == 1 and proline["valid"][0]
    allowed = openmm_slm.relax(
        peptide_with_omega(5.0, "GAVLSKE", 3), cis_allowed=[3], **ALONE
    ).report
    assert allowed["cis"][0] == 1 and allowed["valid"][0]


def pierced() -> md.Trajectory:
    """Two chains: the bond CD-CE of a lysine goes through the ring of a phenylalanine."""
    one, two = template_chain("GFG"), template_chain("GKG")
    ring = one[1, 5:11].astype(float)
    normal = np.linalg.svd(ring - ring.mean(0))[2][2]
    cd, ce = (two[1, ATOM14["K"].index(name)].astype(float) for name in ("CD", "CE"))
    outwards = ring.mean(0) - np.nanmean(one[:, :4].reshape(-1, 3), 0)
    target = np.stack([ring.mean(0) - 0.077 * normal, ring.mean(0) + 0.077 * normal])
    best = None
    for turn in np.linspace(0, 2 * np.pi, 24, endpoint=False):  # the one that clashes least
        c, s = np.cos(turn), np.sin(turn)
        side = np.cross(normal, outwards)
        side /= np.linalg.norm(side)
        third = np.cross(normal, side)
        frame = np.stack([normal, c * side + s * third, -s * side + c * third])
        axis = (ce - cd) / np.linalg.norm(ce - cd)
        other = np.linalg.svd(axis[None])[2][1:]
        own = np.stack([axis, other[0], np.cross(axis, other[0])])
        placed = (two - (cd + ce) / 2) @ own.T @ frame + target.mean(0)
        gap = np.linalg.norm(
            one.reshape(-1, 1, 3)[np.isfinite(one.reshape(-1, 3)).all(1)]
            - placed.reshape(1, -1, 3)[:, np.isfinite(placed.reshape(-1, 3)).all(1)],
            axis=-1,
        )
        score = (gap < 0.25).sum()
        if best is None or score < best[0]:
            best = score, placed
    return completed(np.concatenate([one, best[1]])[None].astype(np.float32), "GFG:GKG")


def test_a_bond_comes_out_of_a_ring():
    traj = pierced()
    result = openmm_slm.relax(traj, **ALONE)
    assert "pierced ring" in result.report["faults_before"][0]
    assert result.report["valid"][0] and result.report["pierced_rings"][0] == 0
    unrepaired = openmm_slm.relax(traj, repair=False, **ALONE).report
    assert unrepaired["valid"][0] or "pierced ring" in unrepaired["error"][0]


# -- bad frames ------------------------------------------------------------------------------


def broken(traj: md.Trajectory) -> tuple[md.Trajectory, list[str]]:
    """Each frame twice, a broken one between sound ones, and what must be said of it."""
    xyz = np.repeat(traj.xyz[:1], 7, 0)
    atoms = atoms_of(traj, 3)
    xyz[0, atoms["CA"], 1] = np.nan
    xyz[1, atoms["CB"]] = xyz[1, atoms["CG"]]
    near, far = atoms_of(traj, 0)["CB"], atoms_of(traj, 5)
    moved = list(far.values())
    xyz[2, moved] += xyz[2, near] + np.float32([0.08, 0, 0]) - xyz[2, far["OG"]]
    half = [a.index for a in traj.topology.atoms if a.residue.index > 3]
    xyz[3, half] += 5.0
    xyz[4] *= 0.3
    xyz[5, atoms["CG"]] = np.inf
    xyz[6] = with_d_residue(traj, 0, 2).xyz[0]
    said = [
        "not finite .*CA of PRO 4", "in one place", "bonds are off", "bonds are off",
        "bonds are off", "not finite .*CG of PRO 4", "D residues: 1",
    ]  # fmt: skip
    return md.Trajectory(xyz, traj.topology), said


@pytest.mark.parametrize(("platform", "tolerance"), [("Reference", 0.0), ("CPU", 1e-4)])
def test_broken_frames_are_marked_and_others_do_not_notice(peptide, platform, tolerance):
    bad, said = broken(peptide)
    mixed = np.concatenate([peptide.xyz[:1], bad.xyz[:4], peptide.xyz[1:3], bad.xyz[4:]])
    place = {0: 0, 5: 1, 6: 2}
    options = {"platform": platform, "iterations": 20, **ALONE}
    result = openmm_slm.relax(md.Trajectory(mixed, peptide.topology), **options)
    alone = openmm_slm.relax(peptide[:3], **options)
    for frame, sound in place.items():
        np.testing.assert_allclose(
            result.trajectory.xyz[frame], alone.trajectory.xyz[sound], rtol=0, atol=tolerance
        )
    report = result.report
    rows = [i for i in range(len(mixed)) if i not in place]
    import re

    for row, what, x in zip(rows, said, bad.xyz, strict=True):
        text = report["error"][row] or report["faults_before"][row]
        assert re.search(what, text), (what, text)
        if report["error"][row]:
            assert not report["valid"][row]
            np.testing.assert_array_equal(result.trajectory.xyz[row], x)
    assert report["frame"].tolist() == list(range(len(mixed)))


def test_overlapping_atoms_are_parted(villin):
    """A residue pushed onto another, 0.8 A between heavy atoms: parted, and marked before."""
    x = villin.xyz[0].copy()
    ca = villin.topology.select("name CA")
    row = max(range(8, 30), key=lambda i: np.linalg.norm(x[ca[i]] - x[ca[2]]))
    tip = atoms_of(villin, row)
    heavy = [i for n, i in tip.items() if n not in ("N", "CA", "C", "O", "H", "HA")]
    other = atoms_of(villin, row - 4)["O"]
    gap = x[heavy[-1]] - x[other]
    assert np.linalg.norm(gap) > 0.08
    x[other] = x[heavy[-1]] + np.float32([0.08, 0, 0])
    traj = md.Trajectory(x[None], villin.topology)
    report = openmm_slm.relax(traj, **ALONE).report
    text = report["error"][0] or report["faults_before"][0]
    assert "under 0.25 nm" in text or "bonds are off" in text


def test_dropping_names_what_was_dropped(peptide, caplog):
    bad = changed(peptide, 2, [3], np.nan)
    result = openmm_slm.relax(bad, drop_invalid=True, iterations=10, **ALONE)
    assert result.kept.tolist() == [0, 1, 3] and result.trajectory.n_frames == 3
    assert len(result.report["valid"]) == 4
    assert any("1 of 4 frames" in m and "frames 2" in m for m in caplog.messages)


# -- many at once ----------------------------------------------------------------------------


def test_copies_in_one_system_come_out_as_alone(villin, relaxed):
    bad = changed(villin, 4, [7], np.nan)
    many = openmm_slm.relax(bad, copies=3, progress=False)
    assert many.report["valid"].tolist() == [True] * 4 + [False, True]
    sound = [0, 1, 2, 3, 5]
    off = np.linalg.norm(many.trajectory.xyz - relaxed.trajectory.xyz, axis=-1)[sound]
    assert np.median(np.sqrt((off**2).mean(1))) < 0.01
    np.testing.assert_allclose(
        many.report["energy_after_kj_mol"][sound],
        relaxed.report["energy_after_kj_mol"][sound], rtol=0.2,
    )  # fmt: skip


def test_worker_processes_change_nothing_and_one_that_dies_costs_one_frame(villin, relaxed):
    frames = [0, 1, 2, 3]
    pool = WorkerPool(villin.topology, RelaxationSettings(), 2)
    try:
        os.kill(pool._workers[0]._process.pid, signal.SIGKILL)
        pool._workers[0]._process.wait()
        found = pool.relax(villin.xyz[frames], 0)
        assert [bool(frame.error) for frame in found] == [True, False, False, False]
        assert "process" in found[0].error
        np.testing.assert_array_equal(found[0].xyz, villin.xyz[0])
        for i in frames[1:]:
            np.testing.assert_array_equal(found[i].xyz, relaxed.trajectory.xyz[i])
        again = pool.relax(villin.xyz[:1], 0)[0]
        np.testing.assert_array_equal(again.xyz, relaxed.trajectory.xyz[0])
    finally:
        pool.close()
    assert all(worker._process.returncode is not None for worker in pool._workers)


def test_a_script_needs_no_guard_no_torch_and_leaves_no_process(peptide, tmp_path):
    """Neither torch in this process nor the user's script again in the workers."""
    md.join([peptide] * 2).save_xtc(str(tmp_path / "x.xtc"))
    peptide[0].save_pdb(str(tmp_path / "x.pdb"))
    code = (
        "import sys, mdtraj, openmm_slm\n"
        "print('once')\n"
        "traj = mdtraj.load('x.xtc', top='x.pdb')\n"
        "res = openmm_slm.relax(traj, processes=2, iterations=5, progress=False)\n"
        "print(len(res.report['valid']), 'torch' in sys.modules)\n"
    )
    (tmp_path / "script.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["once", "8", "False"]


def test_annealing_repeats_and_does_not_depend_on_the_frames_before(peptide):
    options = {"anneal": 0.2, "seed": 3, "iterations": 10, **ALONE}
    all_four = openmm_slm.relax(peptide, **options).trajectory.xyz
    settings = RelaxationSettings(anneal=0.2, seed=3, iterations=10)
    with Relaxer(peptide.topology, settings, processes=1) as relaxer:
        last, _ = relaxer.relax(peptide.xyz[3:], first=3)
    np.testing.assert_array_equal(last[0], all_four[3])
    other = openmm_slm.relax(peptide[:1], **{**options, "seed": 4}).trajectory.xyz
    assert np.abs(other[0] - all_four[0]).max() > 0.005
    with pytest.raises(SLMError, match="anneal"):
        openmm_slm.relax(peptide, anneal=1, copies=2, progress=False)


# -- to disk, and as part of sampling --------------------------------------------------------


def test_streaming_resumes_and_the_command_does_the_same(peptide, tmp_path, monkeypatch):
    monkeypatch.setattr("openmm_slm.relaxing.BLOCK", 3)
    md.join([peptide] * 2).save_dcd(str(tmp_path / "x.dcd"))
    peptide[0].save_pdb(str(tmp_path / "x.pdb"))
    settings = {"top": tmp_path / "x.pdb", "iterations": 5, **ALONE}
    whole = openmm_slm.relax(tmp_path / "x.dcd", output=tmp_path / "whole", **settings)
    made, left = Relaxer.relax, iter(range(1))

    def stops(self, *arguments):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return made(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Relaxer, "relax", stops)
        with pytest.raises(KeyboardInterrupt):
            openmm_slm.relax(tmp_path / "x.dcd", output=tmp_path / "cut", **settings)
    assert json.loads((tmp_path / "cut/progress.json").read_text())["frames"] == 3
    openmm_slm.relax(tmp_path / "x.dcd", output=tmp_path / "cut", resume=True, **settings)
    arguments = ["relax", str(tmp_path / "x.dcd"), "--top", str(tmp_path / "x.pdb"), "-o"]
    arguments += [str(tmp_path / "cli"), "--iterations", "5", "--processes", "1"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    for name in ("samples.xtc", "report.csv", "topology.pdb"):
        for other in ("cut", "cli"):
            assert (tmp_path / other / name).read_bytes() == (whole / name).read_bytes()
    traj = md.load(str(tmp_path / "x.dcd"), top=str(tmp_path / "x.pdb"))
    memory = openmm_slm.relax(traj, iterations=5, **ALONE)
    disk = md.load(str(whole / "samples.xtc"), top=str(whole / "topology.pdb"))
    np.testing.assert_allclose(disk.xyz, memory.trajectory.xyz, atol=1.5e-3)
    with open(whole / "report.csv") as handle:
        rows = list(csv.DictReader(handle))
    assert [int(row["frame"]) for row in rows] == list(range(8))
    assert [row["valid"] == "1" for row in rows] == memory.report["valid"].tolist()


def test_sampling_relaxes_and_a_frame_stays_itself(tmp_path):
    options = {"seed": 2, "relax": {"iterations": 10}, "progress": False}
    generator = openmm_slm.EnsembleGenerator.from_pretrained(device="cpu")
    whole = generator.sample("GYDPETGTWG", 6, **options)
    where = generator.write("GYDPETGTWG", tmp_path / "o", 3, batch_size=2, **options)
    generator.write("GYDPETGTWG", where, 6, batch_size=4, resume=True, **options)
    disk = md.load(str(where / "samples.xtc"), top=str(where / "topology.pdb"))
    # Blocks of other sizes round otherwise by 1e-4 nm, and minimising makes more of it.
    off = np.sqrt(((disk.xyz - whole.trajectory.xyz) ** 2).sum(-1).mean(-1))
    assert off.max() < 2e-3
    run = json.loads((where / "run.json").read_text())
    assert run["relax"]["iterations"] == 10 and run["environment"]["openmm"]
    report = whole.report
    assert (report["energy_after_kj_mol"] < report["energy_before_kj_mol"]).all()
    assert report["valid"].sum() >= report["valid_before"].sum()
    result = CliRunner().invoke(
        main, ["sample", "GYDPETGTWG", "-n", "1", "--relax", "-o", str(tmp_path / "cli")]
    )
    assert result.exit_code == 0, result.output


# -- what cannot be done ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"forcefield": "amber77"}, "amber77"), ({"forcefield": []}, "forcefield"),
        ({"solvent": "milk"}, "vacuum, obc2, gbn2"), ({"platform": "Abacus"}, "CPU"),
        ({"restraint": -1}, "restraint is -1"), ({"iterations": 0}, "iterations is 0"),
        ({"cutoff": 0}, "cutoff is 0"), ({"tolerance": "fine"}, "tolerance is 'fine'"),
        ({"restraint": 3 * unit.kelvin}, "restraint is 3 K"), ({"processes": 0}, "processes is 0"),
        ({"copies": 2, "processes": 2}, "one or the other"), ({"resume": True}, "output"),
        ({"cis_allowed": [99]}, "rows 0 to 7"), ({"disulfides": [(0, 1)]}, "not CYS"),
        ({"seed": -1}, "seed is -1"),
    ],
)  # fmt: skip
def test_bad_settings_are_named(peptide, options, named):
    with pytest.raises(ValueError, match=named):
        openmm_slm.relax(peptide, **{**QUIET, **options})


def test_what_does_not_fit_a_force_field_is_named(peptide):
    bare = peptide.atom_slice([a.index for a in peptide.topology.atoms if a.element.symbol != "H"])
    with pytest.raises(SLMError, match=r"ALA.*openmm_slm\.complete"):
        openmm_slm.relax(bare, **QUIET)
    water = md.load(villin_path())
    with pytest.raises(SLMError, match="(Cl|HOH).*atom_slice"):
        openmm_slm.relax(water, **QUIET)
    for options, named in (({"sidechains": None}, "all atoms"), ({"hydrogens": False}, "all atom")):
        with pytest.raises(ValueError, match=named):
            openmm_slm.generate_ensemble("GYDPETGTWG", 1, relax=True, **options, **QUIET)
    for relax, named in (("yes", "'yes'"), ({"solvant": "obc2"}, "solvant")):
        with pytest.raises(ValueError, match=named):
            openmm_slm.generate_ensemble("GYDPETGTWG", 1, relax=relax, **QUIET)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nowhere.pdb"], "nowhere.pdb"), (["XTC"], "--top"), (["XTC", "--top", "XTC"], "read"),
        (["PDB", "--forcefield", "amber77"], "amber77"), (["PDB", "--platform", "X"], "CPU"),
        (["TEXT"], "cannot be read"),
    ],
)  # fmt: skip
def test_bad_input_gives_one_line_and_exit_code_2(peptide, arguments, named, tmp_path):
    peptide[0].save_pdb(str(tmp_path / "x.pdb"))
    peptide.save_xtc(str(tmp_path / "x.xtc"))
    (tmp_path / "y.pdb").write_text("nothing\n")
    places = {name: str(tmp_path / file) for name, file in
              (("XTC", "x.xtc"), ("PDB", "x.pdb"), ("TEXT", "y.pdb"))}  # fmt: skip
    arguments = [places.get(a, a) for a in arguments]
    result = CliRunner().invoke(main, ["relax", *arguments, "-o", str(tmp_path / "out")])
    assert result.exit_code == 2 and result.exception.__class__ is SystemExit
    assert named in result.output and len(result.output.strip().splitlines()) == 1


def test_the_judge_knows_what_is_bonded_from_the_topology(peptide):
    judge = FrameJudge(peptide.topology)
    assert judge.sequence == PEPTIDE and judge.chain_break.tolist() == [True] + [False] * 7
    torn = peptide.xyz[:1].copy()
    half = [a.index for a in peptide.topology.atoms if a.residue.index > 3]
    torn[0, half] += 5.0  # a gap for what guesses by distance, a broken bond here
    assert judge.report(torn)["broken_bonds"][0] == 1
    bonds = bonding(judge.sequence, judge.chain_break)
    assert pierced_rings(np.zeros((1, 15 * 8, 3)) * np.nan, bonds)[0] == 0
    moved, _, _ = superpose(peptide.xyz[0], peptide.xyz[0])
    np.testing.assert_allclose(moved, peptide.xyz[0], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("field", ["amber14-all.xml", "amber19-all.xml", "charmm36.xml"])
def test_relaxed_frames_can_be_simulated(relaxed, field):
    topology = relaxed.trajectory.topology.to_openmm()
    system = app.ForceField(field).createSystem(
        topology, nonbondedMethod=app.CutoffNonPeriodic, constraints=app.HBonds
    )
    integrator = openmm.LangevinMiddleIntegrator(300, 1, 0.002)
    simulation = app.Simulation(topology, system, integrator)
    for x in relaxed.trajectory.xyz[:3]:
        simulation.context.setPositions(x)
        simulation.context.setVelocitiesToTemperature(300, 1)
        simulation.step(1000)
        state = simulation.context.getState(getPositions=True)
        assert np.isfinite(state.getPositions(asNumpy=True)._value).all()
