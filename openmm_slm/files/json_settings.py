"""Settings from JSON; unknown names are errors."""

from __future__ import annotations

from dataclasses import fields
from typing import TypeVar

from ..errors import SLMError

T = TypeVar("T")


def check_names(values: dict, known: set[str], section: str) -> None:
    """Raise SLMError for a name in `values` that is not in `known`."""
    if not isinstance(values, dict):
        raise SLMError(f"{section} is {values!r}, expected a JSON object of options")
    unknown = sorted(set(values) - known)
    if unknown:
        raise SLMError(f"{section} option {unknown[0]!r} is unknown; known: {sorted(known)}")


def build(cls: type[T], values: dict, section: str) -> T:
    """A config dataclass from JSON values (lists become tuples)."""
    check_names(values, {field.name for field in fields(cls)}, section)
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def merge(defaults: dict, values: dict, section: str) -> dict:
    """`defaults` updated with `values`."""
    check_names(values, set(defaults), section)
    return {**defaults, **values}
