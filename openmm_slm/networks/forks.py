"""torch's threads do not survive a fork: say so instead of waiting for them for ever."""

from __future__ import annotations

import os

import torch

from ..errors import SLMError

_first_user: int | None = None  # process that computed first; a forked child inherits it


def check_not_forked() -> None:
    """Raise SLMError in a child forked after its parent computed with several torch threads."""
    global _first_user
    if _first_user is None:
        _first_user = os.getpid()
    if _first_user != os.getpid() and torch.get_num_threads() > 1:
        raise SLMError(
            "this process was forked after its parent had computed, and torch's threads do not "
            "survive a fork; start it with multiprocessing.get_context('spawn'), or call "
            "torch.set_num_threads(1) in it first"
        )
