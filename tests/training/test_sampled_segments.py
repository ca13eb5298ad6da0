"""Training contexts show a sampled segment in place of the true one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_decoys import toy_decoys, write_toy_decoys

from openmm_slm.data.segment_decoys import SegmentDecoys, write_decoys
from openmm_slm.data.shards import ShardDataset, ShardWriter
from openmm_slm.errors import StructureError
from openmm_slm.language.masking import SAMPLED_LEVEL, with_rim
from openmm_slm.protein.sequence import AMINO_ACIDS
from openmm_slm.training.batches import ClusterSampler
from openmm_slm.training.sampled_segments import SampledSegments
from openmm_slm.training.structure_batches import KINDS, structure_batch
from openmm_slm.training.structure_contexts import ContextShares

LETTERS = np.array(list(AMINO_ACIDS))


class NoTokens:
    """A store whose tokens are all 7."""

    def read(self, row: dict[str, str]) -> np.ndarray:
        return np.full(int(row["length"]), 7, np.int16)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chains of `toy_decoys`, and one that has no samples."""
    every = toy_decoys()
    chains = [(each.id, each) for each in every] + [("other", every[0])]
    return write_shards(tmp_path_factory.mktemp("shards"), chains)


def write_shards(folder: Path, chains: list[tuple[str, SegmentDecoys]]) -> Path:
    writer = ShardWriter(folder)
    for name, one in chains:
        sequence = "".join(LETTERS[one.letters])
        writer.add(name, sequence, one.backbone, np.zeros(20, bool), np.arange(20))
    writer.close()
    return folder


@pytest.fixture(scope="module")
def segments(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> SampledSegments:
    decoys = write_toy_decoys(tmp_path_factory.mktemp("decoys") / "toy")
    return SampledSegments(decoys, ShardDataset(shards, "train"))


def test_a_segment_is_told_where_a_sample_has_it(shards, segments):
    dataset, known = ShardDataset(shards, "train"), {each.id: each for each in toy_decoys()}
    assert [dataset[k].id for k in segments.numbers] == list(known)
    rng = np.random.default_rng(0)
    for number in segments.numbers:
        entry, truth = dataset[int(number)], known[dataset[int(number)].id]
        drawn = segments.context(rng, entry)
        inside = drawn.level > 0
        np.testing.assert_array_equal(inside, truth.segment)
        assert (drawn.level[inside] == np.float32(SAMPLED_LEVEL)).all()
        assert (drawn.backbone[inside] == truth.sampled).all((1, 2, 3)).sum() == 1
        np.testing.assert_array_equal(drawn.backbone[~inside], entry.backbone[~inside])
        np.testing.assert_array_equal(drawn.hidden, with_rim(inside, entry.chain_index))
        assert drawn.encoded  # no token tells where the segment was


def test_a_share_of_the_batches_has_sampled_segments_alone(shards, segments):
    sampler, shares = ClusterSampler(ShardDataset(shards, "train")), ContextShares()
    drawn = [
        structure_batch(sampler, NoTokens(), 60, 0, step, shares, 0.0, segments, 0.5)["drawn"]
        for step in range(100)
    ]
    kind = KINDS.index("sampled")
    assert all((each == kind).all() or (each != kind).all() for each in drawn)
    assert 35 <= sum((each == kind).all() for each in drawn) <= 65


def test_samples_of_one_number_belong_together_and_some_segments_are_absent(tmp_path):
    """A chain with two segments: samples of a number were drawn together."""
    (one,) = toy_decoys(1, samples=5)
    second = np.isin(np.arange(20), [13, 14, 15, 16])
    far = np.arange(5, dtype=np.float32)[:, None, None, None]
    pair = [
        replace(one, segment=inside, sampled=one.backbone[inside] + far)
        for inside in (one.segment, second)
    ]
    write_decoys(tmp_path / "decoys_0.npz", pair)
    dataset = ShardDataset(write_shards(tmp_path / "shards", [(one.id, one)]), "train")
    segments, entry, seen = SampledSegments(tmp_path, dataset), dataset[0], set()
    for seed in range(60):
        drawn = segments.context(np.random.default_rng(seed), entry)
        moved = [(drawn.backbone[i] - entry.backbone[i])[:, :, 0] for i in (one.segment, second)]
        kinds = tuple(
            "absent" if np.isnan(each).all() else "exact" if (each == 0).all() and free else "seen"
            for each, free in zip(
                moved, [(drawn.level[i] == 0).all() for i in (one.segment, second)], strict=True
            )
        )
        seen.add(kinds)
        if kinds == ("seen", "seen"):
            assert moved[0].mean() == pytest.approx(moved[1].mean(), abs=1e-4)
    assert {("seen", "seen"), ("absent", "seen"), ("exact", "seen"), ("seen", "absent")} <= seen


def test_samples_of_other_chains_are_refused(tmp_path):
    (one,) = toy_decoys(1)
    others = ShardDataset(write_shards(tmp_path / "shards", [("other", one)]), "train")
    decoys = write_toy_decoys(tmp_path / "toy")
    with pytest.raises(StructureError, match="no segments of the chains"):
        SampledSegments(decoys, others)
