"""The network that ranks sampled segments."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from builders import helix
from scipy.spatial.transform import Rotation
from toy_decoys import toy_decoys

from openmm_slm.language.segment_network import SegmentConfig, SegmentNetwork
from openmm_slm.language.segment_ranker import SegmentRanker
from openmm_slm.library.registry import load_library
from openmm_slm.models.registry import load_segment_ranker
from openmm_slm.protein.sequence import encode_sequence
from openmm_slm.training.train_segments import stack_decoys

INPUT = ("backbone", "letters", "index", "rows", "strain", "sidechains")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return SegmentNetwork(SegmentConfig(16, 2)).eval()


def run(network, arrays):
    with torch.no_grad():
        return network(*(torch.as_tensor(arrays[name]) for name in INPUT))


def test_nothing_depends_on_position_or_orientation(network):
    arrays = stack_decoys(toy_decoys(2), [np.arange(6), np.arange(6)])
    turn = Rotation.random(random_state=1).as_matrix()
    moved = {
        name: (arrays[name] @ turn.T + 3).astype(np.float32) for name in ("backbone", "sidechains")
    }
    moved = {**arrays, **moved}
    for one, other in zip(run(network, arrays), run(network, moved), strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-3)


def test_padding_changes_nothing(network):
    small, large = toy_decoys(2)[0], toy_decoys(8)[7]
    alone = run(network, stack_decoys([small], [np.arange(5)]))
    longer = type(large)(
        large.id, np.tile(large.letters, 2), np.arange(40), np.tile(large.segment, 2),
        helix(40).astype(np.float32),
        np.tile(large.sampled, (1, 2, 1, 1)), large.strain, np.tile(large.sidechains, (2, 1, 1)),
    )  # fmt: skip
    both = run(network, stack_decoys([small, longer], [np.arange(5)] * 2))
    size = small.segment.sum()
    torch.testing.assert_close(alone[0][:, :size], both[0][:5, :size], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(alone[1], both[1][:5], atol=1e-5, rtol=1e-5)


def test_a_sample_does_not_depend_on_the_others(network):
    (one,) = toy_decoys(1, samples=70)
    x = np.repeat(one.backbone[None], 70, 0)
    x[:, one.segment] = one.sampled
    given = one.letters, one.index, np.flatnonzero(one.segment)
    ranker = SegmentRanker(network)
    every = ranker.expected(x, *given, one.strain, one.sidechains)
    assert len(set(every)) > 60
    np.testing.assert_array_equal(
        ranker.expected(x[40:45], *given, one.strain[40:45], one.sidechains), every[40:45]
    )


def test_side_chains_count_where_they_are_known_and_near(network):
    arrays = stack_decoys(toy_decoys(1), [np.arange(6)])
    absent = {**arrays, "sidechains": np.full_like(arrays["sidechains"], np.nan)}
    far = {**arrays, "sidechains": arrays["sidechains"] + 5}
    for values in run(network, absent):
        assert values.isfinite().all()
    near, none, away = (run(network, each)[1] for each in (arrays, absent, far))
    assert (near - none).abs().min() > 1e-4 and (near - away).abs().min() > 1e-4


def test_the_shipped_network_ranks_displaced_segments_last():
    """In chains of the shipped library, a true stretch has a smaller expected RMSD than the same
    stretch with its residues turned or displaced by 0.2 nm."""
    library, ranker = load_library(), load_segment_ranker(device="cpu")
    rng, better = np.random.default_rng(0), []
    for number in range(0, 200, 10):
        x = library.backbone(number)[:100]
        if len(x) < 60 or not np.isfinite(x).all():
            continue
        rows = 25 + np.arange(8)
        samples = np.repeat(x[None], 9, 0)
        samples[1:, rows] += rng.normal(0, 0.2 / 3**0.5, (8, 8, 1, 3)).astype(np.float32)
        letters = encode_sequence(library.sequence(number))[:100]
        found = ranker.expected(
            samples, letters, np.arange(len(x)), rows, np.zeros((9, 2), np.float32),
            np.full((len(x), 10, 3), np.nan),
        )  # fmt: skip
        better.append(found[0] < np.median(found[1:]))
    assert len(better) > 8 and np.mean(better) > 0.8
