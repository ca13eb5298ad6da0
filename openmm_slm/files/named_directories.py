"""Directories by name: shipped with this package, or registered by another one."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path


def registered_directories(group: str) -> dict[str, EntryPoint]:
    """Entry points of a group: name -> entry point whose value is (or returns) a directory."""
    return {point.name: point for point in entry_points(group=group)}


def find_named(
    name: str, shipped: Mapping[str, Path], registered: Mapping[str, EntryPoint]
) -> Path | None:
    """Directory of a name, or None if it is unknown. Shipped names come first."""
    if name in shipped:
        return shipped[name]
    if name not in registered:
        return None
    value = registered[name].load()
    return Path(value() if callable(value) else value)
