"""Geometry of ensembles with holes: one bad frame spoils itself only, batches equal loops."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from builders import helix

from openmm_slm.errors import SequenceError
from openmm_slm.protein import geometry
from openmm_slm.protein.sequence import parse_sequence
from openmm_slm.protein.superposition import rmsd, superpose
from openmm_slm.validity.close_contacts import ca_clashes

RNG = np.random.default_rng(0)


def test_a_frame_of_nan_has_no_rmsd_and_leaves_the_others_alone():
    target = RNG.normal(size=(12, 3))
    mobile = np.stack([target + 1, np.full((12, 3), np.nan), target[:, [1, 2, 0]]])
    found = rmsd(mobile, target)
    assert np.isnan(found[1]) and found[0] < 1e-9 and found[2] < 1e-9


def test_absent_points_are_not_fitted():
    target = RNG.normal(size=(12, 3))
    mobile = target[:, [2, 0, 1]] + 5
    mobile[3] = np.nan
    moved, rotation, _ = superpose(mobile, target)
    np.testing.assert_allclose(np.delete(moved, 3, 0), np.delete(target, 3, 0), atol=1e-9)
    assert np.isnan(moved[3]).all() and abs(np.linalg.det(rotation) - 1) < 1e-9


def test_every_frame_may_have_a_mask_of_its_own():
    a, b = RNG.normal(size=(2, 6, 20, 3))
    mask = RNG.random((6, 20)) < 0.6
    loop = [rmsd(x[m], y[m]) for x, y, m in zip(a, b, mask, strict=True)]
    np.testing.assert_allclose(rmsd(a, b, mask), loop, atol=1e-9)


@pytest.mark.parametrize("points", [1, 2, 3])
def test_few_or_collinear_points_still_give_a_proper_rotation(points):
    target = np.outer(np.arange(points), [1.0, 2.0, 3.0])
    moved, rotation, _ = superpose(target[:, [1, 2, 0]], target)
    assert abs(np.linalg.det(rotation) - 1) < 1e-9
    np.testing.assert_allclose(moved, target, atol=1e-9)


def test_lddt_of_frames_equals_a_loop_over_them():
    true, pred = RNG.normal(size=(2, 3, 18, 3))
    mask = RNG.random((3, 18)) < 0.8
    each, score = geometry.lddt_ca(pred, true, mask=mask)
    for f in range(3):
        one, total = geometry.lddt_ca(pred[f][mask[f]], true[f][mask[f]])
        np.testing.assert_allclose(each[f][mask[f]], one)
        assert abs(score[f] - total) < 1e-12
    assert np.isnan(each[~mask]).all()


def test_lddt_counts_a_residue_that_was_not_predicted_as_wrong():
    true = helix(20)[:, 1].astype(np.float64)
    pred = true.copy()
    pred[4] = np.nan
    each, score = geometry.lddt_ca(pred, true)
    assert each[4] == 0 and 0.5 < score < 1
    assert geometry.lddt_ca(true, pred)[1] == 1  # absent in the reference: not asked


def test_clashes_of_many_frames_take_little_memory():
    ca = RNG.normal(size=(200, 200, 3)).astype(np.float32)
    tracemalloc.start()
    counts = ca_clashes(ca)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counts.shape == (200,) and peak < 20e6
    assert counts[7] == ca_clashes(ca[7])


def test_the_oxygen_before_an_absent_nitrogen_is_built_as_at_an_end():
    x = helix(6).astype(np.float64)
    x[3] = np.nan
    o = geometry.place_oxygen(x, np.arange(6) == 0)
    assert np.isfinite(np.delete(o, 3, 0)).all()
    broken = np.isin(np.arange(6), [0, 3])
    np.testing.assert_array_equal(o[2], geometry.place_oxygen(x, broken)[2])


@pytest.mark.parametrize("letter", ["ß", "ſ", "ı", "ﬁ", "А"])
def test_letters_beyond_ascii_are_not_read_as_amino_acids(letter):
    """'ß'.upper() is SS and 'ſ'.upper() S; the last is a Cyrillic A."""
    with pytest.raises(SequenceError, match=f"{letter!r} at position 3"):
        parse_sequence(f"AC{letter}D")
