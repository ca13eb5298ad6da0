"""Benchmarks of several parts, one table each."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import SLMError
from .benchmark_workers import Workers
from .results import ResultTable, hold_folder
from .text_table import Column, text_table


@dataclass(frozen=True)
class Part:
    """One table of a benchmark.

    Attributes
    ----------
    title : str
    targets : mapping of str to object
        By the name of their row.
    measure : callable
        ``measure(generator, target, n, seed)``: figures of one target.
    columns : mapping of str to Column
        By their heading.
    more : mapping of str to mapping
        Columns of further tables of the same rows, by their title.
    """

    title: str
    targets: Mapping[str, object]
    measure: Callable[..., dict[str, float]]
    columns: Mapping[str, Column]
    more: Mapping[str, Mapping[str, Column]] = field(default_factory=dict)


def measure_parts(
    parts: Mapping[str, Part],
    only: Sequence[str],
    output: str | os.PathLike | None,
    run: dict,
    model: str | os.PathLike,
    device: str,
    progress: bool = True,
) -> str:
    """Tables of parts, measured one after another in this process.

    Parameters
    ----------
    parts : mapping of str to Part
    only : sequence of str
        Names of parts; empty: all.
    output : path or None
        Folder for ``<part>.csv`` and ``run.json``. Finished rows are not measured again.
    run : dict
        Settings that the figures depend on, among them ``n`` and ``seed``.

    Raises
    ------
    SLMError
        A part that does not exist.
    """
    for name in only:
        if name not in parts:
            raise SLMError(f"no part {name!r}; use {', '.join(parts)}")
    tables = []
    with hold_folder(output), Workers(model, device, 1) as workers:
        for name, part in parts.items():
            if only and name not in only:
                continue
            table = ResultTable(output, run, name)
            settings = run["n"], run["seed"]
            rows = workers.rows(
                table, part.measure, part.targets, *settings, unit=name, progress=progress
            )
            for title, columns in {part.title: part.columns, **part.more}.items():
                tables.append(text_table(f"{name}: {title}", rows, columns))
    return "\n\n".join(tables)
