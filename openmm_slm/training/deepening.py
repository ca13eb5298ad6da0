"""Add layers to a trained decoder without changing its output."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..errors import ModelError
from ..tokenizer.dvae import DVAE

STAGES = 3  # stages of the trunk, separated by updates of the pair tensor


def deepened(model: DVAE, layers: int) -> DVAE:
    """Copy `model` with `layers` blocks in the decoder's trunk; its output stays the same.

    New blocks are added at the end of each of the three stages of the trunk. Their last layers are
    initialised to zero, so that a block is the identity until it is trained.

    Raises
    ------
    ModelError
        `layers` is less than the present number, or one of the two is not a multiple of three.
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
    """Split the name of a weight at its block number: prefix, and [number, rest] or []."""
    for start in ("decoder.trunk.", "decoder.pair_bias."):
        if name.startswith(start):
            return start, name.removeprefix(start).split(".", 1)
    return name, []
