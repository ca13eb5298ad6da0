"""The main job: sequence in, Trajectory out; and its command."""

from __future__ import annotations

import csv
import json
import logging

import mdtraj as md
import numpy as np
import pytest
import scipy.stats
from click.testing import CliRunner

import openmm_slm
from openmm_slm.cli.main import main

BPTI = "RPDFCLEPPYTGPCKARIIRYFYNAKAGLCQTFVYGGCRAKRNNFKSAEDCMRTCGGA"
QUIET = {"progress": False, "device": "cpu", "relatives": None}


@pytest.fixture(scope="module")
def generator():
    return openmm_slm.EnsembleGenerator.from_pretrained("default", device="cpu")


@pytest.fixture(scope="module")
def ensemble(generator):
    return generator.sample(BPTI, 8, seed=1, relatives=None, progress=False)


def test_returns_a_trajectory_of_the_sequence():
    traj = openmm_slm.generate_ensemble(BPTI, n=3, seed=1, **QUIET)
    assert isinstance(traj, md.Trajectory) and traj.n_frames == 3
    assert {a.name for a in traj.topology.residue(0).atoms} > {"N", "H3", "CB", "HH11"}
    assert traj.topology.residue(57).atom("OXT").element.symbol == "O"
    assert traj.topology.to_fasta(0) == BPTI
    assert np.isfinite(traj.xyz).all() and traj.xyz.dtype == np.float32
    rings = sum(BPTI.count(letter) for letter in "FYP")
    assert traj.topology.n_bonds == traj.n_atoms - 1 + rings  # one tree, but for its rings
    rg = md.compute_rg(traj)
    assert ((rg > 0.8) & (rg < 4.0)).all()  # a chain of 58 residues, neither a point nor a rod


def test_a_frame_does_not_depend_on_how_many_are_sampled(generator, ensemble):
    more = generator.sample(BPTI, 11, seed=1, batch_size=6, relatives=None, progress=False)
    np.testing.assert_array_equal(more.tokens[:8], ensemble.tokens)
    np.testing.assert_allclose(more.log_prob[:8], ensemble.log_prob, rtol=1e-6)
    np.testing.assert_allclose(more.trajectory.xyz[:8], ensemble.trajectory.xyz, atol=1e-3)


def test_same_seed_same_frames_other_seed_other_frames(generator, ensemble):
    again = generator.sample(BPTI, 8, seed=1, relatives=None, progress=False)
    np.testing.assert_array_equal(again.tokens, ensemble.tokens)
    np.testing.assert_array_equal(again.trajectory.xyz, ensemble.trajectory.xyz)
    other = generator.sample(BPTI, 8, seed=2, sidechains=None, relatives=None, progress=False)
    assert (other.tokens != ensemble.tokens).mean() > 0.2
    assert len(np.unique(ensemble.tokens, axis=0)) == 8


def test_seed_is_drawn_and_kept_when_none_is_given(generator):
    first = generator.sample("GYDPETGTWG", 2, progress=False)
    again = generator.sample("GYDPETGTWG", 2, seed=first.seed, progress=False)
    np.testing.assert_array_equal(first.tokens, again.tokens)


def test_known_tokens_are_kept(generator, ensemble):
    known = ensemble.tokens[0].copy()
    known[20:30] = -1
    drawn = generator.language_model.sample(BPTI, range(6), seed=5, known=known)
    assert (np.delete(drawn.tokens, np.s_[20:30], 1) == np.delete(known, np.s_[20:30])).all()
    assert (drawn.tokens[:, 20:30] >= 0).all()
    assert len(np.unique(drawn.tokens, axis=0)) > 1


def test_frames_are_valid_after_the_projection(generator, ensemble):
    raw, projected = (
        generator.sample(
            BPTI, 8, seed=1, project=yes, sidechains=None, relatives=None, progress=False
        )
        for yes in (False, True)
    )
    np.testing.assert_array_equal(raw.tokens, ensemble.tokens)
    assert raw.report["valid"].sum() < 4 < projected.report["valid"].sum()
    moved = np.linalg.norm(projected.trajectory.xyz - raw.trajectory.xyz, axis=-1)
    backbone = [a.index for a in raw.trajectory.topology.atoms if a.name != "O"]
    largest = moved[:, backbone].max(1)
    np.testing.assert_allclose(projected.report["projection_moved_nm"], largest, atol=1e-5)
    np.testing.assert_array_equal(
        projected.report["projection_moved_nm"], ensemble.report["projection_moved_nm"]
    )
    assert (raw.report["projection_moved_nm"] == 0).all() and largest.max() < 0.6


