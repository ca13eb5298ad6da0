"""Find and load libraries by shipped name, path, or a name registered by another package."""

from __future__ import annotations

import os
from collections import Counter
from functools import lru_cache
from pathlib import Path

from ..errors import StructureError, counted
from ..files.named_directories import find_named, registered_directories
from .library import Library
from .storage import ABOUT, CARD, LibraryFiles, is_library, read_about

ENTRY_POINTS = "openmm_slm.libraries"


def shipped_libraries() -> dict[str, Path]:
    """Libraries shipped with the package: name -> directory."""
    here = Path(__file__).parent
    return {path.name: path for path in sorted(here.iterdir()) if is_library(path)}


def registered_libraries() -> dict[str, object]:
    """Libraries of other packages: name -> entry point whose value is (or returns) a directory."""
    return registered_directories(ENTRY_POINTS)


def find_library(library: str | os.PathLike) -> Path:
    """Directory of a library, given by shipped name, registered name or path.

    Raises
    ------
    StructureError
        There is no such library. The message lists the known names.
    """
    shipped, registered = shipped_libraries(), registered_libraries()
    if named := find_named(str(library), shipped, registered):
        return named
    path = Path(library)
    if path.is_dir():
        read_about(path)
        return path
    known = sorted(shipped) + sorted(registered)
    raise StructureError(
        f"library {str(library)!r} is neither a directory nor one of {', '.join(known) or '(none)'}"
    )


def load_library(library: str | os.PathLike = "default") -> Library:
    """Load a library; its files are read when they are first needed.

    Parameters
    ----------
    library : str or path
        Shipped name, registered name, or library directory.

    Returns
    -------
    Library
        The same object when the library is loaded again unchanged.
    """
    directory = find_library(library).resolve()
    return _load(directory, (directory / ABOUT).stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _load(directory: Path, written: int) -> Library:
    """The library that was written at this time."""
    return Library(directory)


def verify_library(library: str | os.PathLike = "default") -> list[str]:
    """Verify the checksums of a library; returns one line per file.

    Raises
    ------
    StructureError
        A file is missing or damaged.
    """
    files = LibraryFiles(find_library(library)).verify()
    lines = [f"{name}: {size / 2**20:.2f} MiB, checksum right" for name, size in files]
    return [*lines, f"{sum(size for _, size in files) / 2**20:.1f} MiB in all"]


def describe_library(library: str | os.PathLike = "default") -> str:
    """Path, counts and card of a library, as text."""
    directory = find_library(library)
    opened = load_library(directory)
    splits = Counter(chain.split for chain in opened.chains)
    card = directory / CARD
    text = card.read_text(encoding="utf-8") if card.is_file() else "(this library has no card)"
    return "\n".join(
        [
            f"path: {directory}",
            f"{counted(len(opened), 'chain')}, {opened.about['residues']} residues, "
            f"{counted(opened.about['profiles'], 'chain')} with a profile",
            "splits: " + ", ".join(f"{name} {count}" for name, count in splits.most_common()),
            "",
            text,
        ]
    )
