"""Sampling with a model that sees structure: what a frame is depends on its seed and number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from openmm_slm.language.autoregressive import AutoregressiveModel
from openmm_slm.language.masked_diffusion import (
    MaskedDiffusion,
    MaskedDiffusionConfig,
    MaskedDiffusionModel,
)
from openmm_slm.language.structure_context import StructureContext
from openmm_slm.language.t5 import T5, T5Config

SIZES = {
    "trunk_width": 32, "trunk_layers": 2, "trunk_heads": 4, "width": 32, "layers": 1, "heads": 4,
    "pair": 4,
}  # fmt: skip
SEQUENCE = "ACDEFGHIKLMNPQRSTVWYACDEFGHIKL"
LENGTH = len(SEQUENCE)


def contexts(n: int) -> list[StructureContext]:
    made = []
    for seed in range(n):
        rng = np.random.default_rng(seed)
        ca = np.cumsum(rng.normal(0, 0.22, (LENGTH, 3)), 0) * 0.7
        backbone = ca[:, None] + rng.normal(0, 0.1, (LENGTH, 4, 3))
        level = np.where(np.isin(np.arange(LENGTH), range(10, 18)), np.inf, 0.0)
        made.append(StructureContext.of(backbone, level, np.arange(LENGTH)))
    return made


def known() -> np.ndarray:
    tokens = np.random.default_rng(0).integers(0, 512, LENGTH)
    tokens[8:20] = -1
    return tokens


def model(seeing: int = 2) -> AutoregressiveModel:
    torch.manual_seed(0)
    network = T5(T5Config(**SIZES, structure=seeing, edge=16, neighbours=12))
    with torch.no_grad():
        for value in network.parameters():
            if not value.any():
                value.normal_(std=0.3)
    return AutoregressiveModel(network)


def test_any_frames_are_those_of_all() -> None:
    seeing, each = model(), contexts(6)
    hints = np.where(known() < 0, 3, known())

    def drawn(frames: list[int]) -> np.ndarray:
        structure = StructureContext.stacked([each[frame] for frame in frames])
        given = {"known": known(), "hints": hints, "structure": structure}
        return seeing.sample(SEQUENCE, frames, seed=7, **given).tokens

    np.testing.assert_array_equal(drawn([0, 1, 2, 3, 4, 5])[[1, 4]], drawn([1, 4]))


def test_one_context_for_all_frames_is_the_same_for_each() -> None:
    seeing, one = model(), contexts(1)[0]
    shared = seeing.sample(SEQUENCE, range(4), seed=7, known=known(), structure=one)
    structure = StructureContext.stacked([one] * 4)
    each = seeing.sample(SEQUENCE, range(4), seed=7, known=known(), structure=structure)
    np.testing.assert_array_equal(shared.tokens, each.tokens)
    np.testing.assert_array_equal(shared.tokens[:, known() >= 0][0], known()[known() >= 0])


def test_the_probability_of_a_sample_is_that_of_its_tokens() -> None:
    seeing, one = model(), contexts(1)[0]
    given = {"known": known(), "structure": one, "hints": np.where(known() < 0, 5, known())}
    drawn = seeing.sample(SEQUENCE, range(3), seed=1, **given)
    found = seeing.log_prob(drawn.tokens, SEQUENCE, **given)
    np.testing.assert_allclose(found, drawn.log_prob, atol=1e-3)


def test_the_structure_changes_what_is_sampled() -> None:
    seeing, (one, other) = model(), contexts(2)
    first, second = (
        seeing.log_prob(np.arange(LENGTH)[None], SEQUENCE, known=known(), structure=each)
        for each in (one, other)
    )
    assert abs(first - second) > 1e-3


def test_masked_diffusion_takes_a_structure() -> None:
    torch.manual_seed(0)
    config = MaskedDiffusionConfig(**SIZES, structure=1, edge=16, neighbours=12)
    seeing = MaskedDiffusionModel(MaskedDiffusion(config))
    drawn = seeing.sample(SEQUENCE, range(3), seed=1, known=known(), structure=contexts(1)[0])
    assert (drawn.tokens >= 0).all()


def test_a_structure_of_other_residues_is_named() -> None:
    with pytest.raises(ValueError, match=r"shape \(30,\), expected \(20,\)"):
        model().sample(SEQUENCE[:20], range(2), seed=1, structure=contexts(1)[0])
    with pytest.raises(ValueError, match="sees no structure"):
        model(0).sample(SEQUENCE, range(2), seed=1, structure=contexts(1)[0])
