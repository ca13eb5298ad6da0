"""The default role: `name` links to the Python API page if it is documented there, else is code."""

import re
from importlib import import_module
from pathlib import Path

from docutils import nodes
from sphinx.roles import XRefRole

PAGE = Path(__file__).parent.parent / "api.md"


def documented() -> set[str]:
    """Full names of all objects on the Python API page."""
    return {f"openmm_slm.{name}" for name in re.findall(r":: openmm_slm\.(\S+)", PAGE.read_text())}


def _object(full: str) -> object:
    module, _, name = full.rpartition(".")
    return getattr(import_module(module), name)


def setup(app):
    known, link = documented(), XRefRole()

    def name(role, raw, text, line, inliner, options=None, content=()):
        full = text if text.startswith("openmm_slm.") else f"openmm_slm.{text}"
        of, _, member = full.rpartition(".")
        if full not in known and not (of in known and hasattr(_object(of), member)):
            return [nodes.literal(raw, text)], []
        target = f"{text} <{full}>"
        return link("py:obj", f"`{target}`", target, line, inliner, options or {}, content)

    app.add_role("name", name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
