"""Initial network for training a language model: new, or with the weights of a saved model."""

from __future__ import annotations

import logging
import os
from dataclasses import fields, replace

import torch.nn as nn

from ..errors import SLMError
from ..files.json_settings import build
from ..language.families import FAMILIES
from ..networks.storage import load_module, load_network, read_config

logger = logging.getLogger(__name__)

_TRUNKS = ("trunk.", "transformer.")


def starting_network(
    family: str, sizes: dict, vocabulary: int, init_from: str | os.PathLike | None
) -> nn.Module:
    """Make the initial network of a family.

    Without `init_from` the network is new. A saved network of the same family is loaded; if `sizes`
    has a condition, `self_condition` or `structure` that it lacks, it is added and leaves the
    predictions unchanged until trained. From a saved network of another family, the weights with
    equal names and shapes (the trunk) are copied into a new network.

    Raises
    ------
    SLMError
        No weights of the trunk match, or the saved network has another condition.
    """
    network = FAMILIES[family].network
    if init_from is not None and read_config(init_from).get("kind") == network.kind:
        return _with_additions(load_module(init_from, network), sizes, init_from)
    names = {field.name for field in fields(network.config_class)}
    if "vocabulary" in names:  # other networks have a fixed vocabulary
        sizes = {"vocabulary": vocabulary, **sizes}
    if init_from is not None:
        sizes = _sizes_of_parent(network, init_from) | sizes
    model = network(build(network.config_class, sizes, "model"))
    if init_from is not None:
        own = model.state_dict()
        _, state = load_network(init_from)
        state = {k: v for k, v in state.items() if k in own and v.shape == own[k].shape}
        if not any(name.startswith(_TRUNKS) for name in state):
            raise SLMError(
                f"{init_from}: no weight of its trunk fits this {family} model; set the sizes in "
                "the model section to those of that model, or leave --init-from out"
            )
        model.load_state_dict(state, strict=False)
        taken, total = (sum(v.numel() for v in s.values()) for s in (state, own))
        logger.info(
            "%d of %d arrays (%.2f of %.2f M parameters) are initialised from %s",
            len(state), len(own), taken / 1e6, total / 1e6, init_from,
        )  # fmt: skip
    return model


def _sizes_of_parent(network: type[nn.Module], init_from: str | os.PathLike) -> dict:
    """Sizes of the saved model if `network` derives from its class, as ESMDiff from ESM3."""
    config = read_config(init_from)
    kinds = {parent.kind for parent in network.__mro__ if hasattr(parent, "kind")}
    return config["config"] if config.get("kind") in kinds else {}


def _with_additions(model: nn.Module, sizes: dict, init_from: str | os.PathLike) -> nn.Module:
    """Add the inputs of `sizes` (condition, structure, ...) that a network lacks."""
    size, had = sizes.get("condition"), getattr(model.config, "condition", None)
    if None not in (size, had) and size != had:
        raise SLMError(
            f"{init_from}: trained with a condition of {had} numbers per residue, but the config "
            f"has model.condition {size}; set it to {had}, or start without --init-from"
        )
    wanted = {
        name: sizes.get(name) for name in ("condition", "self_condition", "structure", "disorder")
    }
    added = {k: v for k, v in wanted.items() if v and not getattr(model.config, k, v)}
    if "structure" in added:
        added |= {k: sizes[k] for k in ("edge", "neighbours", "frames") if k in sizes}
    if not added:
        return model
    made = type(model)(replace(model.config, **added))
    made.load_state_dict(model.state_dict(), strict=False)
    return made
