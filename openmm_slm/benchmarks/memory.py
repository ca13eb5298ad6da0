"""Peak memory of this process."""

from __future__ import annotations

import sys


def mebibytes(maxrss: float) -> float:
    """MiB of a ``ru_maxrss``, which macOS counts in bytes and Linux in KiB."""
    return maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def peak_memory() -> float:
    """MiB of resident memory that this process has had at most; NaN on Windows."""
    if sys.platform == "win32":
        return float("nan")
    import resource

    return mebibytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
