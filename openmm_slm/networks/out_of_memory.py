"""Split a batch in halves when it does not fit in memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from ..errors import SLMError

T = TypeVar("T")
logger = logging.getLogger(__name__)


def in_halves(compute: Callable[[slice], T], rows: int, first: int = 0) -> list[T]:
    """Call ``compute(slice)`` on rows, in one part if it fits in memory, else in halves.

    Parameters
    ----------
    compute : callable
        Takes the slice of rows. Only out-of-memory errors are handled; others propagate.
    rows : int
        Number of rows.
    first : int
        Index of the first row.

    Returns
    -------
    list
        Results of the parts, in order.

    Raises
    ------
    SLMError
        A single row does not fit in memory.
    """
    try:
        return [compute(slice(first, first + rows))]
    except RuntimeError as error:
        if not _out_of_memory(error):
            raise
        if rows == 1:
            raise SLMError(
                "one frame does not fit in memory; use shorter chains or a machine with more "
                f"memory ({str(error).splitlines()[0]})"
            ) from None
    # Outside the except block: its traceback would keep the large tensors alive.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = rows // 2
    logger.info("out of memory with a batch of %d frames; retrying with %d", rows, rows - half)
    return in_halves(compute, half, first) + in_halves(compute, rows - half, first + half)


def _out_of_memory(error: RuntimeError) -> bool:
    on_cpu = "DefaultCPUAllocator" in str(error) or "alloc_cpu" in str(error)
    return isinstance(error, torch.OutOfMemoryError) or on_cpu
