"""A deeper decoder that begins as the one it is made of."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..errors import ModelError
from ..tokenizer.dvae import DVAE

STAGES = 3  # of the trunk, between the updates of the pair tensor


def deepened(model: DVAE, layers: int) -> DVAE:
    """A copy of `model` whose decoder's trunk has `layers` blocks, and which decodes the same.

    The new blocks stand at the end of each of the trunk's three stages. Their last layers are
    zero, as in any new network, so that they pass on what they are given until they are trained.

    Raises
    ------
    ModelError
        `layers` is less than there are, or either is not a multiple of three.
    """
    had = model.config.decoder_layers
    if layers < had or layers % STAGES or had % STAGES:
        raise ModelError(
            f"the decoder has {had} layers and cannot be given {layers}; choose a larger multiple "
            f"of {STAGES}, or leave decoder_layers out"
        )
    deeper = DVAE(replace(model.config, decoder_layers=layers))
    deeper.quantizer.sharpness = model.quantizer.sharpness
    old, new = had // STAGES, layers // STAGES
    moved = {layer: layer // old * new + layer % old for layer in range(had)}
    state = deeper.state_dict()
    for name, value in model.state_dict().items():
        start, rest = _block(name)
        state[f"{start}{moved[int(rest[0])]}.{rest[1]}" if rest else name] = value
    with torch.no_grad():
        deeper.load_state_dict(state)
    return deeper


def _block(name: str) -> tuple[str, list[str]]:
    """What stands before a block's number, and the number and what follows it, if any."""
    for start in ("decoder.trunk.", "decoder.pair_bias."):
        if name.startswith(start):
            return start, name.removeprefix(start).split(".", 1)
    return name, []
