"""Sequences and FASTA: what is accepted, and what the message says when it is not."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmm_slm.errors import SequenceError
from openmm_slm.protein.sequence import (
    AMINO_ACIDS,
    MAX_LENGTH,
    ONE_LETTER,
    THREE_LETTER,
    encode_sequence,
    parse_sequence,
    read_fasta,
    sequence_layout,
)

chain = st.text(AMINO_ACIDS, min_size=2, max_size=60)


@given(st.lists(chain, min_size=1, max_size=4))
def test_valid_chains_come_back(chains):
    assert parse_sequence(":".join(chains)) == tuple(chains)
    assert parse_sequence(" \n".join(":".join(chains).lower())) == tuple(chains)


@given(chain, st.characters(codec="latin-1"), st.data())
def test_a_foreign_letter_is_named_with_its_position(text, letter, data):
    if letter.upper() in AMINO_ACIDS or letter.isspace() or letter == ":":
        return
    if len(letter.upper()) != 1:  # 'ß'.upper() is two letters
        return
    position = data.draw(st.integers(0, len(text)))
    with pytest.raises(SequenceError) as caught:
        parse_sequence(text[:position] + letter + text[position:])
    assert f"position {position + 1}" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "empty"), ("  ", "empty"), (":", "empty"), ("AC::DE", "chain 2 of 3 is empty"),
        ("AC:", "chain 2 of 2 is empty"), ("A", "one residue"), ("AC:D", "of chain 2"),
        ("AC:DXE", "position 2 of chain 2"), ("ACU", "write C"), ("ACB", "write D or N"),
        ("A" * (MAX_LENGTH + 1), str(MAX_LENGTH + 1)), ("AC4", "'4' at position 3"),
    ],
)  # fmt: skip
def test_the_message_says_what_is_wrong(text, named):
    with pytest.raises(SequenceError, match=named):
        parse_sequence(text)


def test_something_else_than_text_is_refused():
    with pytest.raises(SequenceError, match="int"):
        parse_sequence(5)


def test_codes_are_indices_into_the_alphabet():
    assert "".join(AMINO_ACIDS[i] for i in encode_sequence("ACDWY")) == "ACDWY"
    assert encode_sequence("AXZ?").tolist() == [0, 20, 20, 20]
    assert len(THREE_LETTER) == len(ONE_LETTER) == 20


def test_layout_separates_chains_beyond_every_relative_position():
    letters, chain_index, index = sequence_layout(("ACD", "EF"))
    assert chain_index.tolist() == [0, 0, 0, 1, 1]
    assert np.diff(index).tolist() == [1, 1, 65, 1]
    assert len(letters) == 5


def test_fasta_round_trip(tmp_path):
    text = ">one first protein\nACDE\nFGH\n\n>two\nkl:mn\n"
    for name, data in (("a.fa", text.encode()), ("a.fa.gz", gzip.compress(text.encode()))):
        (tmp_path / name).write_bytes(data)
        assert read_fasta(tmp_path / name) == {"one": "ACDEFGH", "two": "KL:MN"}


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "no sequences"), (b"ACDE", "line 1"), (b">a\nAC\n>a\nAC", "'a' occurs twice"),
        (b">\nACD", "without a name"), (b">a\n>b\nACD", "a: the sequence is empty"),
        (b">a\nACX", "position 3"), (bytes(range(256)), "not a text file"),
        (b"\x1f\x8bgarbage", "FASTA|text"),
    ],
)  # fmt: skip
def test_bad_fasta_names_file_and_place(tmp_path, data, named):
    path = tmp_path / "bad.fasta"
    path.write_bytes(data)
    with pytest.raises(SequenceError, match=named) as caught:
        read_fasta(path)
    assert "bad.fasta" in str(caught.value)


def test_missing_fasta(tmp_path):
    with pytest.raises(SequenceError, match="nowhere.fa"):
        read_fasta(tmp_path / "nowhere.fa")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.fa"
    path.write_bytes(data)
    try:
        records = read_fasta(path)
    except SequenceError:
        return
    assert records and all(parse_sequence(s) for s in records.values())
