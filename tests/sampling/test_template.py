"""Templates: laid on the sequence, changed where asked and nowhere else."""

from __future__ import annotations

import json

import mdtraj as md
import numpy as np
import pytest
from click.testing import CliRunner
from odd_files import build, plain
from openmm import unit

import openmm_slm
from openmm_slm.cli.main import main
from openmm_slm.errors import StructureError
from openmm_slm.files.report_table import read_report
from openmm_slm.language.masking import masked_residues
from openmm_slm.protein.loading import load_structure
from openmm_slm.protein.structure import from_backbone
from openmm_slm.protein.superposition import rmsd, superpose
from openmm_slm.protein.trajectory import from_trajectory
from openmm_slm.sampling.backbones import BackboneSampler
from openmm_slm.sampling.deformation import checked_deform
from openmm_slm.sampling.request import make_request
from openmm_slm.sampling.starting_frames import StartingFrames
from openmm_slm.sampling.template import Template

SEQUENCE = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGI"
QUIET = {"progress": False, "seed": 3, "relatives": None}


@pytest.fixture(scope="module")
def generator():
    return openmm_slm.EnsembleGenerator.from_pretrained("default", device="cpu")


@pytest.fixture(scope="module")
def template(generator) -> md.Trajectory:
    """All heavy atoms of a sampled frame, with hydrogens: a structure as a user has it."""
    return generator.sample(SEQUENCE, 1, **QUIET).trajectory


def heavy(trajectory: md.Trajectory) -> np.ndarray:
    return from_trajectory(trajectory).atom14


def test_resampling_leaves_every_other_atom_where_it_is(generator, template):
    sampled = np.arange(12, 20)
    made = generator.sample(SEQUENCE, 6, template=template, resample=sampled, **QUIET)
    x, before = heavy(made.trajectory), heavy(template)[0]
    kept = ~np.isin(np.arange(len(SEQUENCE)), sampled)
    before[11, 3] = np.nan  # O before the stretch lies in a new peptide plane
    there = np.isfinite(before).all(-1) & kept[:, None]
    for frame in x:
        np.testing.assert_array_equal(frame[there], before[there])
    spread = x[:, sampled, 1].std(0).max()
    assert spread > 0.05  # and the loop is not one loop
    assert not made.report["d_residues"].any() and not made.report["wrong_cb"].any()
    joined = np.linalg.norm(x[:, 1:, 0] - x[:, :-1, 2], axis=-1)
    assert np.abs(joined - 0.133).max() < 0.01


@pytest.mark.parametrize("model", ["default", "diffusion"])
def test_samples_do_not_know_where_the_loop_was(model, generator, template):
    """Templates that differ in the resampled residues alone give the same loops."""
    if model != "default":
        generator = openmm_slm.EnsembleGenerator.from_pretrained(model, device="cpu")
    sampled = np.arange(12, 20)
    other = md.Trajectory(template.xyz.copy(), template.topology)
    moved = [atom.index for atom in template.topology.atoms if atom.residue.index in sampled]
    other.xyz[:, moved] += np.random.default_rng(0).normal(0, 0.05, (len(moved), 3))
    made = [
        generator.sample(SEQUENCE, 3, template=x, resample=sampled, sidechains=None, **QUIET)
        for x in (template, other)
    ]
    np.testing.assert_array_equal(made[0].tokens, made[1].tokens)
    np.testing.assert_array_equal(made[0].trajectory.xyz, made[1].trajectory.xyz)


def test_frames_of_a_model_that_sees_structure_depend_on_seed_and_number_alone(template):
    generator = openmm_slm.EnsembleGenerator.from_pretrained("default", device="cpu")
    for options in ({"resample": range(12, 18)}, {"noise": 0.3, "rounds": 2}):
        options = {"template": template, "sidechains": None, **options, **QUIET}
        many, few = (generator.sample(SEQUENCE, n, **options) for n in (5, 2))
        np.testing.assert_array_equal(many.tokens[:2], few.tokens)


