"""A comparison as files: CSV, PNG and an HTML page that needs no other file."""

from __future__ import annotations

import base64
import io
import math
import os
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StructureError
from .catalogue import BY_NAME

if TYPE_CHECKING:
    from .comparing import Comparison

FILES = ("table.csv", "comparison.png", "report.html")
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em }
img { width: 100% } table { border-collapse: collapse; margin: 1em 0 }
th, td { padding: .25em .7em; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
td.d { color: #555; font-size: 13px } td.beyond { font-weight: 600 }
"""
_NOTE = (
    "The noise floor is the value of as many frames drawn from the reference itself: median and "
    "95 % interval. A value in the interval cannot be told from the reference with so many "
    "frames; values beyond it are bold. It says nothing of how well the reference itself is "
    "converged."
)


def number(value: float) -> str:
    """Three decimals, or three figures of what is smaller; nothing for NaN."""
    if not math.isfinite(value):
        return ""
    return f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"


def floor_text(row: dict) -> str:
    middle = number(row["floor"])
    low, high = number(row["floor_low"]), number(row["floor_high"])
    return f"{middle} ({low} to {high})" if middle else ""


def beyond_floor(row: dict) -> bool:
    """Whether the value is on the worse side of the floor's interval."""
    value, low, high = row["value"], row["floor_low"], row["floor_high"]
    return {
        "lower": value > high,
        "higher": value < low,
        "reference": value > high or value < low,
    }[row["better"]]


def as_text(comparison: Comparison) -> str:
    """The table for a terminal."""
    lines = [f"{'metric':20}{'value':>9}{'reference':>11}  {'noise floor':32}{'unit':5}better"]
    for name, row in comparison.table.to_dict("index").items():
        numbers = f"{number(row['value']):>9}{number(row['reference']):>11}"
        lines.append(f"{name:20}{numbers}  {floor_text(row):32}{row['unit']:5}{row['better']}")
    return "\n".join(lines)


def html(comparison: Comparison) -> str:
    """The page."""
    rows = []
    for name, row in comparison.table.to_dict("index").items():
        cells = [
            f"<td>{escape(name)}</td>",
            f'<td class="n{" beyond" if beyond_floor(row) else ""}">{number(row["value"])}</td>',
            f'<td class="n">{number(row["reference"])}</td>',
            f'<td class="n">{floor_text(row)}</td>',
            f"<td>{escape(row['unit'])}</td>",
            f"<td>{row['better']}</td>",
            f'<td class="d">{escape(BY_NAME[name].definition)}</td>',
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    titles = ("metric", "samples", "reference", "noise floor", "unit", "better", "definition")
    settings = "".join(
        f'<tr><td>{escape(str(key))}</td><td style="word-break: break-all">{escape(str(value))}'
        "</td></tr>"
        for key, value in comparison.settings.items()
    )
    picture = base64.b64encode(png(comparison)).decode()
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>Comparison of ensembles</title><style>{_STYLE}</style></head><body>"
        f'<h1>Comparison of ensembles</h1><img alt="" src="data:image/png;base64,{picture}">'
        f"<p>{_NOTE}</p><table><tr>{''.join(f'<th>{t}</th>' for t in titles)}</tr>"
        f"{''.join(rows)}</table><h2>Settings</h2><table>{settings}</table></body></html>\n"
    )


def png(comparison: Comparison) -> bytes:
    buffer = io.BytesIO()
    comparison.plot().savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def write_html(comparison: Comparison, path: str | os.PathLike) -> Path:
    return _write(Path(path), html(comparison).encode())


def save(comparison: Comparison, directory: str | os.PathLike) -> Path:
    directory = Path(directory)
    check_free(directory)
    directory.mkdir(parents=True, exist_ok=True)
    _write(directory / "table.csv", comparison.table.to_csv().encode())
    _write(directory / "comparison.png", png(comparison))
    write_html(comparison, directory / "report.html")
    return directory


def check_free(directory: str | os.PathLike) -> None:
    """Raise StructureError if `directory` holds a comparison."""
    for name in FILES:
        if (Path(directory) / name).exists():
            raise StructureError(f"{directory} holds a {name} already; choose another folder")


def _write(path: Path, data: bytes) -> Path:
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.replace(path)
    return path
