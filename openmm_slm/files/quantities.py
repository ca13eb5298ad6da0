"""Physical quantities that users give as numbers or as `openmm.unit` quantities."""

from __future__ import annotations

from numbers import Real

from ..errors import SLMError


def in_nanometers(name: str, value: object, wanted: str) -> float:
    """A length as a number of nm; SLMError unless it is a number or a Quantity of length."""
    if hasattr(value, "value_in_unit"):
        from openmm import unit

        if not value.unit.is_compatible(unit.nanometer):
            raise SLMError(f"{name} is {value}; give {wanted}")
        value = value.value_in_unit(unit.nanometer)
    if not isinstance(value, Real) or isinstance(value, bool):
        raise SLMError(f"{name} is {value!r}; give {wanted}")
    return float(value)