def test_the_best_segments_come_first_and_are_frames_of_the_whole_run(tmp_path, template):
    options = {"template": template, "resample": range(12, 20), "sidechains": None, **QUIET}
    generator = openmm_slm.EnsembleGenerator.from_pretrained("default", device="cpu")
    whole = generator.sample(SEQUENCE, 8, batch_size=3, **options)
    best = generator.sample(SEQUENCE, 8, best=3, **options)
    score, x = whole.report["segment_score"], heavy(whole.trajectory)[:, 12:20, :3]
    chosen = best.report["frame"].tolist()
    assert chosen[0] == score.argmax() and len(set(chosen)) == 3
    np.testing.assert_allclose(best.report["segment_score"], score[chosen], atol=1e-5)
    assert (np.diff(best.report["segment_score"]) <= 0).all()
    for frame in range(8):  # the others are worse, or like one that is better
        better = [k for k in chosen if score[k] > score[frame]]
        apart = [np.sqrt(((x[k] - x[frame]) ** 2).sum(-1).mean()) for k in better]
        assert frame in chosen or len(better) == 3 or min(apart) < 0.15
    np.testing.assert_array_equal(best.tokens, whole.tokens[best.report["frame"]])
    few = generator.sample(SEQUENCE, 2, **options).report["segment_score"]
    np.testing.assert_allclose(few, score[:2], atol=1e-5)
    generator.write(SEQUENCE, tmp_path / "best", 8, best=3, **options)
    assert read_report(tmp_path / "best")["frame"].tolist() == best.report["frame"].tolist()
    with pytest.raises(ValueError, match="run with n 8, not 9"):
        generator.write(SEQUENCE, tmp_path / "best", 9, best=3, resume=True, **options)


def test_noise_moves_all_and_stays_near(generator, template):
    made = {
        share: generator.sample(SEQUENCE, 6, template=template, noise=share, **QUIET)
        for share in (0.1, 1.0)
    }
    before = heavy(template)[:, :, 1]
    off = {k: float(np.median(rmsd(heavy(v.trajectory)[:, :, 1], before))) for k, v in made.items()}
    # All tokens are sampled at 1, in sight of the displaced frames, which keep the fold.
    assert all(0.01 < value < 0.25 for value in off.values())
    changed = (made[0.1].tokens != generator.tokenizer.encode(template)).mean()
    assert 0 < changed <= 0.15


def test_more_rounds_do_not_move_a_template_further(generator, template):
    before, off = heavy(template)[:, :, 1], {}
    for rounds in (1, 4):
        options = {**QUIET, "noise": 0.1, "deform": 2, "rounds": rounds}
        made = generator.sample(SEQUENCE, 12, template=template, **options)
        off[rounds] = np.sqrt((rmsd(heavy(made.trajectory)[:, :, 1], before) ** 2).mean())
    assert off[4] == pytest.approx(off[1], rel=0.35)  # of size 2 in each round, it is twice as far


def test_a_frame_depends_on_seed_and_number_alone(generator, template):
    options = {**QUIET, "template": template, "noise": 0.3, "rounds": 2}
    whole = generator.sample(SEQUENCE, 6, **options)
    parts = generator.sample(SEQUENCE, 4, batch_size=2, **options)
    np.testing.assert_array_equal(whole.tokens[:4], parts.tokens)
    np.testing.assert_allclose(whole.trajectory.xyz[:4], parts.trajectory.xyz, atol=1e-3)
    assert len(np.unique(whole.tokens, axis=0)) == 6


def test_a_template_with_other_numbers_is_another_template(template):
    other = template.slice([0])
    for residue in other.topology.residues:
        residue.resSeq += 100
    made = [Template.of(x, SEQUENCE).identity("x.pdb") for x in (template, template, other)]
    assert made[0] == made[1] != made[2]
    with pytest.raises(StructureError, match="names A:9-5; give A:5-9"):
        Template.of(template, SEQUENCE).select("A:9-5")


