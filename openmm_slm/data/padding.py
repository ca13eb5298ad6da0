"""Padded batches of entries of different lengths."""

from __future__ import annotations

import numpy as np

from ..protein.sequence import encode_sequence
from .shards import Entry


def pad_entries(entries: list[Entry], multiple: int = 8) -> dict[str, np.ndarray]:
    """Stack entries into padded arrays.

    Parameters
    ----------
    entries : list of Entry
    multiple : int
        The padded length L is a multiple of this.

    Returns
    -------
    dict
        ``backbone`` float32 [B, L, 4, 3] in nm, centred on the mean CA; ``mask`` bool,
        ``index`` and ``amino_acids`` int64 [B, L]. The mask is False for padding and for residues
        that lack a backbone atom; their coordinates are 0.
    """
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
