"""`complete`: what is there stays, what is missing comes, and OpenMM takes the result as it is."""

from __future__ import annotations

import csv
import json
import logging

import mdtraj as md
import numpy as np
import pytest
from all_atoms import villin_path
from click.testing import CliRunner
from force_fields import load
from openmm import LocalEnergyMinimizer, VerletIntegrator, app, unit

import openmm_slm
from openmm_slm.allatom.completer import AtomCompleter
from openmm_slm.cli.main import main
from openmm_slm.protein.atoms import ATOM14, residue_letter
from openmm_slm.protein.structure import from_backbone

QUIET = {"progress": False, "device": "cpu"}
BPTI = "RPDFCLEPPYTGPCKARIIRYFYNAKAGLCQTFVYGGCRAKRNNFKSAEDCMRTCGGA"
FIELDS = ("amber14-all.xml", "amber19-all.xml", "charmm36.xml")


@pytest.fixture(scope="module")
def villin_frames() -> md.Trajectory:
    """Three frames of villin, solvent and all."""
    traj = md.load(villin_path())
    noise = np.random.default_rng(0).normal(0, 0.002, (3, traj.n_atoms, 3))
    noise[0] = 0
    return md.Trajectory((traj.xyz + noise).astype(np.float32), traj.topology)


def heavy(traj: md.Trajectory) -> dict[tuple[int, str], np.ndarray]:
    """Coordinates [F, 3] of the heavy atoms of the protein by residue and name."""
    return {
        (atom.residue.index, atom.name): traj.xyz[:, atom.index]
        for atom in traj.topology.atoms
        if atom.element.symbol != "H" and atom.name in ATOM14[residue_letter(atom.residue.name)]
    }


def test_heavy_atoms_stay_and_hydrogens_are_those_of_the_protein(villin_frames):
    full = openmm_slm.complete(villin_frames, **QUIET)
    before, after = heavy(villin_frames), heavy(full)
    assert set(after) <= set(before) and len(after) > 200
    for key, xyz in after.items():
        np.testing.assert_array_equal(xyz, before[key])
    protein = villin_frames.topology.select("protein and symbol == H")
    assert sum(atom.element.symbol == "H" for atom in full.topology.atoms) == len(protein)


