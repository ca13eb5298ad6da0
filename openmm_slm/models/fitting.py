"""Whether weights that others wrote are those of a network, and if not, what is amiss."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..errors import ModelError

if TYPE_CHECKING:
    import torch
    import torch.nn as nn


def check_weights(
    state: dict[str, torch.Tensor], network: nn.Module, source: object, unknown: Iterable[str] = ()
) -> None:
    """Compare names and shapes with those of a network (on any device).

    Parameters
    ----------
    state : dict of Tensor
    network : Module
    source : object
        Where they come from, for the message.
    unknown : iterable of str
        Names that were found to be none of the network's before.

    Raises
    ------
    ModelError
        Some are missing, unknown or of another shape: the message has the first few of each.
    """
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    shapes = [
        f"{name} {list(state[name].shape)} instead of {list(shape)}"
        for name, shape in wanted.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    wrong = {
        "missing": [name for name in wanted if name not in state],
        "unknown": [*unknown, *(name for name in state if name not in wanted)],
        "of another shape": shapes,
    }
    if not any(wrong.values()):
        return
    told = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in wrong.items()
        if names
    ]
    kind = type(network).__name__
    raise ModelError(f"{source}: weights that do not fit {kind}: {'; '.join(told)}")
