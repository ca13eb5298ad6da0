"""Several states as templates: frames of each, and a path from one to the other."""

from __future__ import annotations

import json

import mdtraj as md
import numpy as np
import pytest
from click.testing import CliRunner
from hinge import two_domains, two_helices

import openmm_slm
from openmm_slm.cli.main import main
from openmm_slm.files.report_table import read_report
from openmm_slm.protein.elastic_path import ElasticPath
from openmm_slm.protein.geometry import distance_matrix
from openmm_slm.protein.structure import ProteinStructure
from openmm_slm.protein.superposition import rmsd, superpose
from openmm_slm.protein.trajectory import from_trajectory
from openmm_slm.sampling.backbones import BackboneSampler
from openmm_slm.sampling.request import make_request

QUIET = {"progress": False, "seed": 3}
BARE = {**QUIET, "sidechains": None}


@pytest.fixture(scope="module")
def generator():
    return openmm_slm.EnsembleGenerator.from_pretrained("default", device="cpu")


@pytest.fixture(scope="module")
def states() -> list[ProteinStructure]:
    return [two_helices(psi) for psi in (-45.0, 60.0)]


@pytest.fixture(scope="module")
def files(states, tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("states")
    for name, state in zip("ab", states, strict=True):
        state.to_trajectory("backbone").save_pdb(str(folder / f"{name}.pdb"))
    return [str(folder / "a.pdb"), str(folder / "b.pdb")]


def ca_of(source: md.Trajectory | ProteinStructure) -> np.ndarray:
    found = source if isinstance(source, ProteinStructure) else from_trajectory(source)
    return found.backbone[:, :, 1].astype(float)


def domains_turn(ca: np.ndarray, half: int) -> float:
    """Angle (degrees) between two frames' second halves after their first ones are superposed."""
    first = np.arange(ca.shape[1]) < half
    moved, _, _ = superpose(ca[1], ca[0], first)
    _, rotation, _ = superpose(moved, ca[0], ~first)
    return float(np.degrees(np.arccos((np.trace(rotation) - 1) / 2)))


def test_states_are_used_in_turn_and_the_report_says_which(generator, states, tmp_path):
    one, two = (state.to_trajectory("backbone") for state in states)
    given = [one, md.join([two, two])]  # of two frames: as many samples as the other state
    made = generator.sample(states[0].sequence, 6, template=given, deform=0.02, **BARE)
    assert made.state.tolist() == [0, 1, 0, 1, 0, 1]
    away = np.stack([rmsd(ca_of(made.trajectory), ca_of(state)) for state in states])
    assert away.argmin(0).tolist() == made.state.tolist() and away.min(0).max() < 0.1
    fewer = generator.sample(
        states[0].sequence, 3, template=given, deform=0.02, batch_size=1, **BARE
    )
    np.testing.assert_array_equal(fewer.tokens, made.tokens[:3])
    alone = generator.sample(states[0].sequence, 2, template=one, **BARE)
    assert alone.state is None and "progress" not in made.report


def test_every_state_moves_both_ways_along_each_soft_mode(generator, states):
    one, two = (state.to_trajectory("backbone") for state in states)
    given = [one, md.join([two] * 3)]  # the only frame of the first state is used most often
    settings, laid, _ = make_request(
        states[0].sequence, 80, template=given, settings={"deform": "0.3 soft", "seed": 3}
    )
    starts = BackboneSampler(generator.tokenizer, generator.language_model, settings, laid).starts
    for first, step in ((0, 2), (3, 6)):  # frames of the only frame of a state, of one of three
        frames = first + step * np.arange(10)
        row = starts.rows(frames)
        assert (row == row[0]).all()
        start = laid.backbone[row[0]]
        moved = np.stack([starts.displaced(i, 0, start)[0] - start for i in frames])
        alike = np.corrcoef(moved[:, :, 1].reshape(10, -1))
        assert (alike.min(0) < -0.8).all()  # each has its opposite
        assert (alike > 0.8).sum() == 10  # and no two go the same way


@pytest.mark.parametrize(("path", "level"), [(True, 0.05), (False, 0.01)])
def test_frames_between_states_are_held_less(generator, states, path, level):
    given = [state.to_trajectory("backbone") for state in states]
    settings, laid, _ = make_request(
        states[0].sequence, 4, template=given, settings={"path": path, "seed": 3}
    )
    sampler = BackboneSampler(generator.tokenizer, generator.language_model, settings, laid)
    assert sampler.starts.level == level


def test_a_path_goes_from_the_first_state_to_the_last(generator, states):
    made = generator.sample(states[0].sequence, 13, template=states, path=True, **BARE)
    progress = made.report["progress"]
    np.testing.assert_allclose(progress, np.linspace(0, 1, 13), atol=1e-6)
    away = np.stack([rmsd(ca_of(made.trajectory), ca_of(state)) for state in states])
    assert away[0, 0] < 0.05 and away[1, -1] < 0.05 and away[0, -1] > 0.25
    measured = (away[0] - away[1]) / (away[0] + away[1])
    assert (np.diff(measured) > 0).all()
    assert made.report["valid"].all()
    whole = generator.sample(
        states[0].sequence, 13, template=states, path=True, batch_size=3, **BARE
    )
    np.testing.assert_array_equal(whole.tokens, made.tokens)
    np.testing.assert_allclose(whole.trajectory.xyz, made.trajectory.xyz, atol=1e-4)


def test_a_path_passes_the_states_between(generator, states):
    given = [states[0], two_helices(0.0), states[1]]
    made = generator.sample(states[0].sequence, 5, template=given, path=True, **BARE)
    assert made.state.tolist() == [0, 0, 1, 2, 2]
    assert rmsd(ca_of(made.trajectory)[2], ca_of(given[1])[0]) < 0.05


@pytest.mark.slow
def test_domains_that_turn_about_a_hinge_are_joined_by_valid_frames(generator):
    """As in adenylate kinase: both states are reached, in order, and every frame is valid."""
    ends = [two_domains(turn) for turn in (0.0, 60.0)]
    first, last = (ca_of(state)[0] for state in ends)
    assert 30 < domains_turn(np.stack([first, last]), 37) < 65 and rmsd(first, last) > 0.35
    made = generator.sample(ends[0].sequence, 50, template=ends, path=True, **QUIET)
    assert made.report["valid"].all()
    away = np.stack([rmsd(ca_of(made.trajectory), ca) for ca in (first, last)])
    assert away.min(1).max() < 0.15 and away[0, 0] < 0.1 and away[1, -1] < 0.1
    assert (np.diff(made.report["progress"]) > 0).all()
    measured = (away[0] - away[1]) / (away[0] + away[1])
    assert np.corrcoef(np.argsort(np.argsort(measured)), np.arange(50))[0, 1] > 0.99
    few = openmm_slm.relax(made.trajectory[::7], processes=1, progress=False)  # all 50: minutes
    assert few.report["valid"].all()
    relaxed = np.stack([rmsd(ca_of(few.trajectory), ca) for ca in (first, last)])
    assert np.abs(relaxed - away[:, ::7]).max() < 0.05


def test_the_network_keeps_bonds_and_ends_in_both_conformers():
    ends = [ca_of(two_domains(turn))[0] for turn in (0.0, 60.0)]
    path = ElasticPath(*ends)
    points = np.stack([path.at(t) for t in np.linspace(0, 1, 21)])
    assert rmsd(points[0], ends[0]) < 1e-6 and rmsd(points[-1], ends[1]) < 1e-6
    steps = np.linalg.norm(np.diff(points, axis=1), axis=-1)
    assert np.abs(steps - steps[0]).max() < 0.005
    straight = superpose(ends[1], ends[0])[0]
    straight = (ends[0] + straight) / 2  # a straight line shrinks the domains that turn
    inside = distance_matrix(ends[0][:35])
    bent = [np.abs(distance_matrix(x[:35]) - inside).max() for x in (points[10], straight)]
    assert bent[0] < 0.02 < bent[1] * 2
    turned = [domains_turn(np.stack([ends[0], x]), 37) for x in points]
    assert (np.diff(turned[1:]) > 0).all()


def test_state_and_progress_outlive_relaxation_and_the_disk(files, states, tmp_path):
    arguments = ["sample", states[0].sequence, "-n", "4", "--seed", "1", "--path", "--threads", "1"]
    given = [text for path in files for text in ("--template", path)]
    done = CliRunner().invoke(main, [*arguments, *given, "-o", str(tmp_path / "a")])
    assert done.exit_code == 0, done.output
    run = json.loads((tmp_path / "a/run.json").read_text())
    assert run["template"]["path"] == files and run["path"] and run["deform"] == 0
    again = ["sample", "--repeat", str(tmp_path / "a/run.json"), "-o", str(tmp_path / "b")]
    done = CliRunner().invoke(main, again)
    assert done.exit_code == 0, done.output
    first, second = (tmp_path / name / "samples.xtc" for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    longer = [*arguments[:3], "6", *arguments[4:], *given, "--resume", "-o", str(tmp_path / "a")]
    done = CliRunner().invoke(main, longer)
    assert done.exit_code == 2 and "run with n 4, not 6" in done.output
    openmm_slm.relax(tmp_path / "a", output=tmp_path / "c", processes=1, progress=False)
    for name in "ac":
        report = read_report(tmp_path / name)
        assert report["state"].tolist() == [0, 0, 1, 1]
        np.testing.assert_allclose(report["progress"], [0, 1 / 3, 2 / 3, 1], atol=1e-5)


def test_residues_that_a_state_lacks_are_sampled(generator, states):
    one, two = (state.to_trajectory("backbone") for state in states)
    part = two.atom_slice(two.topology.select("resid 2 to 20"))
    for options in ({"path": True}, {"noise": 0.1}):
        made = generator.sample(states[0].sequence, 4, template=[one, part], **options, **BARE)
        away = rmsd(ca_of(made.trajectory)[:, 2:], ca_of(states[1])[:, 2:])
        assert np.isfinite(made.trajectory.xyz).all() and away[-1] < 0.15


def test_what_is_no_state_is_refused(states, files, tmp_path):
    sequence = states[0].sequence
    mutated = [files[0], str(tmp_path / "m.pdb")]
    with open(files[1]) as handle:
        (tmp_path / "m.pdb").write_text(handle.read().replace(" GLU A   6 ", " ASP A   6 "))
    cases = [
        (
            {"template": mutated},
            "state 1 .*m.pdb.: .*residue 6 of the sequence is E.*template is D",
        ),
        ({"template": []}, "empty list"),
        ({"template": tuple(files) + ("x",)}, "a tuple of 3.*several states are a list"),
        ({"template": tuple(files)}, "a.pdb contains its topology; .*states as a list"),
        ({"template": files[0], "path": True}, "one template is given; give two or more states"),
        ({"template": files[:1], "path": True}, "give two or more states"),
        ({"path": True, "relatives": None}, "no template is given; give two"),
        ({"template": files, "path": True, "n": 1}, "n is 1.*n >= 2"),
        ({"template": files, "path": True, "resample": [3]}, "path and resample exclude"),
        ({"template": files, "path": True, "disordered": [3]}, "path and disordered exclude"),
        ({"template": [files[0], md.join([md.load(files[1])] * 2)], "path": True}, "has 2 frames"),
    ]
    for options, message in cases:
        with pytest.raises(ValueError, match=message):
            openmm_slm.generate_ensemble(sequence, **{"n": 3, **options, **BARE})
    command = ["sample", sequence, "-o", str(tmp_path / "out"), "--path", "--template", files[0]]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2 and "two or more states" in done.output
