"""Resampled segments: fragments of a library, tries, scores."""

from __future__ import annotations

import json

import numpy as np
import pytest
from builders import helix
from small_library import write_small_library

import openmm_slm
from openmm_slm.library.fragments import Fragments
from openmm_slm.library.registry import load_library
from openmm_slm.protein.protein import Protein
from openmm_slm.protein.structure import from_backbone
from openmm_slm.protein.superposition import superpose
from openmm_slm.protein.trajectory import backbone_trajectory, from_trajectory
from openmm_slm.sampling.backbones import BackboneSampler
from openmm_slm.sampling.fragment_choice import checked_fragments
from openmm_slm.sampling.segment_clashes import segment_clashes
from openmm_slm.sampling.segment_fragments import Segment, distinct, segments_of
from openmm_slm.sampling.segment_pool import best_distinct, pool_size
from openmm_slm.sampling.segment_sampling import SegmentSampler
from openmm_slm.sampling.segment_scores import segment_costs
from openmm_slm.sampling.settings import SamplingSettings
from openmm_slm.sampling.template import Template

ROWS = np.arange(20, 28)
QUIET = {"progress": False, "seed": 3, "sidechains": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resampled")
    write_small_library(folder)
    return folder / "library"


@pytest.fixture(scope="module")
def native(folder):
    """A chain of the library."""
    library = load_library(folder)
    return from_backbone(library.backbone(0)[None], library.sequence(0))


@pytest.fixture(scope="module")
def generator():
    return openmm_slm.EnsembleGenerator.from_pretrained("default", device="cpu")


def off(made, native) -> np.ndarray:
    """RMSD of N, CA and C of the segment, all others superposed, nm."""
    x, true = (
        y[:, :, :3].reshape(len(y), -1, 3)
        for y in (from_trajectory(made.trajectory).backbone, native.backbone[:1])
    )
    others = np.isin(np.arange(len(native.sequence)), ROWS, invert=True).repeat(3)
    moved, _, _ = superpose(x, true, others)
    return np.sqrt(((moved - true)[:, ~others] ** 2).sum(-1).mean(1))


def test_every_fourth_frame_starts_from_a_fragment_the_best_one_first(folder, generator, native):
    options = {"template": native, "resample": ROWS, **QUIET}
    made = generator.sample(native.sequence, 9, fragments=str(folder), **options)
    started = made.report["fragment"] != ""
    assert started.tolist() == (np.arange(9) % 4 == 3).tolist()
    assert made.report["fragment"][3] == "000X_A:25"  # the chain itself, which is numbered from 5
    assert off(made, native)[3] < 0.05 < np.median(off(made, native))
    assert made.report["segment_score"].argmax() == 3
    few = generator.sample(native.sequence, 4, fragments=str(folder), batch_size=3, **options)
    np.testing.assert_array_equal(few.tokens, made.tokens[:4])
    np.testing.assert_array_equal(few.report["fragment"], made.report["fragment"][:4])


def test_chains_that_are_left_out_start_no_frame(folder, generator, native, tmp_path):
    given = {"library": str(folder), "splits": "train", "exclude": ["000X"]}
    options = {"template": native, "resample": ROWS, **QUIET}
    generator.write(native.sequence, tmp_path / "run", 4, fragments=given, **options)
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["fragments"]["exclude"] == ["000X"] and run["fragments"]["splits"] == ["train"]
    made = generator.sample(native.sequence, 4, fragments=run["fragments"], **options)
    assert made.report["fragment"][3] not in ("", "000X_A:25")
    none = generator.sample(native.sequence, 4, fragments=None, **options)
    assert "fragment" not in none.report and np.isfinite(none.report["segment_score"]).all()


def test_only_segments_with_two_ends_have_fragments(folder):
    x = np.concatenate([helix(30), helix(30) + np.float32(4)])[None]
    template = Template.of(from_backbone(x, "A" * 30 + ":" + "A" * 30), "A" * 30 + ":" + "A" * 30)
    sampled = np.zeros(60, bool)
    for rows in (range(1, 6), range(10, 16), range(27, 33), range(40, 46), range(47, 50)):
        sampled[rows] = True
    found = segments_of(sampled, template, 0, checked_fragments(str(folder), template=True))
    rows = [(int(one.rows[0]), len(one.rows)) for one in found]
    assert rows == [(1, 5), (10, 6), (27, 3), (30, 3), (40, 6), (47, 3)]
    assert [bool(one.fragments) for one in found] == [False, True, False, False, False, False]


def test_samples_near_fragments_of_a_similar_sequence_cost_least():
    """Two fragments: the sample on the one of the better fit costs least, one between them less
    than one beside both."""
    x = np.repeat(helix(12)[None], 4, 0)
    rows = np.arange(4, 8)
    a, b = x[0, rows, :3], x[0, rows, :3] + np.float32([0, 0, 0.6])
    fragments = Fragments(np.stack([a, b]), np.array([5.0, 0.0]), np.zeros(2, int), np.arange(2))
    for frame, shift in enumerate((0.0, 0.6, 0.3, 1.2)):
        x[frame, rows, :, 2] += shift
    unknown = Protein("X" * 12, np.arange(12) == 0)  # without energies
    cost = segment_costs(x, unknown, Segment(rows, fragments), *np.zeros((3, 4)))
    assert np.argsort(cost).tolist() == [0, 2, 1, 3]
    # d^2 / w^2 of the sample at 1.2 nm from a fragment of weight exp(-3)
    assert cost[3] - cost[1] == pytest.approx((0.6 / 0.2) ** 2, abs=0.01)
    used = np.array([0, -1, -1, -1])
    sure = segment_costs(x, unknown, Segment(rows, fragments), *np.zeros((3, 4)), used)
    assert sure[0] - cost[0] == pytest.approx(3 - 0.6 * 5 - 3 * 5) and sure[1] == cost[1]
    assert distinct(fragments, 5).tolist() == [0, 1]
    same = Fragments(np.stack([a, a, b]), np.zeros(3), np.zeros(3, int), np.arange(3))
    assert distinct(same, 5).tolist() == [0, 2]


def test_frames_start_from_distinct_tries_the_cheapest_first():
    """Of 30 tries in ten groups that lie within 0.05 nm, one of each group is chosen."""
    x = np.repeat(helix(6)[None, :, :3], 30, 0)
    x[:, :, :, 0] += np.float32(0.3) * (np.arange(30) % 10)[:, None, None]
    x = x + np.float32(0.01) * (np.arange(30) // 10)[:, None, None, None]
    cost = np.arange(30)[::-1].astype(float)
    chosen = best_distinct(x, cost)
    assert chosen.tolist() == list(range(29, 19, -1))
    assert pool_size(10, 1) == 256 and pool_size(100, 1) == 30 and pool_size(10, 500) == 8


def test_samples_that_the_model_makes_often_cost_less():
    x, rows = np.repeat(helix(12)[None], 3, 0), np.arange(4, 8)
    x[1, rows, :, 2] += 0.5
    x[2, rows, :, 2] += 5
    unknown, loop = Protein("X" * 12, np.arange(12) == 0), Segment(rows)
    tries = x[np.array([0] * 8 + [1] * 4)][:, rows]
    cost = segment_costs(x, unknown, loop, *np.zeros((3, 3)), tries=tries)
    # all tries are within reach of the first two; 8 ln of what is left of 8 and 4 of 12
    near = np.exp(-((0.5 / 0.3) ** 2))
    expected = -8 * np.log([(8 + 4 * near) / 12, (4 + 8 * near) / 12])
    np.testing.assert_allclose(cost[:2], expected, atol=0.01)
    assert cost[2] > 100
    # A fragment of a similar sequence counts as many tries.
    fragments = Fragments(x[1:2, rows, :3], np.array([5.0]), np.zeros(1, int), np.zeros(1, int))
    known = segment_costs(x, unknown, Segment(rows, fragments), *np.zeros((3, 3)), tries=tries)
    assert known[1] < known[0]


def test_the_tries_of_a_frame_of_a_template_are_made_once(generator, native, monkeypatch):
    """Of a template with more frames than fit into a small cache, too."""
    made, find = [], SegmentSampler.tries
    monkeypatch.setattr(
        SegmentSampler, "tries", lambda self, row, n: made.append(row) or find(self, row, n[:8])
    )
    frames = backbone_trajectory(np.repeat(native.backbone, 10, 0), native.sequence)
    options = {"template": frames, "resample": ROWS[:4], "fragments": None, **QUIET}
    generator.sample(native.sequence, 10, **options)
    assert sorted(made) == list(range(10))


def test_clashes_with_atoms_and_side_chains_that_are_held_are_counted():
    """A helix of 12 with a free residue beside it, which nears a backbone and a side chain."""
    x = np.concatenate([helix(12), helix(12)[:1] + np.float32([5, 0, 0])])
    frames = np.repeat(x[None], 3, 0)
    held = np.full((13, 14, 3), np.nan, np.float32)
    held[:, :4] = x
    held[6, 5] = x[6, 1] + np.float32([0, 3, 0])
    frames[1, 12] += x[6, 3] - x[12, 0] + np.float32([0.05, 0.2, 0])  # N to the O of residue 6
    frames[2, 12] += held[6, 5] - x[12, 1]  # CA to its CG
    protein = Protein("A" * 6 + "K" + "A" * 6, np.isin(np.arange(13), [0, 12]))
    found = segment_clashes(frames, protein, np.array([12]), held)
    assert found[0] == 0 and (found[1:] > 0).all()
    held[6, 5] = np.nan
    assert (segment_clashes(frames, protein, np.array([12]), held) > 0).tolist() == [0, 1, 0]


def test_residues_that_a_template_lacks_start_from_fragments_too(folder, generator, native):
    """Frame 3 starts from the chain itself; frames depend neither on the batch nor on others."""
    whole = backbone_trajectory(native.backbone, native.sequence)
    atoms = [a.index for a in whole.topology.atoms if a.residue.index not in ROWS]
    options = {"template": whole.atom_slice(atoms), "deform": 0, **QUIET}
    made = generator.sample(native.sequence, 5, fragments=str(folder), **options)
    assert off(made, native).argmin() == 3 and off(made, native)[3] < 0.05
    few = generator.sample(native.sequence, 4, fragments=str(folder), batch_size=3, **options)
    np.testing.assert_array_equal(few.tokens, made.tokens[:4])
    without = generator.sample(native.sequence, 4, fragments=None, **options)
    assert off(without, native)[3] > 2 * off(made, native)[3]


def test_frames_that_are_made_again_are_others_without_fragments(folder, generator, native):
    chosen = checked_fragments(str(folder), template=True)
    settings = SamplingSettings(
        native.sequence,
        8,
        template={},
        resample=ROWS.tolist(),
        seed=3,
        fragments=chosen,
        temperature=1.0,
        top_p=1.0,
    )
    sampler = BackboneSampler(
        generator.tokenizer, generator.language_model, settings,
        Template.of(native, native.sequence),
    )  # fmt: skip
    first, second = (
        sampler.segments.sample(np.array([3]), np.array([0]), again) for again in (0, 1)
    )
    assert first.fragments.max() >= 0 > second.fragments.max()
    for made, level in ((first, 0.2), (second, 0.4)):  # a fragment is held more than a sample
        assert (sampler.segments.levels(made.fragments, 0)[0, ROWS] == level).all()
    assert (first.drawn.tokens != second.drawn.tokens)[0, ROWS].any()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("nowhere", "library 'nowhere' is neither"),
        ({"libary": "default"}, "fragments has 'libary'"),
        ({"splits": [3]}, "fragments has splits"),
        (3, "fragments is 3"),
        ({"sha256": "0" * 16}, "checksum"),
    ],
)
def test_bad_choices_are_named(given, said):
    with pytest.raises(ValueError, match=said):
        checked_fragments(given, template=True)


def test_fragments_without_a_template_are_refused_unless_by_default():
    assert checked_fragments("auto", template=False) is None
    with pytest.raises(ValueError, match="there is no template"):
        checked_fragments("default", template=False)
