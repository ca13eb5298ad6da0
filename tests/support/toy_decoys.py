"""Samples of segments of helices, the further from the truth the more they are displaced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from builders import helix

from openmm_slm.data.segment_decoys import SegmentDecoys, write_decoys

TINY_SEGMENTS = {
    "model": {"width": 16, "layers": 1, "dropout": 0.0},
    "training": {
        "steps": 24, "learning_rate": 0.01, "warmup": 2, "ema": 0.5, "bf16": False,
        "validate_every": 12,
    },
    "data": {"segments": 4, "samples": 8, "left_out": 0.3},
}  # fmt: skip


def toy_decoys(number: int = 12, samples: int = 12, seed: int = 0) -> list[SegmentDecoys]:
    """Segments of 4 to 7 residues in helices of 20."""
    rng, out = np.random.default_rng(seed), []
    for k in range(number):
        x, size = helix(20).astype(np.float32), 4 + k % 4
        segment = np.isin(np.arange(20), 6 + np.arange(size))
        far = np.linspace(0, 0.3, samples)[:, None, None, None]
        off = far * rng.normal(size=(samples, size, 1, 3))
        out.append(
            SegmentDecoys(
                f"toy{k}", rng.integers(0, 20, 20), np.arange(20), segment, x,
                (x[segment] + off).astype(np.float32), np.zeros((samples, 2), np.float32),
                toy_sidechains(x, segment),
            )
        )  # fmt: skip
    return out


def toy_sidechains(x: np.ndarray, segment: np.ndarray) -> np.ndarray:
    """One atom [L, 10, 3] beside each CA that is not of the segment."""
    atoms = np.full((len(x), 10, 3), np.nan, np.float32)
    atoms[~segment, 0] = x[~segment, 1] + np.float32([0.1, 0.1, 0])
    return atoms


def write_toy_decoys(directory: Path) -> Path:
    """Two files of toy segments; returns `directory`."""
    directory.mkdir()
    made = toy_decoys()
    write_decoys(directory / "decoys_000.npz", made[:5])
    write_decoys(directory / "decoys_001.npz", made[5:])
    return directory
