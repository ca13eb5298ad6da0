"""Paths between pairs of conformers, as a table."""

from __future__ import annotations

import pytest
from reference_sets import write_references

from openmm_slm.benchmarks.paths import benchmark_paths


def test_paths_end_in_both_conformers(tmp_path):
    references = write_references(tmp_path / "references")
    table = benchmark_paths(references, device="cpu", targets=("b", "c"), n=5, every=4)
    heading, *rows = [line.split() for line in table.splitlines()[1:]]
    assert [row[0] for row in rows] == ["b", "c"]
    for row in rows:
        pair, first, last, ordered, valid, relaxed = map(float, row[1:])
        assert first < pair / 2 and last < pair / 2 and ordered == 1 and relaxed == 1
        assert 0 <= valid <= 1
    with pytest.raises(ValueError, match="no pair 'x'"):
        benchmark_paths(references, targets=("x",))


def test_a_conformer_of_another_sequence_is_named(tmp_path, caplog):
    references = write_references(tmp_path / "references")
    other = (references / "b2.pdb").read_text().replace("CYS A   2", "SER A   2")
    (references / "b2.pdb").write_text(other)
    table = benchmark_paths(references, device="cpu", targets=("b",), n=3)
    assert table.splitlines()[-1].split()[1:] == ["-"] * 6
    assert "b has no path: state 1" in caplog.text
