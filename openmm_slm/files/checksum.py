"""Checksums of files, and of the numbers of residues."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def file_checksum(path: Path) -> str:
    """SHA-256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def numbers_checksum(chain_ids: Sequence[str], number: np.ndarray, code: np.ndarray | None) -> str:
    """16 digits of the SHA-256 of chain names, residue numbers and insertion codes."""
    codes = None if code is None else [str(each) for each in code]
    given = repr((list(chain_ids), np.asarray(number).tolist(), codes))
    return hashlib.sha256(given.encode()).hexdigest()[:16]
