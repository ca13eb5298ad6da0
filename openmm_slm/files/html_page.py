"""Self-contained HTML pages: no other files and no network are needed."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em;
  color: #1c1c1c; background: #fff }
h1 { font-size: 1.6em } h2 { font-size: 1.2em; margin-top: 1.8em }
img { width: 100% } table { border-collapse: collapse; margin: 1em 0 }
th, td { padding: .25em .7em; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
td.d { color: #555; font-size: 13px } td.beyond { font-weight: 600 }
td.long { word-break: break-all } .note { color: #555; font-size: 13px }
.caution { border-left: 4px solid #d55e00; background: #fdf3ec; padding: .5em 1em }
pre { background: #f4f4f4; padding: .6em 1em; white-space: pre-wrap; word-break: break-all }
"""


def html_page(title: str, body: str) -> str:
    """HTML page with `body` (HTML) under the heading `title` (plain text)."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1>{body}</body></html>\n"
    )


def table(rows: Iterable[str], titles: Sequence[str] = ()) -> str:
    """Table of rows from `cells`."""
    head = f"<tr>{''.join(f'<th>{escape(t)}</th>' for t in titles)}</tr>" if titles else ""
    return f"<table>{head}{''.join(rows)}</table>"


def cells(*texts: object, kinds: Sequence[str] = ()) -> str:
    """Table row of plain texts; `kinds` are CSS classes: n (number), d (small), long, or empty."""
    kinds = [*kinds, *[""] * (len(texts) - len(kinds))]
    found = [
        (f'<td class="{kind}">' if kind else "<td>") + f"{escape(str(text))}</td>"
        for text, kind in zip(texts, kinds, strict=True)
    ]
    return f"<tr>{''.join(found)}</tr>"


def settings_table(settings: dict[str, object]) -> str:
    """Table of names and values."""
    return table(cells(key, value, kinds=("", "long")) for key, value in settings.items())


def image(figure: Figure, alt: str = "", trimmed: bool = False) -> str:
    """Embedded figure as wide as the page; `trimmed` removes white margins."""
    data = base64.b64encode(png(figure, trimmed)).decode()
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'


def png(figure: Figure, trimmed: bool = False) -> bytes:
    """PNG file of a figure; `trimmed` removes white margins."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight" if trimmed else None)
    return buffer.getvalue()