def test_frames_of_a_trajectory_do_not_all_move_one_way(generator, template):
    many = md.join([template] * 20)
    settings, laid, _ = make_request(
        SEQUENCE, 40, template=many, settings={"deform": "0.3 soft", "seed": 3}
    )
    starts = BackboneSampler(generator.tokenizer, generator.language_model, settings, laid).starts
    moved = np.stack([starts.displaced(i, 0, laid.backbone[0])[0] for i in range(20)])
    moved = (moved - laid.backbone[:1])[:, :, 1].reshape(20, -1)
    alike = np.corrcoef(moved)
    for k in range(0, 10, 2):  # the same mode both ways, then again
        assert alike[k, k + 1] < -0.8 and alike[k, k + 10] > 0.8
    assert np.linalg.norm(moved.mean(0)) < 0.5 * np.linalg.norm(moved, axis=1).mean()


def test_starts_are_displaced_in_proportion_to_deform(generator, template):
    off = {}
    for deform in (1.0, 2.0, "0.2 nm", "1 soft", "2 soft"):
        settings, laid, _ = make_request(
            SEQUENCE, 9, template=template, settings={"deform": deform, "seed": 3}
        )
        parts = generator.tokenizer, generator.language_model, settings, laid
        starts = [
            [BackboneSampler(*parts).starts.displaced(i, 0, laid.backbone[0])[0] for i in range(k)]
            for k in (9, 3)
        ]
        np.testing.assert_array_equal(starts[0][:3], starts[1])  # frame i is frame i
        off[deform] = np.sqrt(((np.stack(starts[0]) - laid.backbone) ** 2)[:, :, 1].sum(-1).mean(1))
    np.testing.assert_allclose(off[2.0], 2 * off[1.0], rtol=0.3)  # on screws, not lines
    np.testing.assert_allclose(off["2 soft"], 2 * off["1 soft"], rtol=0.3)
    spread = {deform: values.std() / values.mean() for deform, values in off.items()}
    assert spread["1 soft"] > 1.2 * spread[1.0]  # near the template and far from it
    assert 0.05 < np.median(off[1.0]) < 0.3  # nm; the sampled chain is loose
    assert 0.1 < np.sqrt((off["0.2 nm"] ** 2).mean()) < 0.3


def test_a_length_is_the_size_of_the_displacement_and_loose_starts_are_larger(template):
    """Many small displacements, which are linear; a decoder that sees no starts holds less."""
    off = {}
    for deform, held in (("0.05 nm", True), (0.5, True), (0.5, False)):
        settings, laid, _ = make_request(
            SEQUENCE, 60, template=template, settings={"deform": deform, "seed": 3}
        )
        chain, index = np.zeros(len(SEQUENCE), int), np.arange(len(SEQUENCE))
        tokens = np.zeros((1, len(SEQUENCE)), int)
        starts = StartingFrames(settings, laid, tokens, chain, index, held=held)
        made = np.stack([starts.displaced(i, 0, laid.backbone[0])[0][:, 1] for i in range(60)])
        off[deform, held] = np.sqrt(((made - laid.backbone[0, :, 1]) ** 2).sum(-1).mean())
        assert starts.level == (0.01 if held else 0.05)
    assert off["0.05 nm", True] == pytest.approx(0.05, rel=0.15)
    assert off[0.5, True] == pytest.approx(0.84 * off[0.5, False], rel=0.02)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("near", 1.0), ("far", "2.4 soft"), ("1.5", 1.5), (2, 2.0), ("0.1nm", "0.1 nm"),
        ("conformers", "0.9 soft"), ("1.5 soft", "1.5 soft"), ("0.10 nm soft", "0.1 nm soft"),
        (1.0 * unit.angstrom, "0.1 nm"), (0, 0.0), ("0 nm", "0 nm"),
    ],
)  # fmt: skip
def test_deform_is_a_multiple_a_name_or_a_length(given, wanted):
    assert checked_deform(given) == wanted
    assert checked_deform(wanted) == wanted  # as `run.json` repeats it


