"""Write ``openmm_slm/__init__.pyi``: what editors and type checkers see of the public names.

    python tools/make_stub.py [--check]

Functions whose options are declared by a settings class are written out with their signatures; the
other names are imported from their modules.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import openmm_slm

STUB = Path(__file__).parent.parent / "openmm_slm" / "__init__.pyi"
HEAD = """# What type checkers and editors see; written by tools/make_stub.py.

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import mdtraj
import numpy as np
from openmm import app

"""


def stub() -> str:
    """The text of the file."""
    imports, functions = [], []
    for name, home in sorted(openmm_slm._HOME.items()):
        value = getattr(openmm_slm, name)
        if inspect.isfunction(value) and hasattr(value, "__signature__"):
            functions.append(_declaration(name, value))
        else:
            imports.append(f"from .{home} import {name} as {name}")
    imports += [
        "from .comparison.comparing import Comparison",
        "from .files.report_table import Report",
        "from .protein.trajectory import HasTrajectory",
        "from .relaxation.relaxing import Relaxed",
    ]
    return HEAD + "\n".join(sorted(imports)) + "\n\n__version__: str\n\n" + "".join(functions)


def _declaration(name: str, function: object) -> str:
    signature, lines, starred = inspect.signature(function), [], False
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
            lines.append("    *,")
            starred = True
        default = "" if parameter.default is inspect.Parameter.empty else " = ..."
        lines.append(f"    {parameter.name}: {parameter.annotation}{default},")
    return "\n".join([f"def {name}(", *lines, f") -> {signature.return_annotation}: ..."]) + "\n"


if __name__ == "__main__":
    if "--check" not in sys.argv:
        STUB.write_text(stub())
    elif STUB.read_text() != stub():
        sys.exit(f"{STUB} is not what tools/make_stub.py writes; run it")
