"""Comparison of files for the command line: trajectories, weights and lengths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import StructureError
from ..files.frame_reader import FrameReader
from ..files.options import takes
from .comparing import compare
from .comparison_settings import ComparisonSettings
from .experiment import as_text as experiment_as_text
from .report import FILES, as_text, check_free


@takes(ComparisonSettings)
def compare_files(
    samples: Path,
    reference: Path | None,
    output: Path,
    *,
    top: Path | None = None,
    reference_top: Path | None = None,
    weights: Path | None = None,
    reference_weights: Path | None = None,
    lengths: str | None = None,
    experiment: Path | None = None,
    settings: dict[str, Any],
) -> str:
    """Compare the ensembles in files, save the result in `output`, return the tables as text.

    A `tica_lag` of 0 is None.
    """
    settings["tica_lag"] = settings["tica_lag"] or None
    check_free(output)
    found = compare(
        FrameReader(samples, top).load(),
        None if reference is None else FrameReader(reference, reference_top).load(),
        weights=weights,
        reference_weights=reference_weights,
        lengths=None if lengths is None else parse_lengths(lengths),
        experiment=experiment,
        **settings,
    )
    found.save(output)
    texts = [] if found.table.empty else [as_text(found.table)]
    if found.experiment is not None:
        texts.append(experiment_as_text(found.experiment))
    written = [name for name in FILES if (output / name).exists()]
    return "\n\n".join([*texts, f"{output}: {', '.join(written)}"])


def parse_lengths(text: str) -> list[int]:
    """Lengths of trajectories, as in "400,400,376", or from a file with one per line."""
    try:
        values = np.loadtxt(text, ndmin=1) if Path(text).is_file() else text.split(",")
        lengths = [int(value) for value in values]
    except ValueError:
        lengths = []
    if not lengths or min(lengths) < 1:
        raise StructureError(
            f"lengths is {text!r}; give numbers of frames, as in 400,400,376, or a file with one "
            "per line"
        )
    return lengths