def test_cold_sampling_is_less_diverse_and_likelier(generator):
    hot, cold = (
        generator.sample(
            BPTI, 12, seed=3, temperature=t, sidechains=None, relatives=None, progress=False
        )
        for t in (1.0, 0.2)
    )
    variety = [np.mean([len(np.unique(c)) for c in e.tokens.T]) for e in (hot, cold)]
    assert variety[1] < variety[0]
    assert cold.log_prob.mean() > hot.log_prob.mean()


def test_several_chains_have_real_ends(generator):
    traj = generator.sample("GYDPETGTWG:ACDEFGHIK", 2, seed=0, progress=False).trajectory
    assert traj.topology.n_chains == 2
    assert [c.n_residues for c in traj.topology.chains] == [10, 9]
    bonds = {(a.residue.index, b.residue.index) for a, b in traj.topology.bonds}
    assert (8, 9) in bonds and (9, 10) not in bonds


def test_report_agrees_with_mdtraj(ensemble):
    traj, report = ensemble.trajectory, ensemble.report
    c, n = (traj.topology.select(f"name {name}") for name in ("C", "N"))
    length = md.compute_distances(traj, np.stack([c[:-1], n[1:]], 1))
    expected = np.abs(length - 0.133).max(1)
    np.testing.assert_allclose(report["c_n_deviation_nm"], expected, atol=1e-5)
    omega = np.abs(md.compute_omega(traj)[1])
    np.testing.assert_array_equal(report["cis"], (omega < np.radians(30)).sum(1))
    ca = traj.topology.select("name CA")
    pairs = [(ca[i], ca[j]) for i in range(len(ca)) for j in range(i + 2, len(ca))]
    closest = md.compute_distances(traj, pairs).min(1)
    np.testing.assert_allclose(report["closest_ca_nm"], closest, atol=1e-4)


def test_one_warning_counts_invalid_frames(generator, caplog):
    with caplog.at_level(logging.WARNING):
        ens = generator.sample(
            BPTI, 8, seed=1, project=False, sidechains=None, relatives=None, progress=False
        )
    invalid = int((~ens.report["valid"]).sum())
    (warning,) = [r.message for r in caplog.records if "valid" in r.message]
    assert invalid > 1 and f"{invalid} of 8" in warning


def test_writing_streams_the_same_frames(generator, ensemble, tmp_path):
    where = generator.write(
        BPTI, tmp_path / "out", 8, seed=1, batch_size=3, relatives=None, progress=False
    )
    names = {path.name for path in where.iterdir()} - {".lock"}
    assert names == {"topology.pdb", "samples.xtc", "report.csv", "run.json"}
    traj = md.load(str(where / "samples.xtc"), top=str(where / "topology.pdb"))
    # XTC rounds; other batches round otherwise, which may turn a side chain in a clash.
    off = np.abs(traj.xyz - ensemble.trajectory.xyz).max(-1)
    backbone = traj.topology.select("backbone")
    assert off[:, backbone].max() < 1.5e-3 and (off > 1.5e-3).mean() < 0.01
    with open(where / "report.csv") as handle:
        rows = list(csv.DictReader(handle))
    assert [int(row["frame"]) for row in rows] == list(range(8))
    np.testing.assert_allclose(
        [float(row["log_prob_nats"]) for row in rows], ensemble.log_prob, rtol=1e-4
    )
    run = json.loads((where / "run.json").read_text())
    assert run["seed"] == 1 and run["sequence"] == BPTI and run["n"] == 8


def test_dropped_frames_keep_their_numbers(generator, tmp_path):
    # Without the projection: with it, hardly a frame would have to be dropped.
    settings = {"seed": 1, "drop_invalid": True, "project": False, "progress": False}
    peptide = "GYDPETG"
    where = generator.write(peptide, tmp_path / "out", 32, **settings)
    with open(where / "report.csv") as handle:
        valid = [int(row["valid"]) for row in csv.DictReader(handle)]
    assert len(valid) == 32 and 0 < sum(valid) < 32
    traj = md.load(str(where / "samples.xtc"), top=str(where / "topology.pdb"))
    assert traj.time.tolist() == np.flatnonzero(valid).tolist()
    kept = generator.sample(peptide, 32, **settings)
    np.testing.assert_array_equal(kept.report["frame"], np.flatnonzero(valid))
    np.testing.assert_allclose(kept.trajectory.xyz, traj.xyz, atol=1.5e-3)


