"""How templates are displaced: the setting `deform`.

One is the thermal motion of the elastic network at the size that B-factors of crystals have. The
names stand for what their multiples were measured to match:

- ``near``: thermal motion, as in B-factors and in MD of nanoseconds;
- ``md``: the same, as in MD of half a microsecond at 300 K;
- ``conformers``: along soft modes, as far as the median pair of structures of one protein;
- ``far``: along soft modes; three quarters of the pairs of structures that differ by more than
  0.1 nm are closer.

`tools/measure_amplitudes.py` measures the multiples.
"""

from __future__ import annotations

import re
from numbers import Real

from ..errors import SLMError
from ..files.quantities import in_nanometers

SOFT = " soft"
NAMED: dict[str, float | str] = {
    "near": 1.0,
    "md": 1.7,
    "conformers": "0.9 soft",
    "far": "2.4 soft",
}
#: Largest multiple.
LARGEST = 10
_LARGEST_NM = 1
_LENGTH = re.compile(r"([-+.\deE]+)\s*nm")
_WANTED = (
    f"a multiple of thermal motion (0 to {LARGEST}), one of {', '.join(NAMED)}, or a length with "
    f"its unit (0 to {_LARGEST_NM} nm); 'soft' after a number or length: along soft modes"
)


def checked_deform(given: object) -> float | str:
    """A multiple of thermal motion, or a string such as ``"0.1 nm"`` or ``"2.4 soft"``.

    Raises
    ------
    SLMError
        `given` is neither a number from 0 to 10, nor a name, nor a length from 0 to 1 nm.
    """
    value, most, unit, soft = given, LARGEST, "", ""
    if isinstance(value, str):
        value = NAMED.get(value.strip(), value.strip())
    if isinstance(value, str):
        soft = SOFT if value.endswith(SOFT) else ""
        value = value.removesuffix(SOFT)
        length = _LENGTH.fullmatch(value.strip())
        most, unit = (_LARGEST_NM, " nm") if length else (most, unit)
        try:
            value = float(length[1] if length else value)
        except ValueError:
            raise SLMError(f"deform is {given!r}; give {_WANTED}") from None
    elif hasattr(value, "value_in_unit"):
        value, most, unit = in_nanometers("deform", value, _WANTED), _LARGEST_NM, " nm"
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not 0 <= value <= most:
        raise SLMError(f"deform is {given if unit else repr(given)}; give {_WANTED}")
    return f"{float(value):g}{unit}{soft}" if unit or soft else float(value)


def is_soft(deform: float | str) -> bool:
    """Whether a checked `deform` is along soft modes."""
    return isinstance(deform, str) and deform.endswith(SOFT)


def is_length(deform: float | str) -> bool:
    """Whether a checked `deform` is a length."""
    return str(deform).removesuffix(SOFT).endswith(" nm")


def multiple_of(deform: float | str, thermal: float) -> float:
    """A checked `deform` as a multiple of thermal motion, whose size is `thermal` (nm)."""
    size = str(deform).removesuffix(SOFT)
    return float(size.removesuffix(" nm")) / (thermal if size.endswith(" nm") else 1.0)
