"""Optimizers: AdamW, or Muon for the matrices of hidden layers."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from ..errors import ModelError


def make_optimizers(
    parameters: dict[str, torch.nn.Parameter],
    name: str,
    learning_rate: float,
    betas: tuple[float, float],
    weight_decay: float,
    float32: bool = False,
    faster: dict[str, float] | None = None,
) -> list[torch.optim.Optimizer]:
    """Make the optimizers of a run; each parameter belongs to one of them.

    With ``"muon"``, matrices of hidden layers use Muon: the singular values of their steps are
    equal (Jordan et al., 2024). Steps are scaled to the size of AdamW's (Liu et al., 2025), so that
    one learning rate serves both. Embeddings, vectors, and matrices of inputs and outputs with few
    features use AdamW.

    Parameters
    ----------
    parameters : dict of Parameter
        By name.
    name : str
        ``"adamw"`` (AdamW for all parameters) or ``"muon"``.
    learning_rate : float
    betas : tuple of float
    weight_decay : float
    float32 : bool
        Use a Muon without bfloat16 products.

    Parameters whose name starts with a key of `faster` form groups with that ``factor``, by which
    the training loop multiplies their learning rate.

    Raises
    ------
    ModelError
        `name` is unknown, or this torch version has no Muon.
    """
    adamw = dict(lr=learning_rate, betas=tuple(betas), weight_decay=weight_decay)
    if name == "adamw":
        return [torch.optim.AdamW(_groups(parameters.values(), parameters, faster), **adamw)]
    if name != "muon":
        raise ModelError(f'training.optimizer is {name!r}; choose "adamw" or "muon"')
    if not hasattr(torch.optim, "Muon"):
        raise ModelError(
            f'training.optimizer "muon" needs torch 2.9 or later, but this is '
            f'{torch.__version__}; update torch, or choose "adamw"'
        )
    hidden = [
        parameter
        for key, parameter in parameters.items()
        if parameter.dim() == 2 and min(parameter.shape) >= 32 and not _embeds(key)
    ]
    chosen = {id(parameter) for parameter in hidden}
    rest = [parameter for parameter in parameters.values() if id(parameter) not in chosen]
    if float32:
        from .muon import Float32Muon as Muon
    else:
        from torch.optim import Muon
    hidden, rest = (_groups(each, parameters, faster) for each in (hidden, rest))
    muon = Muon(hidden, lr=learning_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
    return [muon, torch.optim.AdamW(rest, **adamw)]


def _groups(
    chosen: Iterable[torch.nn.Parameter],
    parameters: dict[str, torch.nn.Parameter],
    faster: dict[str, float] | None,
) -> list[dict]:
    """Group `chosen` parameters by learning-rate factor."""
    if not faster:
        return [{"params": list(chosen)}]
    groups: dict[float, list[torch.nn.Parameter]] = {}
    named = {id(parameter): name for name, parameter in parameters.items()}
    for parameter in chosen:
        name = named[id(parameter)]
        factor = next((f for prefix, f in faster.items() if name.startswith(prefix)), 1.0)
        groups.setdefault(factor, []).append(parameter)
    return [{"params": each, "factor": factor} for factor, each in groups.items()]


_OUTSIDE = ("amino_acid", "condition", "offset", "relative", "token", "distogram", "head.")


def _embeds(name: str) -> bool:
    return any(part in name for part in _OUTSIDE)
