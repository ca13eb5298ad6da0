"""A deeper decoder decodes as the one it came from, until it is trained."""

from __future__ import annotations

import pytest
import torch
from builders import helix

from openmm_slm.errors import ModelError
from openmm_slm.tokenizer.dvae import DVAE, DVAEConfig
from openmm_slm.training.deepening import deepened

SIZES = dict(decoder_width=32, decoder_heads=2, pair=8, refinements=2, encoder_width=16)


def network(layers: int) -> DVAE:
    """One whose blocks all do something."""
    torch.manual_seed(0)
    model = DVAE(DVAEConfig(decoder_layers=layers, **SIZES)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def inputs(length: int = 20) -> tuple[torch.Tensor, ...]:
    tokens = torch.randint(0, 512, (1, length), generator=torch.Generator().manual_seed(1))
    mask = torch.ones(1, length, dtype=torch.bool)
    return tokens, torch.full((1, length), 3), mask, torch.arange(length)[None]


@pytest.mark.parametrize(("had", "layers"), [(3, 6), (3, 12), (6, 9)])
def test_nothing_changes_at_first(had, layers):
    model = network(had)
    deeper = deepened(model, layers).eval()
    assert len(deeper.decoder.trunk) == deeper.config.decoder_layers == layers
    with torch.no_grad():
        before, after = model.reconstruct(*inputs()), deeper.reconstruct(*inputs())
    assert torch.allclose(before.backbones[-1], after.backbones[-1], atol=1e-5)
    backbone = torch.as_tensor(helix(20))[None].float()
    mask, index = inputs()[2:]
    assert (model.tokenize(backbone, mask, index) == deeper.tokenize(backbone, mask, index)).all()


def test_new_blocks_learn():
    deeper = deepened(network(3), 6)
    out = deeper.reconstruct(*inputs())
    out.backbones[-1].square().sum().backward()
    assert deeper.decoder.trunk[1].out.weight.grad.abs().max() > 0  # new
    assert deeper.decoder.trunk[0].out.weight.grad.abs().max() > 0


@pytest.mark.parametrize("layers", [3, 7])
def test_sizes_that_cannot_be(layers):
    with pytest.raises(ModelError, match=f"6 layers and cannot be given {layers}"):
        deepened(network(6), layers)
