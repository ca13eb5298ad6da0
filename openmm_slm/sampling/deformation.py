"""How far templates are displaced: the setting `deform`.

One is the thermal motion of the elastic network at the size that B-factors of crystals have. The
names stand for what their multiples were measured to match:

- ``near``: B-factors, MD of nanoseconds, and the median pair of structures of one protein;
- ``md``: MD of half a microsecond at 300 K;
- ``far``: three quarters of the pairs of structures that differ by more than 0.1 nm are closer.

`tools/measure_amplitudes.py` measures them.
"""

from __future__ import annotations

import re
from numbers import Real

from ..errors import SLMError
from ..files.quantities import in_nanometers

NAMED = {"near": 1.0, "md": 1.7, "far": 2.6}
_MOST, _MOST_NM = 10, 1
_LENGTH = re.compile(r"([-+.\deE]+)\s*nm")
_WANTED = (
    f"a multiple of thermal motion (0 to {_MOST}), one of {', '.join(NAMED)}, or a length with its "
    f"unit (0 to {_MOST_NM} nm)"
)


def checked_deform(given: object) -> float | str:
    """A multiple of thermal motion, or a length as in ``"0.1 nm"``.

    Raises
    ------
    SLMError
        `given` is neither a number from 0 to 10, nor a name, nor a length from 0 to 1 nm.
    """
    value, most, unit = given, _MOST, ""
    if isinstance(value, str):
        length = _LENGTH.fullmatch(value.strip())
        value = NAMED.get(value, length[1] if length else value)
        most, unit = (_MOST_NM, " nm") if length else (most, unit)
        try:
            value = float(value)
        except ValueError:
            raise SLMError(f"deform is {given!r}; give {_WANTED}") from None
    elif hasattr(value, "value_in_unit"):
        value, most, unit = in_nanometers("deform", value, _WANTED), _MOST_NM, " nm"
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not 0 <= value <= most:
        raise SLMError(f"deform is {given if unit else repr(given)}; give {_WANTED}")
    return f"{float(value):g} nm" if unit else float(value)


def multiple_of(deform: float | str, thermal: float) -> float:
    """A checked `deform` as a multiple of thermal motion, whose size is `thermal` (nm)."""
    if isinstance(deform, str):
        return float(deform.removesuffix(" nm")) / thermal
    return deform
