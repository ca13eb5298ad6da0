"""Numbers in messages agree with their nouns."""

from __future__ import annotations

import logging

import pytest

from openmm_slm.errors import counted
from openmm_slm.files.stream import warn_invalid


@pytest.mark.parametrize(("number", "text"), [(0, "0 pairs"), (1, "1 pair"), (2, "2 pairs")])
def test_one_thing_is_singular(number, text):
    assert counted(number, "pair") == text


def test_other_plurals_are_given():
    assert counted(1, "entry", "entries") == "1 entry"
    assert counted(3, "bond is", "bonds are") == "3 bonds are"


@pytest.mark.parametrize(
    ("invalid", "dropped", "text"),
    [(1, False, "1 of 8 frames is not valid;"), (2, False, "2 of 8 frames are not valid;"),
     (1, True, "1 of 8 frames is not valid and was dropped;")],
)  # fmt: skip
def test_the_warning_of_invalid_frames_is_a_sentence(invalid, dropped, text, caplog):
    with caplog.at_level(logging.WARNING):
        warn_invalid(invalid, 8, "see report.csv", dropped)
    assert text in caplog.text
