"""Entries of several lengths as one padded batch of arrays."""

from __future__ import annotations

import numpy as np

from ..protein.sequence import encode_sequence
from .shards import Entry


def pad_entries(entries: list[Entry], multiple: int = 8) -> dict[str, np.ndarray]:
    """Stack entries: backbone [B, L, 4, 3], mask, index, amino_acids [B, L] (L padded)."""
    longest = max(len(entry.sequence) for entry in entries)
    longest = -(-longest // multiple) * multiple
    b = len(entries)
    batch = {
        "backbone": np.zeros((b, longest, 4, 3), np.float32),
        "mask": np.zeros((b, longest), bool),
        "index": np.zeros((b, longest), np.int64),
        "amino_acids": np.full((b, longest), 20, np.int64),
    }
    for row, entry in enumerate(entries):
        n = len(entry.sequence)
        backbone = entry.backbone
        present = np.isfinite(backbone).all((1, 2))
        backbone = backbone - backbone[present, 1].mean(0)
        batch["backbone"][row, :n] = np.where(present[:, None, None], backbone, 0)
        batch["mask"][row, :n] = present
        batch["index"][row, :n] = entry.residue_index
        batch["amino_acids"][row, :n] = encode_sequence(entry.sequence)
    return batch
