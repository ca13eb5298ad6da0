"""The option `fragments`: which library, and which of its chains."""

from __future__ import annotations

import os
from collections.abc import Collection

from ..errors import StructureError
from ..files.checksum import file_checksum
from ..library.registry import (
    find_library,
    registered_libraries,
    shipped_libraries,
)
from ..library.storage import ABOUT

AUTO, NONE, SHIPPED = "auto", "none", "default"
_KEYS = ("library", "splits", "exclude", "sha256")


def checked_fragments(given: object, template: bool) -> dict[str, object] | None:
    """The option as a dict with ``library``, ``splits``, ``exclude`` and ``sha256``, or None.

    Parameters
    ----------
    given : object
        As the user gave it.
    template : bool
        There is a template other than relatives; otherwise there are no fragments.

    Raises
    ------
    StructureError
        It is neither the name or folder of a library, nor such a dict, nor None; there is no
        template; or the checksum is that of another library.
    """
    if given is None or (isinstance(given, str) and given == NONE):
        return None
    automatic = isinstance(given, str) and given == AUTO
    if automatic and not (template and SHIPPED in shipped_libraries()):
        return None
    if not template:
        raise StructureError(
            f"fragments is {given!r}, but there is no template whose residues are sampled; give "
            "template, or leave fragments out"
        )
    chosen = given if isinstance(given, dict) else {"library": SHIPPED if automatic else given}
    unknown = sorted(set(map(str, chosen)) - set(_KEYS))
    library = chosen.get("library") or SHIPPED
    if unknown or not isinstance(library, (str, os.PathLike)):
        what = f"has {unknown[0]!r}" if unknown else f"is {given!r}"
        raise StructureError(
            f"fragments {what}; give 'auto', a library (name or folder), a dict of library, "
            "splits and exclude, or None"
        )
    checksum = file_checksum(find_library(library) / ABOUT)[:16]
    if chosen.get("sha256", checksum) != checksum:
        raise StructureError(
            f"fragments: the library {library} has the checksum {checksum}, not "
            f"{chosen['sha256']} as in the run; install that version, or leave fragments out"
        )
    named = str(library) in {*shipped_libraries(), *registered_libraries()}
    return {
        "library": str(library) if named else os.path.abspath(library),
        "splits": _names("splits", chosen.get("splits")),
        "exclude": _names("exclude", chosen.get("exclude")) or [],
        "sha256": checksum,
    }


def _names(option: str, given: object) -> list[str] | None:
    """A list of names, or None."""
    if given is None:
        return None
    names = [given] if isinstance(given, str) else given
    if isinstance(names, Collection) and all(isinstance(name, str) for name in names):
        return [*names]
    raise StructureError(f"fragments has {option} {given!r}; give a list of names")
