"""Relaxation: frames become valid, energies are OpenMM's, and a bad frame stays alone with it."""

from __future__ import annotations

import re

import mdtraj as md
import numpy as np
import openmm
import pytest
from force_fields import NEWER, load, where_present
from frames_to_relax import (
    ALONE,
    PEPTIDE,
    atoms_of,
    changed,
    overlapping,
    peptide_with_omega,
    pierced,
    with_d_residue,
)
from openmm import app, unit

import openmm_slm
from openmm_slm.relaxation.judging import FrameJudge
from openmm_slm.relaxation.relaxation_settings import RelaxationSettings


def fresh_simulation(topology: app.Topology, *files: str) -> app.Simulation:
    system = load(*files).createSystem(
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
        pytest.param("charmm36.xml", "vacuum", ["charmm36.xml"], marks=pytest.mark.slow),
        ("amber14-all.xml", "obc2", ["amber14-all.xml", "implicit/obc2.xml"]),
        ("amber14-all.xml", "gbn2", ["amber14-all.xml", "implicit/gbn2.xml"]),
        where_present("amber19-all.xml", "amber19-all.xml", "vacuum", ["amber19-all.xml"]),
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
    system = load("amber14-all.xml").createSystem(topology)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001))
    context.setPositions(spoiled.xyz[1])
    openmm.LocalEnergyMinimizer.minimize(context)
    found = context.getState(getPositions=True).getPositions(asNumpy=True)._value
    alone = openmm_slm.geometry_report(md.Trajectory(found[None], spoiled.topology))
    assert alone["d_residues"].tolist() == [1]


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


def test_a_bond_comes_out_of_a_ring():
    traj = pierced()
    result = openmm_slm.relax(traj, **ALONE)
    assert "pierced ring" in result.report["faults_before"][0]
    assert result.report["valid"][0] and result.report["pierced_rings"][0] == 0
    unrepaired = openmm_slm.relax(traj, repair=False, **ALONE).report
    assert not unrepaired["valid"][0] and "pierced ring" in unrepaired["error"][0]


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
        "not finite .*CA of PRO 4", "in one place", "bonds are off", "1 bond is off",
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
    for row, what, x in zip(rows, said, bad.xyz, strict=True):
        text = report["error"][row] or report["faults_before"][row]
        assert re.search(what, text), (what, text)
        if report["error"][row]:
            assert not report["valid"][row]
            np.testing.assert_array_equal(result.trajectory.xyz[row], x)
    assert report["frame"].tolist() == list(range(len(mixed)))


def test_overlapping_atoms_are_parted():
    """Two chains whose CB face each other, 0.8 A apart: pushed apart, not torn."""
    result = openmm_slm.relax(overlapping(0.08), **ALONE)
    before, after = (
        openmm_slm.geometry_report(traj) for traj in (overlapping(0.08), result.trajectory)
    )
    assert before["closest_heavy_nm"][0] < 0.1 < 0.25 <= after["closest_heavy_nm"][0]
    assert "under 0.25 nm" in result.report["faults_before"][0] and result.report["valid"][0]


def test_dropping_names_what_was_dropped(peptide, caplog):
    bad = changed(peptide, 2, [3], np.nan)
    result = openmm_slm.relax(bad, drop_invalid=True, iterations=10, **ALONE)
    assert result.kept.tolist() == [0, 1, 3] and result.trajectory.n_frames == 3
    assert len(result.report["valid"]) == 4
    assert any("1 of 4 frames" in m and "frames 2" in m for m in caplog.messages)


def test_the_judge_knows_what_is_bonded_from_the_topology(peptide):
    judge = FrameJudge(peptide.topology)
    assert (
        judge.protein.sequence == PEPTIDE
        and judge.protein.chain_break.tolist() == [True] + [False] * 7
    )
    torn = peptide.xyz[:1].copy()
    half = [a.index for a in peptide.topology.atoms if a.residue.index > 3]
    torn[0, half] += 5.0  # a gap for what guesses by distance, a broken bond here
    assert judge.report(torn)["broken_bonds"][0] == 1


@pytest.mark.slow
@pytest.mark.parametrize("field", ["amber14-all.xml", "charmm36.xml", *map(where_present, NEWER)])
def test_relaxed_frames_can_be_simulated(relaxed, field):
    topology = relaxed.trajectory.topology.to_openmm()
    system = load(field).createSystem(
        topology, nonbondedMethod=app.CutoffNonPeriodic, constraints=app.HBonds
    )
    integrator = openmm.LangevinMiddleIntegrator(300, 1, 0.002)
    simulation = app.Simulation(topology, system, integrator)
    for x in relaxed.trajectory.xyz[:3]:
        simulation.context.setPositions(x)
        simulation.context.setVelocitiesToTemperature(300, 1)
        simulation.step(100)
        state = simulation.context.getState(getPositions=True)
        assert np.isfinite(state.getPositions(asNumpy=True)._value).all()
