"""Guidance: draws from (1 + w) log p(z|c) - w log p(z), for any family."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

import openmm_slm
from openmm_slm.language.autoregressive import AutoregressiveModel
from openmm_slm.language.masked_diffusion import (
    MaskedDiffusion,
    MaskedDiffusionConfig,
    MaskedDiffusionModel,
)
from openmm_slm.language.t5 import T5, T5Config
from openmm_slm.language.trunk import sequence_tensors

V = 4
SIZES = {
    "trunk_width": 32,
    "trunk_layers": 1,
    "trunk_heads": 2,
    "width": 32,
    "layers": 1,
    "heads": 2,
}
MODELS = {
    "diffusion": (MaskedDiffusion, MaskedDiffusionConfig, MaskedDiffusionModel),
    "t5": (T5, T5Config, AutoregressiveModel),
}


def made(name: str):
    torch.manual_seed(3)
    network, config, model = MODELS[name]
    network = network(config(vocabulary=V, **SIZES))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model(network)


def conditional(model, hidden: bool) -> np.ndarray:
    """Log p(first token | the second is 2, "WA", or no sequence): [V]."""
    letters, *where = sequence_tensors("WA", torch.device("cpu"))
    letters = torch.full_like(letters, 20) if hidden else letters
    network, known = model.network, torch.tensor([[-1, 2]])
    with torch.no_grad():
        if isinstance(network, T5):
            memory = network.read(letters, *where, known)
            logits = network.head(network.hidden(memory, torch.tensor([[0, 2]])))[:, 0]
        else:
            condition = network.condition(letters, *where)
            asked = torch.tensor([[True, False]])
            logits = network.denoise(torch.tensor([[V, 2]]), asked, condition)
    return logits.log_softmax(-1)[0].numpy()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("weight", [0.0, 1.5])
def test_draws_follow_the_guided_distribution(name, weight):
    """One unknown token: p ~ p(z|c)^(1+w) / p(z)^w."""
    model, n = made(name), 4000
    model.guided = True
    seen, hidden = (conditional(model, hidden) for hidden in (False, True))
    assert np.abs(seen - hidden).max() > 0.1
    expected = np.exp((1 + weight) * seen - weight * hidden).astype(np.float64)
    drawn = model.sample("WA", range(n), seed=1, known=np.array([-1, 2]), guidance=weight)
    counts = np.bincount(drawn.tokens[:, 0], minlength=V)
    assert chisquare(counts, n * expected / expected.sum()).pvalue > 1e-3
    # What is reported is the model's own log-probability.
    np.testing.assert_allclose(drawn.log_prob, seen[drawn.tokens[:, 0]], atol=1e-5)


def test_a_model_that_always_saw_the_sequence_cannot_be_guided():
    with pytest.raises(ValueError, match="always saw the sequence"):
        made("t5").sample("ACD", [0], seed=0, guidance=1.0)
    with pytest.raises(ValueError, match="guidance is -1"):
        openmm_slm.generate_ensemble("ACDEF", n=1, guidance=-1)
    with pytest.raises(ValueError, match="order is 'best'; choose one of ancestral, confidence"):
        made("diffusion").sample("ACD", [0], seed=0, order="best")
    assert openmm_slm.load_language_model("default", "cpu").guided
    assert not openmm_slm.load_language_model("diffusion", "cpu").guided


def test_chains_from_sequence_alone_warn(caplog):
    options = {"n": 1, "seed": 0, "sidechains": None, "progress": False, "device": "cpu"}
    with caplog.at_level(logging.WARNING):
        traj = openmm_slm.generate_ensemble("GYDPETGTWG:GYDPETGTWG", **options)
    assert [chain.n_residues for chain in traj.topology.chains] == [10, 10]
    assert any("2 chains without a template" in record.message for record in caplog.records)


def test_what_the_model_lacks_is_said_before_anything_is_written(tmp_path):
    for option in ({"steps": 5}, {"order": "confidence"}):
        with pytest.raises(ValueError, match="one by one from the left"):
            openmm_slm.generate_ensemble("GYDPETGTWG", n=1, output=tmp_path / "out", **option)
    assert not (tmp_path / "out").exists()


def test_a_batch_that_memory_does_not_hold_is_halved(monkeypatch):
    """The same tokens, from any family, with room for five frames at once."""
    for name in MODELS:
        model = made(name)
        whole = model.sample("ACDEFGHIKL", range(20), seed=2)
        asked, step = [], "hidden" if name == "diffusion" else "begin"
        run = getattr(model.network, step)

        def short(*inputs, run=run, asked=asked):
            rows = next(len(x) if isinstance(x, torch.Tensor) else x for x in inputs
                        if isinstance(x, (torch.Tensor, int)))  # fmt: skip
            asked.append(rows)
            if rows > 5:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return run(*inputs)

        monkeypatch.setattr(model.network, step, short)
        parts = model.sample("ACDEFGHIKL", range(20), seed=2)
        assert max(asked) > 5 >= min(asked)
        np.testing.assert_array_equal(parts.tokens, whole.tokens)
        np.testing.assert_allclose(parts.log_prob, whole.log_prob, atol=1e-4)
