"""Contexts drawn in training: what is hidden is never told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from openmm_slm.data.shards import Entry
from openmm_slm.language.masking import RIM, with_rim
from openmm_slm.training.structure_batches import KINDS, batch_of, context_of, known_tokens_of
from openmm_slm.training.structure_contexts import ContextShares, draw_context


def entry(length: int = 60, chains: int = 1) -> Entry:
    rng = np.random.default_rng(0)
    ca = np.cumsum(rng.normal(0, 0.22, (length, 3)), 0) * 0.7
    atoms = (ca[:, None] + rng.normal(0, 0.1, (length, 4, 3))).astype(np.float32)
    atoms[:, 1] = ca
    chain = (np.arange(length) * chains // length).astype(np.int32)
    index = (np.arange(length) + 64 * chain).astype(np.int32)
    sequence = "ACDEFGHIKLMNPQRSTVWY" * (length // 20)
    return Entry("x", "train", "x", sequence, atoms, chain, index, np.zeros(length, bool))


def present(one: Entry) -> np.ndarray:
    return np.isfinite(one.backbone).all((1, 2))


@pytest.mark.parametrize("kind", [name for name in KINDS if name != "sampled"])
def test_absent_residues_have_no_coordinates_and_are_hidden(kind: str) -> None:
    one = entry(chains=2)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        drawn = draw_context(
            rng, one.backbone, present(one), one.chain_index, ContextShares(), kind
        )
        absent = ~np.isfinite(drawn.level)
        assert drawn.kind == kind
        assert np.isnan(drawn.backbone[absent]).all()
        assert drawn.hidden.any()
        if kind != "nothing":
            assert drawn.hidden[absent].all()
        if drawn.encoded and kind == "soft":
            assert drawn.hidden[drawn.level > 0].all() and (drawn.level[~drawn.hidden] == 0).all()
        elif drawn.encoded and kind != "nothing":
            np.testing.assert_array_equal(drawn.hidden, with_rim(absent, one.chain_index))
        if kind == "trace":
            assert np.isnan(drawn.backbone[:, [0, 2, 3]]).all()
            assert np.isfinite(drawn.backbone[:, 1]).all()


def test_kinds_are_drawn_by_their_shares() -> None:
    one, rng = entry(), np.random.default_rng(0)
    shares = ContextShares(spans=0.5, patch=0, ends=0, interface=0, noised=0, soft=0, trace=0.25)
    kinds = [
        draw_context(rng, one.backbone, present(one), one.chain_index, shares).kind
        for _ in range(400)
    ]
    assert abs(kinds.count("spans") / 400 - 0.5) < 0.1
    assert abs(kinds.count("nothing") / 400 - 0.25) < 0.1


def test_the_level_of_noise_is_the_displacement_within_a_factor() -> None:
    one = entry()
    for seed in range(10):
        rng = np.random.default_rng(seed)
        drawn = draw_context(
            rng, one.backbone, present(one), one.chain_index, ContextShares(), "noised"
        )
        there = np.isfinite(drawn.level)
        off = np.sqrt(((drawn.backbone - one.backbone)[there, 1] ** 2).sum(-1).mean())
        assert 0.3 < drawn.level[there].mean() / off < 3


def test_a_rim_stays_in_its_chain() -> None:
    absent, chains = np.arange(10) == 4, np.arange(10) // 5
    np.testing.assert_array_equal(np.flatnonzero(with_rim(absent, chains)), [2, 3, 4])
    assert RIM == 2


@pytest.mark.parametrize("kind", ["spans", "soft"])
def test_the_encoder_sees_exact_residues_alone(kind: str) -> None:
    one = entry()
    rng = np.random.default_rng(3)
    drawn = draw_context(rng, one.backbone, present(one), one.chain_index, ContextShares(), kind)
    made = batch_of([one], [np.arange(60, dtype=np.int16)], [drawn])
    batch = {name: torch.as_tensor(values) for name, values in made.items()}
    seen = {}

    def tokenize(backbone, mask, index):
        seen["mask"] = mask
        return torch.where(mask, 7, -1)

    known = known_tokens_of(batch, tokenize)
    absent = torch.zeros_like(known, dtype=torch.bool)
    absent[0, :60] = torch.as_tensor(drawn.level > 0)
    assert not (seen["mask"] & absent).any()
    assert (known[absent] == -1).all() and (known[0, :60][~absent[0, :60]] == 7).all()
    assert (context_of(batch).level[absent] > 0).all()


def test_with_noise_known_tokens_are_those_that_are_not_hidden() -> None:
    one = entry()
    for seed in range(8):
        rng = np.random.default_rng(seed)
        drawn = draw_context(
            rng, one.backbone, present(one), one.chain_index, ContextShares(), "noised"
        )
        made = batch_of([one], [np.arange(60, dtype=np.int16)], [drawn])
        batch = {name: torch.as_tensor(values) for name, values in made.items()}
        known = known_tokens_of(batch, lambda *given: 1 / 0)[0, :60].numpy()
        np.testing.assert_array_equal(known, np.where(drawn.hidden, -1, np.arange(60)))
