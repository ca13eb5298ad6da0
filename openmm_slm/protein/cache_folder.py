"""Where the package keeps what it fetched or converted."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$OPENMM_SLM_CACHE``, else ``openmm_slm`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if given := os.environ.get("OPENMM_SLM_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "openmm_slm"
