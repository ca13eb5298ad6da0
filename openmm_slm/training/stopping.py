"""Stop a training run on SIGTERM or Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect SIGTERM and Ctrl-C in a list instead of ending the process.

    A second signal raises KeyboardInterrupt.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # only the main thread can handle signals
        return

    def note(number: int, _: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    before = {which: signal.signal(which, note) for which in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)
