"""What runs in the workers of a Dask cluster: blocks of frames, made from a state built once.

A block is a function of a setup (settings, topology, ...) and an item (which frames) alone. Dask
computes it again if its worker dies, wherever that is. `build(setup)` makes a function of the item;
a worker process keeps the last few of these, with the networks that they loaded.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import SLMError, require

#: A function, its arguments, and what it returns in the process that started the run.
Expected = tuple[Callable[..., object], tuple, object]
_KEPT = 4  # states per process; consecutive blocks mostly belong to the same
_states: OrderedDict[str, Callable[[Any], Any]] = OrderedDict()
_building: dict[str, threading.Lock] = {}
_checked: set[str] = set()
_guard = threading.Lock()


def make_block(
    run: str, expected: Sequence[Expected], build: Callable, key: str, setup: Any, item: Any
) -> Any:
    """``build(setup)(item)``, where `key` names the setup and `run` the run."""
    if run not in _checked:
        if fault := fault_of_worker(expected):
            worker = require("distributed").get_worker()
            raise SLMError(f"Dask worker {worker.name} at {worker.address}: {fault}")
        _checked.add(run)
    return _state(build, key, setup)(item)


def setup_of(*parts: Any) -> tuple:
    """A task that holds a setup, which Dask can compute again after a worker died."""
    return parts


def fault_of_worker(expected: Sequence[Expected]) -> str | None:
    """How the versions or models of this process differ from those expected; None if not."""
    for function, arguments, value in expected:
        what = function.__name__.replace("_", " ")
        shown = f"{what}({', '.join(map(str, arguments))})" if arguments else what
        try:
            found = function(*arguments)
        except (ValueError, ImportError, OSError) as error:
            return str(error)
        if found != value:
            return (
                f"{shown} is {found}, but in this run {value}; install the same openmm_slm and the "
                "same models on all machines"
            )
    return None


def _state(build: Callable, key: str, setup: Any) -> Callable[[Any], Any]:
    with _guard:
        lock = _building.setdefault(key, threading.Lock())
    with lock:  # other states are built meanwhile
        with _guard:
            if key in _states:
                _states.move_to_end(key)
                return _states[key]
        made = build(setup)
        with _guard:
            _states[key] = made
            while len(_states) > _KEPT:
                old, _ = _states.popitem(last=False)
                _building.pop(old, None)
        return made