def test_residues_that_the_template_lacks_are_sampled(generator, template):
    gap = np.isin(np.arange(len(SEQUENCE)), np.arange(14, 19))
    atoms = [a.index for a in template.topology.atoms if not gap[a.residue.index]]
    part = template.atom_slice(atoms)
    laid = Template.of(part, SEQUENCE)
    np.testing.assert_array_equal(laid.known[0], ~gap)
    made = generator.sample(SEQUENCE, 3, template=part, resample=[30], **QUIET)
    assert made.trajectory.n_residues == len(SEQUENCE)
    x, before = heavy(made.trajectory), heavy(template)[0]
    np.testing.assert_array_equal(x[0, :13, :3], before[:13, :3])
    assert np.isfinite(x[:, gap, :4]).all()


def test_several_frames_are_used_in_turn(generator, template):
    other = generator.sample(SEQUENCE, 1, **{**QUIET, "seed": 9}).trajectory
    both = md.Trajectory(np.concatenate([template.xyz, other.xyz]), template.topology)
    made = generator.sample(SEQUENCE, 4, template=both, resample=[10, 11, 12], **QUIET)
    x = heavy(made.trajectory)
    for frame, source in enumerate((template, other, template, other)):
        np.testing.assert_array_equal(x[frame, 20:, :3], heavy(source)[0, 20:, :3])


def test_chains_keep_their_names_numbers_and_places(generator):
    backbone = from_trajectory(generator.sample(SEQUENCE[:20], 1, **QUIET).trajectory).backbone
    pair = np.concatenate([backbone, backbone + [0, 0, 2.5]], 1)
    numbers = np.concatenate([np.arange(5, 25), np.arange(101, 121)])
    structure = from_backbone(pair, f"{SEQUENCE[:20]}:{SEQUENCE[:20]}", ("H", "L"), numbers)
    sequence = structure.chain_sequences
    made = generator.sample(sequence, 2, template=structure, resample="L:105-108", **QUIET)
    topology = made.trajectory.topology
    assert [c.chain_id for c in topology.chains] == ["H", "L"]
    assert [r.resSeq for r in topology.residues] == numbers.tolist()
    x = heavy(made.trajectory)
    np.testing.assert_array_equal(
        x[:, :20, :3], np.repeat(pair[:, :20, :3], 2, 0).astype(np.float32)
    )
    laid = Template.of(structure, sequence)
    np.testing.assert_array_equal(np.flatnonzero(laid.select("L:105-108,H:5")), [0, 24, 25, 26, 27])
    np.testing.assert_array_equal(
        np.flatnonzero(laid.select("chainid 1 and resSeq 105 to 108")), [24, 25, 26, 27]
    )


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9, 1.0])
def test_masks_are_stretches_and_patches_of_the_size_asked(share):
    rng = np.random.default_rng(0)
    ca = np.cumsum(rng.normal(0, 0.2, (120, 3)), 0)
    ca[:4] = np.nan
    chains = np.repeat([0, 1], 60)
    alone = total = 0
    for seed in range(30):
        out = masked_residues(np.random.default_rng(seed), ca, share, chains)
        assert out[:4].all()
        assert out[4:].sum() == round(share * 116)
        near = np.convolve(out, [1, 0, 1], "same") > 0
        alone += (out & ~near).sum()
        total += out.sum()
    assert alone < 0.35 * total


