"""Compare weights from other packages with a network."""

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
    """Raise ModelError unless names and shapes are those of a network (on any device).

    Parameters
    ----------
    state : dict of Tensor
        Weights by name.
    network : Module
    source : object
        Origin of the weights, for the message.
    unknown : iterable of str
        Further names that are already known not to belong to the network.

    Raises
    ------
    ModelError
        Weights are missing, unknown or of another shape. The message names the first of each.
    """
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    shapes = [
        f"{name} {list(state[name].shape)} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    wrong = {
        "missing": [name for name in expected if name not in state],
        "unknown": [*unknown, *(name for name in state if name not in expected)],
        "of another shape": shapes,
    }
    if not any(wrong.values()):
        return
    mismatches = [
        f"{len(names)} {problem} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for problem, names in wrong.items()
        if names
    ]
    kind = type(network).__name__
    raise ModelError(f"{source}: weights do not fit {kind}: {'; '.join(mismatches)}")
