"""OpenMM's force fields, each read once by a process: that takes seconds."""

from __future__ import annotations

from functools import lru_cache

from openmm import app


@lru_cache
def load(*files: str) -> app.ForceField:
    return app.ForceField(*files)