def test_numbers_place_gaps_that_letters_leave_open(template):
    """AAAA with one A missing: only the numbers say which."""
    sequence = "GSAAAATK"
    backbone = load_structure(template).backbone[:, :7]
    structure = from_backbone(backbone, "GSAAATK", ("A",), np.array([11, 12, 13, 15, 16, 17, 18]))
    laid = Template.of(structure, sequence)
    np.testing.assert_array_equal(laid.known[0], [1, 1, 1, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(laid.residue_number, np.arange(11, 19))


def test_what_does_not_fit_is_named(template):
    cases = [
        ({"template": template, "sequence": SEQUENCE[:9] + "W" + SEQUENCE[10:]}, "chain A.*W"),
        ({"template": template, "sequence": SEQUENCE + ":AAAA"}, "1 chain .A., .* with all chains"),
        ({"template": template, "sequence": SEQUENCE[:-1]}, "I36, which the sequence lacks"),
        ({"template": template, "resample": "H:1-4"}, "chain 'H'; the template has A"),
        ({"template": template, "resample": "A:30-40"}, "A:30-40; chain A has residues 1 to 36"),
        ({"template": template, "resample": "resname TRP"}, "selects no residue"),
        ({"template": template, "resample": "loops ((("}, "neither like"),
        ({"template": template, "resample": []}, "selects no residue"),
        ({"template": template, "resample": [36]}, "row 36; the sequence has rows 0 to 35"),
        ({"template": template, "resample": [1.5]}, "1.5"),
        ({"template": template, "resample": 5}, "resample is 5"),
        ({"template": template, "noise": "some"}, "noise is 'some'"),
        ({"template": template, "noise": 0}, "noise is 0"),
        ({"template": template, "noise": 1.2}, "noise is 1.2"),
        ({"template": template, "noise": 0.2, "resample": [3]}, "exclude each other"),
        ({"template": template, "resample": [3], "rounds": 3}, "rounds is 3"),
        ({"template": template, "best": 1}, "best is 1"),
        ({"template": template, "resample": [3], "best": 9}, "best is 9"),
        ({"template": template, "resample": [3], "best": 0}, "best is 0"),
        ({"template": template, "resample": [3], "deform": 0.1}, "deform is 0.1"),
        ({"template": template, "deform": -1}, "deform is -1"),
        ({"template": template, "deform": 300 * unit.kelvin}, "deform is 300 K; give a multiple"),
        ({"deform": 0.1}, "deform is 0.1"),
    ]
    for options, text in cases:
        with pytest.raises(ValueError, match=text):
            given = {name: options.pop(name, None) for name in ("template", "resample")}
            make_request(
                options.pop("sequence", SEQUENCE), 2, relatives=None, **given, settings=options
            )
    empty = md.Trajectory(np.full_like(template.xyz, np.nan), template.topology)
    with pytest.raises(StructureError, match="frame 0 has coordinates that are not finite"):
        Template.of(empty, SEQUENCE)


def test_command_resamples_a_loop_and_repeats_it(template, tmp_path):
    template.save_pdb(str(tmp_path / "in.pdb"))
    arguments = ["sample", SEQUENCE, "-n", "2", "--seed", "1"]
    loop = ["--template", str(tmp_path / "in.pdb"), "--resample", "A:10-14"]
    run = CliRunner().invoke(main, [*arguments, *loop, "-o", str(tmp_path / "a")])
    assert run.exit_code == 0, run.output
    saved = json.loads((tmp_path / "a/run.json").read_text())
    assert saved["resample"] == [9, 10, 11, 12, 13] and saved["template"]["path"].endswith("in.pdb")
    again = ["sample", "--repeat", str(tmp_path / "a/run.json"), "-o", str(tmp_path / "b")]
    assert CliRunner().invoke(main, again).exit_code == 0
    assert (tmp_path / "a/samples.xtc").read_bytes() == (tmp_path / "b/samples.xtc").read_bytes()
    template.xyz += 0.1
    template.save_pdb(str(tmp_path / "in.pdb"))
    template.xyz -= 0.1
    changed = CliRunner().invoke(main, [*again[:-1], str(tmp_path / "c")])
    assert changed.exit_code == 2 and "checksum" in changed.output


def test_command_takes_a_trajectory_with_its_topology_and_repeats_it(template, tmp_path):
    template.save_dcd(str(tmp_path / "md.dcd"))
    template.save_pdb(str(tmp_path / "md.pdb"))
    options = ["-n", "2", "--seed", "3", "--sidechains", "none", "--threads", "1"]
    given = ["--template", str(tmp_path / "md.dcd"), "--top", str(tmp_path / "md.pdb")]

    def sample(*arguments: str):
        return CliRunner().invoke(main, ["sample", *arguments])

    done = sample(SEQUENCE, *given, *options, "-o", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    written = tmp_path / "out" / "run.json"
    assert json.loads(written.read_text())["template"]["top"] == str(tmp_path / "md.pdb")
    done = sample("--repeat", str(written), "-o", str(tmp_path / "again"))
    assert done.exit_code == 0, done.output
    first, again = (tmp_path / name / "samples.xtc" for name in ("out", "again"))
    assert first.read_bytes() == again.read_bytes()
    done = sample(SEQUENCE, *given[2:], *options, "-o", str(tmp_path / "no"))
    assert done.exit_code == 2 and "give --template too" in done.output


def test_a_peptide_stays_on_its_protein(generator, template):
    """Two chains end to end: ends, all atoms, and the place that the template has them in."""
    protein = from_trajectory(template).backbone[0]
    at = protein[:9] + [0, 0, 1.2]
    structure = from_backbone(np.concatenate([protein, at])[None], f"{SEQUENCE}:{SEQUENCE[:9]}")
    made = generator.sample(structure.chain_sequences, 4, template=structure, **QUIET)
    chains = list(made.trajectory.topology.chains)
    assert [chain.n_residues for chain in chains] == [len(SEQUENCE), 9]
    for chain in chains:
        names = [{atom.name for atom in chain.residue(k).atoms} for k in (0, -1)]
        assert "H3" in names[0] and "OXT" in names[1]
    ca = heavy(made.trajectory)[:, :, 1]
    moved = rmsd(ca[:, len(SEQUENCE) :], at[:, 1])  # superposed
    _, turn, shift = superpose(ca[:, : len(SEQUENCE)], protein[:, 1])
    placed = np.einsum("fij,flj->fli", turn, ca) + shift[:, None]
    apart = np.linalg.norm(placed[:, len(SEQUENCE) :].mean(1) - at[:, 1].mean(0), axis=-1)
    assert np.median(moved) < 0.15 and np.median(apart) < 0.5  # nm; three contacts hold it


@pytest.mark.parametrize("residues", [2, 5])
def test_a_template_may_be_a_few_residues(generator, template, residues):
    atoms = [a.index for a in template.topology.atoms if 10 <= a.residue.index < 10 + residues]
    made = generator.sample(SEQUENCE, 2, template=template.atom_slice(atoms), **QUIET)
    assert np.isfinite(made.trajectory.xyz).all() and made.trajectory.n_residues == len(SEQUENCE)


def test_chains_far_apart_are_no_error(generator, template):
    protein = from_trajectory(template).backbone[0]
    apart = np.concatenate([protein, protein + [0, 0, 30]])[None]  # nm: no spring between them
    structure = from_backbone(apart, f"{SEQUENCE}:{SEQUENCE}")
    made = generator.sample(structure.chain_sequences, 2, template=structure, **QUIET)
    ca = heavy(made.trajectory)[:, :, 1]
    assert np.median(rmsd(ca, apart[0, :, 1])) < 0.3


def test_residues_of_a_chain_with_a_long_name_are_selected(tmp_path):
    odd = build(plain(kind="cif", names="long", sequences=("PHCMSDEK", "GAKAGDAVHC")))
    (tmp_path / "odd.cif").write_text(odd.text)
    known = Template.of(tmp_path / "odd.cif", "PHCMSDEK:GAKAGDAVHC")
    assert np.flatnonzero(known.select("Heavy-2:2-3, Heavy:8")).tolist() == [7, 9, 10]
