"""Options declared once: fields of a dataclass, read by signatures, documentation and commands."""

from __future__ import annotations

import functools
import inspect
import textwrap
from collections.abc import Callable, Collection
from dataclasses import Field, field, fields
from typing import Any, TypeVar

C = TypeVar("C", bound=type)
T = TypeVar("T")
_PLACEHOLDER = "{options}"


def option(
    default: Any, kind: str, text: str, *, brief: str = "", choices: tuple[str, ...] = ()
) -> Any:
    """A dataclass field that documents itself.

    Parameters
    ----------
    default : object
        Immutable.
    kind : str
        Type or unit, as numpydoc shows it after the colon.
    text : str
        Description; lines are joined and wrapped.
    brief : str
        Help of the command-line option. Default: the first sentence of `text`.
    choices : tuple of str
        Allowed values, if they are few.
    """
    text = " ".join(text.split())
    brief = brief or text.split(". ")[0].rstrip(".") + "."
    return field(
        default=default,
        metadata={"kind": kind, "text": text, "brief": brief, "choices": choices},
    )


def options_of(cls: type, leave_out: Collection[str] = ()) -> list[Field]:
    """Fields of `cls` made by `option`."""
    return [f for f in fields(cls) if "text" in f.metadata and f.name not in leave_out]


def set_checked(settings: object, name: str, value: object) -> None:
    """Give a frozen settings object a field in its checked form; for ``__post_init__`` only."""
    object.__setattr__(settings, name, value)


def documented(cls: C) -> C:
    """Class decorator: put the options into the class's docstring in place of ``{options}``."""
    cls.__doc__ = _with_entries(cls.__doc__, options_of(cls))
    return cls


def takes(cls: type, leave_out: Collection[str] = ()) -> Callable[[Callable[..., T]], Any]:
    """Decorator: a function's argument `settings` becomes one keyword argument per option.

    The function receives ``settings``, a dict of all options by name. Its signature and docstring
    (``{options}``) list them.

    Parameters
    ----------
    cls : dataclass
    leave_out : collection of str
        Options that the function does not offer.
    """
    chosen = options_of(cls, leave_out)
    keywords = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default,
                          annotation=f.type)
        for f in chosen
    ]  # fmt: skip

    def decorate(function: Callable[..., T]) -> Callable[..., T]:
        own = inspect.signature(function)

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> T:
            settings = {f.name: kwargs.pop(f.name, f.default) for f in chosen}
            return function(*args, **kwargs, settings=settings)

        parameters = [p for name, p in own.parameters.items() if name != "settings"]
        last = [p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
        first = [p for p in parameters if p.kind is not inspect.Parameter.KEYWORD_ONLY]
        wrapper.__signature__ = own.replace(parameters=[*first, *last, *keywords])
        wrapper.__doc__ = _with_entries(function.__doc__, chosen)
        return wrapper

    return decorate


def _with_entries(doc: str | None, chosen: list[Field]) -> str | None:
    """A docstring with numpydoc entries of the options in place of the placeholder."""
    if doc is None:  # python -OO
        return None
    lines = []
    for line in doc.split("\n"):
        if line.strip() != _PLACEHOLDER:
            lines.append(line)
            continue
        indent = line[: len(line) - len(line.lstrip())]
        for f in chosen:
            lines.append(f"{indent}{f.name} : {f.metadata['kind']}")
            lines += textwrap.wrap(
                f.metadata["text"], 100, initial_indent=indent + "    ",
                subsequent_indent=indent + "    ", break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip
    return "\n".join(lines)
