"""Out of memory: half as many rows at a time, and on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from ..errors import SLMError

T = TypeVar("T")
logger = logging.getLogger(__name__)


def in_halves(compute: Callable[[slice], T], rows: int, first: int = 0) -> list[T]:
    """``compute(slice)`` of rows first, first + 1, ...: in one part if memory holds it.

    Parameters
    ----------
    compute : callable
        What it raises is passed on, unless it is out of memory with more than one row.
    rows : int

    Returns
    -------
    list
        The parts, in order.

    Raises
    ------
    SLMError
        A single row does not fit.
    """
    try:
        return [compute(slice(first, first + rows))]
    except RuntimeError as error:
        if not _out_of_memory(error):
            raise
        if rows == 1:
            raise SLMError(
                "memory does not hold one frame; use shorter chains or a larger machine "
                f"({str(error).splitlines()[0]})"
            ) from None
    # Outside of the handler, whose traceback keeps the tensors that filled the memory.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = rows // 2
    logger.info("out of memory with %d frames at once; going on with %d", rows, rows - half)
    return in_halves(compute, half, first) + in_halves(compute, rows - half, first + half)


def _out_of_memory(error: RuntimeError) -> bool:
    on_cpu = "DefaultCPUAllocator" in str(error) or "alloc_cpu" in str(error)
    return isinstance(error, torch.OutOfMemoryError) or on_cpu
