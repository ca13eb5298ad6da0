"""Hide libraries from a fresh interpreter as if they had never been installed."""

from __future__ import annotations

from collections.abc import Iterable

_CODE = """
import runpy, sys
class Few:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] not in {names!r}:
            return self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = [Few(finder) for finder in sys.meta_path]
"""


def without(names: Iterable[str]) -> str:
    """Code for ``python -c`` that begins so; it has imported ``runpy`` and ``sys``."""
    return _CODE.format(names=sorted(names))
