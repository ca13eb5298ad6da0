"""Files of sampled segments."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from toy_decoys import toy_decoys, write_toy_decoys

from openmm_slm.data.segment_decoys import SegmentDecoys, read_decoys
from openmm_slm.errors import StructureError


def test_segments_are_read_as_they_were_written(tmp_path):
    found, made = read_decoys(write_toy_decoys(tmp_path / "decoys")), toy_decoys()
    assert len(found) == len(made)
    for one, other in zip(found, made, strict=True):
        for field in fields(SegmentDecoys):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def test_deviations_are_those_from_the_true_segment_without_superposing():
    (one,) = toy_decoys(1)
    moved = one.backbone[one.segment] + np.float32([0.1, 0, 0])
    shifted = SegmentDecoys(
        one.id, one.letters, one.index, one.segment, one.backbone, moved[None], one.strain[:1],
        one.sidechains,
    )  # fmt: skip
    deviation, rmsd = shifted.deviations()
    np.testing.assert_allclose(deviation, 0.1, rtol=1e-4)
    np.testing.assert_allclose(rmsd, [0.1], rtol=1e-4)


def test_a_folder_without_segments_is_named(tmp_path):
    with pytest.raises(StructureError, match=r"no files decoys_.*npz"):
        read_decoys(tmp_path)
    write_toy_decoys(tmp_path / "old")
    with np.load(tmp_path / "old" / "decoys_000.npz") as data:
        first = {name: data[name] for name in data.files if name != "sidechains"}
    np.savez(tmp_path / "old" / "decoys_000.npz", **first)
    with pytest.raises(StructureError, match=r"decoys_000.npz: not a file .*sidechains"):
        read_decoys(tmp_path / "old")
    np.savez(tmp_path / "decoys_0.npz", other=np.zeros(3))
    with pytest.raises(StructureError, match=r"decoys_0.npz: not a file of sampled segments"):
        read_decoys(tmp_path)