def test_one_seed_is_logged_and_one_warning_for_long_chains(caplog):
    with caplog.at_level(logging.INFO):
        openmm_slm.generate_ensemble("ACDEFGHIKL" * 52, n=1, sidechains=None, **QUIET)
    messages = [record.message for record in caplog.records]
    assert len([m for m in messages if m.startswith("seed ")]) == 1
    assert len([m for m in messages if "at most 512" in m]) == 1


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"sidechains": "scwrl"}, "packer, pdbfixer"), ({"ph": 15}, "0 to 14"),
        ({"disulfides": [(0, 4)]}, "not CYS"), ({"disulfides": "all"}, "'auto', 'none' or pairs"),
        ({"relax": "all"}, "relax is .all."), ({"template": "x.pdb"}, "x.pdb: no such"),
        ({"noise": 0.3}, "give template"), ({"resample": "A:1"}, "give template"),
        ({"rounds": 2}, "rounds is 2"), ({"rounds": 0}, "rounds is 0"),
        ({"n": 0}, "n is 0"), ({"n": -3}, "n is -3"), ({"n": 1.5}, "n is 1.5"),
        ({"temperature": 0}, "temperature is 0"), ({"top_p": 2}, "top_p is 2"),
        ({"steps": 0}, "steps is 0"), ({"batch_size": 0}, "batch_size is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"steps": 2.5}, "steps is 2.5"), ({"model": "nowhere"}, "'nowhere' is neither"),
        ({"device": "warp"}, "'warp'"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_named(options, named):
    settings = {"n": 1, "device": "cpu", **options}
    with pytest.raises(ValueError, match=named):
        openmm_slm.generate_ensemble("GYDPETGTWG", progress=False, **settings)


def test_command_writes_an_ensemble(tmp_path):
    result = CliRunner().invoke(
        main, ["sample", "gydpetgtwg", "-n", "2", "--seed", "1", "-o", str(tmp_path / "o")]
    )
    assert result.exit_code == 0, result.output
    assert "samples.xtc" in result.output
    traj = md.load(str(tmp_path / "o/samples.xtc"), top=str(tmp_path / "o/topology.pdb"))
    assert traj.n_frames == 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["", "-o", "OUT"], "empty"), (["ACDXF", "-o", "OUT"], "position 4"),
        (["AC1F", "-o", "OUT"], "'1' at position 3"), (["A", "-o", "OUT"], "one residue"),
        (["ACDEF", "-n", "0", "-o", "OUT"], "n is 0"),
        (["ACDEF", "--model", "nope", "-o", "OUT"], "nope"),
        (["A" * 1025, "-o", "OUT"], "1025 residues"),
        (["ACDEF", "-n", "1", "-o", "/proc/nowhere"], "/proc/nowhere"),
    ],
)  # fmt: skip
def test_bad_input_gives_one_line_and_exit_code_2(arguments, named, tmp_path):
    arguments = [str(tmp_path / "out") if a == "OUT" else a for a in arguments]
    result = CliRunner().invoke(main, ["sample", *arguments])
    assert result.exit_code == 2
    assert named in result.output and "Traceback" not in result.output
    assert len([line for line in result.output.splitlines() if "openmm-slm:" in line]) == 1


def test_the_report_has_the_bound_of_the_tokens_and_its_error():
    generator = openmm_slm.EnsembleGenerator.from_pretrained("diffusion", device="cpu")
    options = {"seed": 1, "sidechains": None, "progress": False}
    ens = generator.sample("GYDPETGTWG", 4, log_prob="bound", **options)
    bound, error = generator.language_model.log_prob_and_error(ens.tokens, "GYDPETGTWG")
    np.testing.assert_allclose(ens.log_prob, bound, rtol=1e-5)
    np.testing.assert_allclose(ens.report["log_prob_error_nats"], error, rtol=1e-4)
    with pytest.raises(ValueError, match="log_prob is 'exact'"):
        generator.sample("GYDPETGTWG", 1, log_prob="exact", **options)


def test_token_entropy_is_that_of_each_residue(ensemble):
    entropy = ensemble.token_entropy
    assert entropy.shape == (ensemble.tokens.shape[1],) and entropy.max() <= np.log(8) + 1e-12
    for residue in (0, 20):
        counts = np.unique(ensemble.tokens[:, residue], return_counts=True)[1]
        assert entropy[residue] == pytest.approx(scipy.stats.entropy(counts))
