"""Samples of a model against the held-back end of simulations, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..comparison.baselines import elastic_network, jitter
from ..comparison.comparing import compare
from ..comparison.coverage import evenly
from ..errors import StructureError
from ..files.quiet import without_warnings
from ..sampling.ensemble import EnsembleGenerator
from .md_frames import MDFrames
from .starting_structures import CENTRAL, SEVERAL, starting_structures
from .tuned_amplitude import mean_rmsf

if TYPE_CHECKING:
    import mdtraj

#: Metrics of `openmm_slm.compare` in the table, with their digits.
METRICS = {"RMSF r": 2, "JS-PwD": 3, "JS-TIC": 3}
SIZE = "mean RMSF, Å"
#: Names of the rows, the templates, and the settings of samples.
SETTINGS: dict[str, tuple[str, dict[str, float]]] = {
    "": (CENTRAL, {}),
    ", noise 0.5": (CENTRAL, {"noise": 0.5}),
    ", 10 frames": (SEVERAL, {"deform": 0.5}),
}
_LAG = 20  # frames, the default of `compare`
_PAIRS = 12  # fewest pairs of frames for TICA

Row = dict[str, float]


def sampled_rows(
    model: Path | str, name: str, frames: MDFrames, n: int, seed: int, device: str
) -> dict[str, Row]:
    """Rows of samples of a model."""
    generator, rows = EnsembleGenerator.from_pretrained(model, device), {}
    for label, (start, settings) in SETTINGS.items():
        with without_warnings():
            samples = generator.sample(
                frames.sequence, n, template=starting_structures(frames, start), relatives=None,
                seed=seed, sidechains=None, progress=False, **settings,
            )  # fmt: skip
        rows[name + label] = _row(samples.trajectory, frames)
    return rows


def other_rows(frames: MDFrames, n: int, seed: int) -> dict[str, Row]:
    """Rows of baselines from the central frame, and of as many frames of the training part.

    Baselines have the mean RMSF of the training part. There is no ANM of parts that touch nowhere.
    """
    start, rows = starting_structures(frames, CENTRAL), {}
    size = mean_rmsf(frames.train[:, :, 1])
    for name, baseline in (("jitter", jitter), ("ANM", elastic_network)):
        with suppress(StructureError):
            rows[name] = _row(baseline(start, n, size, seed=seed), frames)
    part = frames.train[evenly(len(frames.train), n)]
    return {**rows, "MD, training part": _row(frames.trajectory(part), frames)}


def tica_settings(lengths: list[int]) -> dict[str, int | None]:
    """Lag (in frames that are used) and components of TICA for trajectories of these lengths.

    The lag is None, and there is no JS-TIC, for very few frames.
    """
    lag = max(1, min(_LAG, max(lengths) // 10))
    pairs = sum(max(0, length - lag) for length in lengths)
    return {"tica_lag": lag if pairs >= _PAIRS else None, "tica_components": min(50, pairs // 4)}


def _row(samples: mdtraj.Trajectory, frames: MDFrames) -> Row:
    settings = tica_settings(frames.held_lengths)
    if settings["tica_lag"] is None:
        settings.pop("tica_components")
    with without_warnings():
        table = compare(
            samples,
            frames.trajectory(frames.held),
            lengths=frames.held_lengths,
            n_bootstrap=0,
            progress=False,
            **settings,
        ).table
    found = {name: float(table.loc[name, "value"]) for name in METRICS if name in table.index}
    return {**found, SIZE: 10 * mean_rmsf(samples.xyz[:, samples.topology.select("name CA")])}


def markdown(rows: Mapping[str, Row]) -> str:
    """The table, in Markdown."""
    digits = {"nats per token": 3, SIZE: 2, **METRICS}
    lines = ["| | " + " | ".join(digits) + " |", "| --- |" + " --- |" * len(digits)]
    for name, row in rows.items():
        cells = [
            f"{row[key]:.{size}f}" if np.isfinite(row.get(key, np.nan)) else "-"
            for key, size in digits.items()
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