def test_backbones_alone_are_completed_the_same_in_memory_and_on_disk(
    villin_frames, tmp_path, monkeypatch
):
    monkeypatch.setattr("openmm_slm.sampling.completion.BLOCK", 10)
    bare = villin_frames.atom_slice(villin_frames.topology.select("protein and backbone"))
    many = md.join([bare] * 5)
    many.save_xtc(str(tmp_path / "bare.xtc"))
    many[0].save_pdb(str(tmp_path / "bare.pdb"))
    full = openmm_slm.complete(
        md.load(str(tmp_path / "bare.xtc"), top=str(tmp_path / "bare.pdb")), **QUIET
    )
    arguments = ["complete", str(tmp_path / "bare.xtc"), "--top", str(tmp_path / "bare.pdb")]
    result = CliRunner().invoke(main, [*arguments, "-o", str(tmp_path / "out"), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    disk = md.load(str(tmp_path / "out/samples.xtc"), top=str(tmp_path / "out/topology.pdb"))
    assert disk.n_frames == 15  # more than one block
    np.testing.assert_allclose(disk.xyz, full.xyz, atol=6e-4)
    with open(tmp_path / "out/report.csv") as handle:
        rows = list(csv.DictReader(handle))
    assert [int(row["frame"]) for row in rows] == list(range(15))
    report = openmm_slm.geometry_report(full)
    assert [row["valid"] == "1" for row in rows] == report["valid"].tolist()
    assert json.loads((tmp_path / "out/run.json").read_text())["task"] == "complete"
    again = CliRunner().invoke(main, [*arguments, "-o", str(tmp_path / "out"), "--resume"])
    assert again.exit_code == 0, again.output
    for residue in many.topology.residues:  # the same frames; the finished ones have other numbers
        residue.resSeq += 100
    many[0].save_pdb(str(tmp_path / "bare.pdb"))
    again = CliRunner().invoke(main, [*arguments, "-o", str(tmp_path / "out"), "--resume"])
    assert again.exit_code == 2 and "numbers" in again.output, again.output


def test_an_interrupted_completion_goes_on(villin_frames, tmp_path, monkeypatch):
    bare = villin_frames.atom_slice(villin_frames.topology.select("protein and backbone"))
    monkeypatch.setattr("openmm_slm.sampling.completion.BLOCK", 10)
    md.join([bare] * 8).save_dcd(str(tmp_path / "bare.dcd"))
    bare[0].save_pdb(str(tmp_path / "bare.pdb"))
    settings = {"top": tmp_path / "bare.pdb", "sidechains": "packer", **QUIET}
    openmm_slm.complete(tmp_path / "bare.dcd", output=tmp_path / "whole", **settings)
    made = AtomCompleter.complete
    left = iter(range(1))

    def stops(self, *given, **named):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return made(self, *given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(AtomCompleter, "complete", stops)
        with pytest.raises(KeyboardInterrupt):
            openmm_slm.complete(tmp_path / "bare.dcd", output=tmp_path / "cut", **settings)
    assert json.loads((tmp_path / "cut/progress.json").read_text())["frames"] == 10
    openmm_slm.complete(tmp_path / "bare.dcd", output=tmp_path / "cut", resume=True, **settings)
    for name in ("samples.xtc", "report.csv", "topology.pdb"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


PROTEINS = {  # disulfides, two chains, His at both ends and inside, Pro at both ends, Gly first
    BPTI: [(4, 54), (13, 37), (29, 50)],
    "GYDPETGTWG": "auto",
    "HKHWPQNMHDEH": "auto",
    "PACDEFGHIKLMNPQRSTVWYP": "auto",
    "GSHMCAAC:PLKVHERP": [(4, 7)],
}


@pytest.mark.parametrize("sequence", PROTEINS)
def test_force_fields_take_generated_frames(sequence):
    traj = openmm_slm.generate_ensemble(
        sequence, n=2, seed=3, disulfides=PROTEINS[sequence], **QUIET
    )
    topology = traj.topology.to_openmm()
    for name in FIELDS:
        system = load(name).createSystem(topology, nonbondedMethod=app.CutoffNonPeriodic)
        assert system.getNumParticles() == traj.n_atoms
    context = app.Simulation(topology, system, VerletIntegrator(0.001)).context
    context.setPositions(traj.xyz[0])
    LocalEnergyMinimizer.minimize(context, maxIterations=200)
    state = context.getState(getEnergy=True)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    assert np.isfinite(energy)
    bridges = [] if PROTEINS[sequence] == "auto" else PROTEINS[sequence]
    sulfurs = {
        (a.residue.index, b.residue.index)
        for a, b in traj.topology.bonds
        if a.name == b.name == "SG"
    }
    assert sulfurs == set(bridges)


def test_frames_that_cannot_form_a_disulfide_are_marked():
    gen = openmm_slm.EnsembleGenerator.from_pretrained(device="cpu")
    settings = {"seed": 1, "disulfides": [(4, 54)], "progress": False}
    report = gen.sample(BPTI, 4, relatives=None, **settings).report
    assert report["disulfides_open"].max() == 1  # sampled chains are not folded
    assert gen.sample(BPTI, 4, **settings).report["disulfides_open"].max() == 0


def test_topology_does_not_depend_on_how_many_are_sampled():
    sequence = "GCPGCAHPCG"
    one, many = (
        openmm_slm.generate_ensemble(sequence, n=n, seed=2, **QUIET).topology for n in (1, 12)
    )
    assert one == many
    assert {frozenset((a.index, b.index)) for a, b in one.bonds} == {
        frozenset((a.index, b.index)) for a, b in many.bonds
    }


def test_ph_and_hydrogens_are_the_users_choice():
    bare = openmm_slm.generate_ensemble("AHDKEY", n=1, seed=0, sidechains=None, **QUIET)
    assert {a.name for a in bare.topology.atoms} == {"N", "CA", "C", "O"}
    acid, base = (openmm_slm.complete(bare, ph=ph, **QUIET) for ph in (2.0, 12.0))
    names = [{a.name for a in full.topology.residue(1).atoms} for full in (acid, base)]
    assert {"HD1", "HE2"} <= names[0] and not {"HD1", "HE2"} <= names[1]
    plain = openmm_slm.complete(bare, hydrogens=False, **QUIET)
    assert {a.element.symbol for a in plain.topology.atoms} == {"C", "N", "O"}


def test_oxygens_are_put_where_the_backbone_has_none(villin_frames):
    chosen = villin_frames.topology.select("protein and (name N CA C)")
    full = openmm_slm.complete(villin_frames.atom_slice(chosen)[:1], **QUIET)
    before, after = heavy(villin_frames[:1]), heavy(full)
    off = [np.linalg.norm(after[k] - before[k]) for k in after if k[1] == "O" and k[0] < 34]
    assert np.mean(off) < 0.02


def change(traj: md.Trajectory, **what) -> md.Trajectory:
    traj = md.Trajectory(traj.xyz.copy(), traj.topology.copy())
    residue = traj.topology.residue(5)
    if "drop" in what:
        return traj.atom_slice(
            [a.index for a in traj.topology.atoms if a.residue is not residue or a.name != "CA"]
        )
    if "name" in what:
        residue.name = what["name"]
    if "nan" in what:
        traj.xyz[1, 8] = np.nan
    if "twice" in what:
        residue.atom("O").name = "N"
    if "mirror" in what:
        traj.xyz[1, :, 0] *= -1
    return traj


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ({"drop": True}, "PHE6 .* has no CA"), ({"name": "DAL"}, "not one of the 20"),
        ({"name": "UNK"}, "not one of the 20"), ({"nan": True}, "frame 1 .*not finite"),
        ({"twice": True}, "has N 2 times"),
    ],
)  # fmt: skip
def test_bad_frames_are_refused(what, named, tmp_path):
    bare = backbones()
    with pytest.raises(ValueError, match=named):
        openmm_slm.complete(change(bare, **what), **QUIET)


def backbones() -> md.Trajectory:
    return openmm_slm.generate_ensemble(
        "GYDPEFGTWG", n=3, seed=1, sidechains=None, project=True, **QUIET
    )


def test_mirror_images_are_marked_and_stay_in_place(caplog):
    full = openmm_slm.complete(backbones(), **QUIET)
    keep = [a.index for a in full.topology.atoms if a.element.symbol != "H"]
    frames = full.atom_slice(keep)
    frames.xyz[1, :, 0] *= -1
    with caplog.at_level(logging.WARNING):
        again = openmm_slm.complete(frames, **QUIET)
    assert again.n_frames == 3 and any("of 3 frames is not valid" in m for m in caplog.messages)
    report = openmm_slm.geometry_report(again)
    assert report["d_residues"].tolist() == [0, 7, 0] and not report["valid"][1]


def test_frames_without_coordinates_are_marked_not_dropped():
    frames = backbones().xyz.reshape(3, 10, 4, 3).copy()
    frames[1, 4] = np.nan
    structure = from_backbone(frames, "GYDPEFGTWG")
    full = openmm_slm.complete(structure, **QUIET)
    assert np.isnan(full.xyz[1]).all() and np.isfinite(full.xyz[[0, 2]]).all()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nowhere.pdb"], "nowhere.pdb"), (["nowhere.xtc"], "no such file"),
        (["FILE"], "--top"), (["FILE", "--top", "FILE"], "cannot be read"),
        (["PDB", "--ph", "20"], "0 to 14"), (["PDB", "--disulfides", "1-2"], "not CYS"),
        (["PDB", "--disulfides", "a-b"], "4-54"), (["PDB", "--model", "nope"], "nope"),
    ],
)  # fmt: skip
def test_bad_input_gives_one_line_and_exit_code_2(arguments, named, tmp_path):
    backbones()[0].save_pdb(str(tmp_path / "x.pdb"))
    backbones().save_xtc(str(tmp_path / "x.xtc"))
    places = {"FILE": str(tmp_path / "x.xtc"), "PDB": str(tmp_path / "x.pdb")}
    arguments = [places.get(a, a) for a in arguments]
    result = CliRunner().invoke(main, ["complete", *arguments, "-o", str(tmp_path / "out")])
    assert result.exit_code == 2 and result.exception.__class__ is SystemExit
    assert named in result.output and len(result.output.strip().splitlines()) == 1


def test_pdbfixer_gives_l_residues_too():
    frame = backbones()[0]
    full = openmm_slm.complete(frame, sidechains="pdbfixer", **QUIET)
    report = openmm_slm.geometry_report(full)
    assert report["d_residues"][0] == report["wrong_cb"][0] == report["missing_heavy_atoms"][0] == 0
