"""torch's threads do not survive a fork: a forked child computes with one thread."""

from __future__ import annotations

import logging
import os

import torch

logger = logging.getLogger(__name__)

_first_user: int | None = None  # process that computed first; a forked child inherits it


def one_thread_if_forked() -> None:
    """Limit torch to one thread in a child forked after its parent computed with several.

    The child would wait for the parent's threads for ever. ``spawn`` as the start method of
    `multiprocessing` keeps all threads.
    """
    global _first_user
    if _first_user is None:
        _first_user = os.getpid()
    if _first_user != os.getpid() and torch.get_num_threads() > 1:
        torch.set_num_threads(1)
        logger.warning(
            "process %d was forked after its parent had computed and uses one thread; start "
            "processes with multiprocessing.get_context('spawn') to use several", os.getpid()
        )  # fmt: skip
