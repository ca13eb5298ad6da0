"""Cysteines of sampled backbones come within reach of the disulfides that are known."""

from __future__ import annotations

import numpy as np
import pytest

from openmm_slm import EnsembleGenerator
from openmm_slm.projection.disulfide_bridges import CB_CB
from openmm_slm.protein.geometry import cb_position
from openmm_slm.sampling.backbones import BackboneSampler
from openmm_slm.sampling.settings import SamplingSettings

SEQUENCE, FIRST, SECOND = "GSCPAAGNKCTW", 2, 9


@pytest.fixture(scope="module")
def generator() -> EnsembleGenerator:
    return EnsembleGenerator.from_pretrained(device="cpu")


def distances(sampler: BackboneSampler, frames: np.ndarray) -> np.ndarray:
    """CB-CB distance of the cysteines in each frame, nm."""
    x = sampler.draw(frames).atom14[:, :, :3]
    return np.linalg.norm(cb_position(x[:, FIRST]) - cb_position(x[:, SECOND]), axis=-1)


def test_disulfides_that_the_first_frames_have_are_those_of_all(generator):
    frames, pair = np.arange(8), (FIRST, SECOND)
    free, named = (
        BackboneSampler(
            generator.tokenizer,
            generator.language_model,
            SamplingSettings(SEQUENCE, 8, seed=1, disulfides=disulfides).with_defaults(
                generator.language_model
            ),
        )
        for disulfides in ("auto", [pair])
    )
    free.begin(4)
    before = distances(free, frames)
    near = (before > 0.5) & (before < 0.9)
    assert near.sum() > 1
    free.bond((pair,))
    bonded = distances(free, frames)
    assert bonded[near].max() < CB_CB[1] + 0.01
    np.testing.assert_array_equal(bonded, distances(named, frames))
