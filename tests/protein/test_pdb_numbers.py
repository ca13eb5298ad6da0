"""Residue numbers over 9,999 in the codes of other programs."""

from __future__ import annotations

import gemmi
import pytest

from openmm_slm.protein.pdb_numbers import from_hybrid36, hybrid36, residue_numbers


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (-999, "-999"), (0, "   0"), (9999, "9999"), (10000, "A000"), (10009, "A009"),
        (10010, "A00A"), (10035, "A00Z"), (10036, "A010"), (56656, "B000"), (1223055, "ZZZZ"),
    ],
)  # fmt: skip
def test_hybrid36_is_that_of_cctbx(number, text):
    """The numbers at which the code changes, from its definition; gemmi agrees."""
    assert hybrid36(number) == text and from_hybrid36(text) == number
    line = f"ATOM      1  CA  ALA A{text}       0.000   0.000   0.000  1.00  0.00           C\n"
    assert gemmi.read_pdb_string(line)[0][0][0].seqid.num == number


@pytest.mark.parametrize("number", [-1000, 1223056])
def test_numbers_that_hybrid36_lacks_are_refused(number):
    with pytest.raises(ValueError, match=str(number)):
        hybrid36(number)


@pytest.mark.parametrize("text", ["A0a0", "a000", "****", "    ", "1A00", "12.0"])
def test_other_text_is_no_number(text):
    assert from_hybrid36(text) is None


def numbers(*fields: str) -> list:
    """Numbers of residues with three atoms each; "TER" and "END" are lines of their own."""
    lines = []
    for field in fields:
        atoms = ("N", "CA", "C") if field not in ("TER", "END") else ()
        lines += [f"ATOM      1  {atom:<3} ALA A{field:<5}" for atom in atoms] or [field]
    found = residue_numbers(lines)
    assert len(found) == len(lines)
    return [f"{number}{code}" for number, code in found if number is not None][::3]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["9999", "A000", "A00A", "A00B"], ["9999", "10000", "10010", "10011"]),
        (["A00E", "A00F", "A00G"], ["10014", "10015", "10016"]),  # hybrid-36
        (["A00E", "A00F", "A010"], ["10014", "10015", "10016"]),  # OpenMM
        (["9998", "9999", "2710", "2711", "271a"], ["9998", "9999", "10000", "10001", "10010"]),
        (["9999", "10000", "10001"], ["9999", "10000", "10001"]),
        (["9998", "9999", "   0", "   1"], ["9998", "9999", "10000", "10001"]),
        (["9999", "   3", "  60"], ["9999", "10003", "10060"]),  # a loop is missing
        (["9999", "****", "****"], ["9999", "10000", "10001"]),
        (["9999", "   0A", "   1"], ["9999", "10000A", "10001"]),
        (["9999", "TER", "   1", "   2"], ["9999", "10001", "10002"]),  # water goes on
        (["9999", "TER", "  50", "  51"], ["9999", "50", "51"]),  # another chain
        (["9999", "END", "   1", "   2"], ["9999", "1", "2"]),  # another frame
        (["2709", "2710", "2711"], ["2709", "2710", "2711"]),
        (["  12", "  12A", "  12B", "  -3"], ["12", "12A", "12B", "-3"]),
        (["9500", "   1"], ["9500", "1"]),
    ],
)
def test_numbers_go_on_in_the_code_of_the_program(fields, expected):
    assert numbers(*fields) == expected
