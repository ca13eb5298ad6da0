"""Training of the network that ranks sampled segments."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from toy_decoys import TINY_SEGMENTS, write_toy_decoys

from openmm_slm.errors import StructureError
from openmm_slm.language.segment_ranker import SegmentRanker
from openmm_slm.training.train_segments import train_segments


def test_it_learns_which_samples_are_nearer(tmp_path):
    """Toy samples are displaced residue by residue, which stretches bonds: easy to see."""
    decoys = write_toy_decoys(tmp_path / "decoys")
    config = {**TINY_SEGMENTS, "training": {**TINY_SEGMENTS["training"], "steps": 60}}
    model = train_segments(config, decoys, tmp_path / "run", progress=False)
    with open(tmp_path / "run" / "validation.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert float(rows[-1]["rank_r"]) > 0.8
    assert float(rows[-1]["first"]) < 0.1 and float(rows[-1]["lowest"]) == 0
    assert SegmentRanker.load(model).network.config.width == 16


def test_a_stopped_run_continues_as_if_it_had_not_stopped(tmp_path):
    decoys = write_toy_decoys(tmp_path / "decoys")
    for name, parts in (("whole", (24,)), ("parts", (10, 24))):
        for steps in parts:
            config = {**TINY_SEGMENTS, "training": {**TINY_SEGMENTS["training"], "steps": steps}}
            resume = steps == 24 and len(parts) == 2
            train_segments(config, decoys, tmp_path / name, progress=False, resume=resume)
    weights = [SegmentRanker.load(tmp_path / name / "model").network for name in ("whole", "parts")]
    for one, other in zip(*(w.parameters() for w in weights), strict=True):
        np.testing.assert_array_equal(one.detach().numpy(), other.detach().numpy())


def test_unknown_settings_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match="segmants"):
        train_segments({"data": {"segmants": 2}}, tmp_path, tmp_path / "run")
    with pytest.raises(StructureError, match="no files decoys"):
        train_segments({}, tmp_path, tmp_path / "run")
