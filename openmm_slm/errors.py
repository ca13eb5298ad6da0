"""Errors a user can act on, and imports of libraries that may be absent."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


class SLMError(ValueError):
    """Bad input: the message names the value, the place and the remedy."""


class SequenceError(SLMError):
    """A sequence that cannot be used."""


class StructureError(SLMError):
    """A structure or trajectory that cannot be used."""


class ModelError(SLMError):
    """A model that is missing, damaged or of another kind."""


class MissingDependencyError(ImportError):
    """A library that this task needs is not installed."""


def require(module: str, extra: str | None = None) -> ModuleType:
    """Import `module` where it is used.

    Raises
    ------
    MissingDependencyError
        Says what to install: the package, or our `extra` that brings it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        what = f"openmm_slm[{extra}]" if extra else module.split(".")[0]
        raise MissingDependencyError(
            f"this needs {module.split('.')[0]}, which cannot be imported ({error}); "
            f"install it: pip install '{what}', or the conda-forge package of that name"
        ) from None
