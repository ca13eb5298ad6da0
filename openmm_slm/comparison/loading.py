"""Comparison of files for the command line: trajectories, weights and lengths."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import StructureError
from ..files.frame_reader import FrameReader
from ..files.options import takes
from .comparing import compare
from .comparison_settings import ComparisonSettings
from .report import FILES, as_text, check_free


@takes(ComparisonSettings)
def compare_files(
    samples: Path,
    reference: Path,
    output: Path,
    *,
    top: Path | None = None,
    reference_top: Path | None = None,
    weights: Path | None = None,
    reference_weights: Path | None = None,
    lengths: str | None = None,
    settings: dict[str, Any],
) -> str:
    """Compare the ensembles in two files, save the result in `output`, return the table as text.

    A `tica_lag` of 0 is None.
    """
    settings["tica_lag"] = settings["tica_lag"] or None
    check_free(output)
    found = compare(
        FrameReader(samples, top).load(),
        FrameReader(reference, reference_top).load(),
        weights=None if weights is None else load_numbers(weights),
        reference_weights=None if reference_weights is None else load_numbers(reference_weights),
        lengths=None if lengths is None else parse_lengths(lengths),
        **settings,
    )
    found.save(output)
    return f"{as_text(found.table)}\n{output}: {', '.join(FILES)}"


def load_numbers(path: str | os.PathLike) -> np.ndarray:
    """Numbers [F] in a text file, one per line."""
    try:
        return np.loadtxt(path, ndmin=1)
    except (OSError, ValueError) as error:
        raise StructureError(f"{path}: expected one number per line ({error})") from None


def parse_lengths(text: str) -> list[int]:
    """Lengths of trajectories, as in "400,400,376", or from a file with one per line."""
    values = load_numbers(text) if Path(text).is_file() else text.split(",")
    try:
        lengths = [int(value) for value in values]
    except ValueError:
        lengths = []
    if not lengths or min(lengths) < 1:
        raise StructureError(
            f"lengths is {text!r}; give numbers of frames, as in 400,400,376, or a file with one "
            "per line"
        )
    return lengths
