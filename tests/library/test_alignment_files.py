"""Alignments of three formats give one profile."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from openmm_slm.errors import StructureError
from openmm_slm.library.alignment_files import alignment_profile, read_alignment
from openmm_slm.protein.sequence import encode_sequence

QUERY = "ACDEFGHIKL"
FILES = {
    "x.a3m": ">q\nACDEFGHIKL\n>a\nACDEYGsthHIKL\n>b\n--DEFG-IRV\n",
    "x.fasta": ">q\nACDEFG---HIKL\n>a\nACDEYGSTHHIKL\n>b\n--DEFG----IRV\n",
    "x.sto": "# STOCKHOLM 1.0\n#=GF ID x\nq ACDEF\na ACDEY\nb --DEF\n\nq G---HIKL\na GSTHHIKL\n"
    "b G....IRV\n//\n",
}


@pytest.mark.parametrize("name", FILES)
def test_formats_agree(tmp_path, name):
    (tmp_path / name).write_text(FILES[name])
    profile = read_alignment(tmp_path / name, QUERY)
    rows = ["ACDEFGHIKL", "ACDEYGHIKL", "--DEFG-IRV"]
    expected = alignment_profile(np.array([encode_sequence(row) for row in rows]))
    np.testing.assert_allclose(profile, expected, atol=1e-6)
    assert profile.shape == (10, 20) and profile.dtype == np.float32
    np.testing.assert_allclose(profile.sum(1), 1, atol=1e-5)
    (tmp_path / "x.gz").write_bytes(gzip.compress(FILES[name].encode()))
    if name != "x.a3m":
        np.testing.assert_array_equal(read_alignment(tmp_path / "x.gz", QUERY), profile)


def test_copies_of_one_sequence_hardly_count():
    """A hundred copies of one relative weigh no more than one other relative."""
    rows = ["AAAA", *100 * ["CCCC"], "DDDD"]
    profile = alignment_profile(np.array([encode_sequence(row) for row in rows]))
    a, c, d = profile[0, [0, 1, 2]]
    assert abs(a - d) < 0.05 and c < 1.3 * a


def test_many_different_residues_leave_little_to_the_matrix():
    single = alignment_profile(encode_sequence("W" * 5)[None])
    assert single[0].argmax() == encode_sequence("W") and single[0].min() > 0
    every = np.arange(20)[:, None].repeat(5, 1)
    assert alignment_profile(every)[0].std() < 0.02


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (">q\nACDEWGHIKL\n", "has W at position 5, but the sequence to sample has F"),
        (">q\nACDEFGHIK\n", "has 9 residues, but the sequence to sample has 10"),
        (">q\nACDEFGHIKL\n>b\nACD\n", "'b' has 3 columns, but 'q' has 10"),
        ("nothing\n", "no sequences"),
        (">q\n----\n", "has no residues"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, told):
    path = tmp_path / "x.fasta"
    path.write_text(text)
    with pytest.raises(StructureError, match=told):
        read_alignment(path, QUERY)


def test_a_file_that_is_absent_or_binary_is_named(tmp_path):
    with pytest.raises(StructureError, match=r"x\.a3m: cannot be read"):
        read_alignment(tmp_path / "x.a3m", QUERY)
    (tmp_path / "x.a3m").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(StructureError, match="not a text file"):
        read_alignment(tmp_path / "x.a3m", QUERY)
