"""One object per thread, as an OpenMM context serves one thread at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerThread(Generic[T]):
    """Calls `make` once in each thread that asks."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make, self._local = make, threading.local()

    def __call__(self) -> T:
        if not hasattr(self._local, "made"):
            self._local.made = self._make()
        return self._local.made
