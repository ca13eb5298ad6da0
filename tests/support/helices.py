"""Ensembles of one helix a chain, with noise in its torsions."""

from __future__ import annotations

import numpy as np
from builders import ideal_backbone

from openmm_slm.protein.trajectory import backbone_trajectory

SEQUENCE = "GSDKIEAPLWTRHNVF"


def ensemble(sequence: str = SEQUENCE, frames: int = 12, seed: int = 0, first: int = 1):
    """Helices of single-residue noise, numbered from `first`."""
    rng = np.random.default_rng(seed)
    lengths = [len(part) for part in sequence.split(":")]
    x = []
    for _ in range(frames):
        parts = [
            ideal_backbone(*np.radians(rng.normal((-65, -45, 180), 5, (n, 3))).T)
            + ([k, 0, 0] + 0.1 * rng.normal(size=3) if k else 0)
            for k, n in enumerate(lengths)
        ]
        x.append(np.concatenate(parts))
    numbers = np.concatenate([np.arange(first, first + n) for n in lengths])
    return backbone_trajectory(np.array(x), sequence, residue_number=numbers)
