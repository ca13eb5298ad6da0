"""Errors that a user can act on, and imports of libraries that may be missing."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


class SLMError(ValueError):
    """Invalid input; the message names the value, the place and the remedy."""


class SequenceError(SLMError):
    """A sequence is invalid."""


class StructureError(SLMError):
    """A structure or trajectory is invalid."""


class ModelError(SLMError):
    """A model is missing, damaged or of another kind."""


class MissingDependencyError(ImportError):
    """A required library is not installed."""


def counted(number: int, one: str, many: str | None = None) -> str:
    """The number and its words: "1 frame", "2 frames"; `many` is `one` with an s by default."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def require(module: str, extra: str | None = None) -> ModuleType:
    """Import `module` when it is needed.

    Raises
    ------
    MissingDependencyError
        The message names the package to install, or the `extra` of openmm_slm that requires it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = f"openmm_slm[{extra}]" if extra else module.split(".")[0]
        raise MissingDependencyError(
            f"this needs {module.split('.')[0]}, which cannot be imported ({error}); "
            f"install it: pip install '{package}', or the same package from conda-forge"
        ) from None
