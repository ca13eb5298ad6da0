"""Amplitude of tuned springs: samples that fluctuate as much as the simulations, on average."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

import numpy as np

from ..files.json_file import write_json
from ..files.quiet import without_warnings
from ..models.registry import load_springs
from ..networks.storage import read_config
from ..sampling.ensemble import EnsembleGenerator
from .md_frames import MDFrames
from .md_motions import mean_square
from .starting_structures import CENTRAL, starting_structures

LEAST, MOST = 0.25, 4.0  # times the RMSF that the springs predict


class Amplitude(TypedDict):
    """What one unit of ``deform`` is, and the mean RMSF (nm) that it was fitted to.

    `sampled` is that of samples before the fit.
    """

    near: float
    simulated: float
    sampled: float


def mean_rmsf(ca: np.ndarray) -> float:
    """Mean over residues of the RMSF (nm) of CA [F, L, 3] about their mean structure."""
    return float(np.sqrt(mean_square(ca)).mean())


def fitted_amplitude(
    model: Path | str, frames: MDFrames, n: int, seed: int, device: str
) -> Amplitude:
    """The amplitude with which samples have the mean RMSF of the part for training.

    Samples are backbones from the central frame with the default settings. RMSF is taken as
    proportional to the amplitude; decoding makes it smaller than the springs predict.
    """
    generator = EnsembleGenerator.from_pretrained(model, device)
    with without_warnings():
        made = generator.sample(
            frames.sequence, n, template=starting_structures(frames, CENTRAL), relatives=None,
            seed=seed, sidechains=None, progress=False,
        ).trajectory  # fmt: skip
    sampled = mean_rmsf(made.xyz[:, made.topology.select("name CA")])
    simulated = mean_rmsf(frames.train[:, :, 1])
    before = load_springs(model, device).near
    near = float(np.clip(before * simulated / max(sampled, 1e-6), LEAST, MOST))
    return {"near": near, "simulated": simulated, "sampled": sampled}


def set_amplitude(motions: Path, near: float) -> None:
    """Store the amplitude in the directory of tuned springs (`Springs.load`)."""
    write_json(motions / "config.json", {**read_config(motions), "near": near})
