"""Notebooks of the scripts in examples/: python tools/make_notebooks.py [--check].

Cells begin with ``# %%``, text with ``# %% [markdown]``; a picture that a script names at the end
of a cell is shown in the notebook. ``--check``: exit code 1 where a notebook
is not that of its script.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"
SETTINGS = {
    'quick = "--quick" in sys.argv': "quick = True  # False: at full length",
    'short = "--short" in sys.argv': "short = False",
}


def notebook(script: str) -> str:
    """The notebook, as JSON."""
    title = ast.get_docstring(ast.parse(script)).partition("\n")[0].rstrip(".")
    body = script.split('"""', 2)[2]
    body = body.replace("import sys\n", "", 1)
    for line, instead in SETTINGS.items():
        body = body.replace(line, instead)
    first, *parts = body.split("\n# %%")
    cells = [_cell("markdown", f"# {title}"), _cell("code", first)]
    for part in parts:
        kind, _, text = part.partition("\n")
        if "[markdown]" in kind:
            lines = (line.removeprefix("#").removeprefix(" ") for line in text.splitlines())
            cells.append(_cell("markdown", "\n".join(lines)))
        else:
            cells.append(_cell("code", text))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _cell(kind: str, text: str) -> dict:
    text, pictures = re.subn(r'print\("(\S+\.png)"\)$', r'Image("\1")', text.strip())
    if pictures:
        text = f"from IPython.display import Image\n\n{text}"
    cell = {"cell_type": kind, "metadata": {}, "source": text.strip().splitlines(keepends=True)}
    return cell if kind == "markdown" else {**cell, "execution_count": None, "outputs": []}


def main() -> None:
    stale = []
    for script in sorted(EXAMPLES.glob("*.py")):
        path, text = script.with_suffix(".ipynb"), notebook(script.read_text())
        if path.exists() and path.read_text() == text:
            continue
        stale.append(path.name)
        if "--check" not in sys.argv:
            path.write_text(text)
    if "--check" in sys.argv and stale:
        sys.exit(f"{', '.join(stale)}: run tools/make_notebooks.py")


if __name__ == "__main__":
    main()
