"""A denoiser that looks at its own answer and answers again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from openmm_slm.language.masked_diffusion import (
    MaskedDiffusion,
    MaskedDiffusionConfig,
    MaskedDiffusionModel,
)
from openmm_slm.networks.storage import load_module, save_module
from openmm_slm.training.language_losses import TERMS
from openmm_slm.training.warm_start import starting_network

V, SEQUENCE = 7, "GYDPETGTWG"
SIZES = dict(
    vocabulary=V, trunk_width=16, trunk_layers=1, trunk_heads=2, width=16, layers=1, heads=2, pair=4
)


@pytest.fixture(scope="module")
def plain():
    torch.manual_seed(0)
    return MaskedDiffusion(MaskedDiffusionConfig(**SIZES)).eval()


@pytest.fixture
def looking(plain, tmp_path):
    """The same network with self-conditioning, and its second answer another than its first."""
    save_module(tmp_path, plain)
    network = starting_network("diffusion", {"self_condition": True}, V, tmp_path).eval()
    torch.nn.init.normal_(network.own_token.weight)
    return network


def nats(network, seed=0):
    tokens = np.arange(10)[None] % V
    return MaskedDiffusionModel(network).log_prob(tokens, SEQUENCE, seed=seed)


def test_a_saved_network_says_what_it_said_until_self_conditioning_is_trained(plain, tmp_path):
    save_module(tmp_path / "old", plain)
    made = starting_network("diffusion", {"self_condition": True}, V, tmp_path / "old").eval()
    assert set(made.state_dict()) - set(plain.state_dict()) == {"own_token.weight"}
    assert np.array_equal(nats(made), nats(plain))
    save_module(tmp_path / "new", made)
    assert load_module(tmp_path / "new", MaskedDiffusion).config.self_condition


def test_the_second_answer_depends_on_the_first(plain, looking):
    assert abs(nats(looking) - nats(plain)).max() > 0.01


def test_known_tokens_are_kept_and_frames_do_not_depend_on_others(looking):
    model, known = MaskedDiffusionModel(looking), np.full(10, -1)
    known[2:8] = 3
    drawn = model.sample(SEQUENCE, range(3), seed=1, known=known, steps=5)
    assert (drawn.tokens[:, 2:8] == 3).all()
    alone = model.sample(SEQUENCE, [2], seed=1, known=known, steps=5)
    assert np.array_equal(alone.tokens[0], drawn.tokens[2])


def test_half_of_the_steps_train_the_first_answer(looking):
    looking.train()
    batch = {
        "tokens": torch.arange(10)[None] % V,
        "amino_acids": torch.zeros(1, 10, dtype=torch.long),
        "mask": torch.ones(1, 10, dtype=torch.bool),
        "index": torch.arange(10)[None],
    }
    moved = []
    for seed in range(20):
        looking.zero_grad()
        torch.manual_seed(seed)
        value, _ = TERMS[looking.kind](looking, batch, 2, 0.0)["token"]
        value.sum().backward()
        moved.append(bool(looking.own_token.weight.grad.any()))
    assert 3 < sum(moved) < 17
