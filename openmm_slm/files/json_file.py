"""Atomic file writes: a reader never sees an incomplete file."""

from __future__ import annotations

import json
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> Path:
    """Write `data` under a temporary name, then rename the file to `path`."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.replace(path)
    return path


def write_json(path: Path, values: dict) -> None:
    """Write `values` as indented JSON, atomically."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
