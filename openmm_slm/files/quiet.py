"""Log errors of the package only."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_warnings() -> Iterator[None]:
    """The package logs errors only: who measures frames counts invalid ones itself."""
    logger = logging.getLogger("openmm_slm")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
