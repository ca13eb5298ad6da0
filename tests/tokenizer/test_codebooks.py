"""Gumbel and VQ quantizers."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
import torch
from builders import helix
from scipy.spatial.transform import Rotation
from toys import TINY, write_shards

from openmm_slm.data.shards import ShardDataset
from openmm_slm.data.tokens import tokenize
from openmm_slm.networks.storage import load_module, load_network, tokenizer_fingerprint
from openmm_slm.tokenizer.codebooks import GumbelQuantizer, VectorQuantizer
from openmm_slm.tokenizer.dvae import DVAE, DVAEConfig
from openmm_slm.tokenizer.dvae_tokenizer import DVAETokenizer
from openmm_slm.tokenizer.quantizer import StochasticFSQ
from openmm_slm.training.train_tokenizer import train_tokenizer

KINDS = ("fsq", "gumbel", "vq")


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def posterior(quantizer: GumbelQuantizer, x: torch.Tensor) -> np.ndarray:
    logits = quantizer.logits(quantizer._whitened(x)).detach().double().numpy()
    weight = np.exp(logits)
    return weight / weight.sum(1, keepdims=True)


# -- posteriors -------------------------------------------------------------------------------


def test_gumbel_kl_equals_brute_force_over_all_codes():
    quantizer = GumbelQuantizer(12, 3).eval()
    x = torch.randn(40, 3)
    out, q = quantizer(x), posterior(quantizer, x)
    for row in range(len(x)):
        assert abs(float(out.kl[row].detach()) - sum(p * math.log(p * 12) for p in q[row])) < 1e-5
    mean = q.mean(0)
    assert abs(float(out.usage_kl.detach()) - (mean * np.log(mean * 12)).sum()) < 1e-5


@pytest.mark.parametrize("way", ["training", "tokens"])
@pytest.mark.parametrize("sharpness", [1.0, 4.0])
def test_gumbel_samples_have_the_posterior_frequencies(way, sharpness):
    """At any temperature of the relaxation."""
    quantizer = GumbelQuantizer(6, 2, sharpness).eval()
    x = torch.randn(1, 2).expand(8000, 2)
    q = posterior(quantizer, x[:1])[0]
    assert math.exp(-(q * np.log(q)).sum()) > 1.5  # the statement is not about one code
    drawn = quantizer(x).tokens if way == "training" else quantizer.tokens(x, torch.rand(8000, 1))
    share = np.bincount(drawn.numpy(), minlength=6) / 8000
    assert (np.abs(share - q) < 5 * np.sqrt(q * (1 - q) / 8000) + 1e-9).all()
    assert quantizer.tokens(x[:1]).item() == q.argmax()


def test_a_draw_next_to_one_is_a_code():
    quantizer = GumbelQuantizer(5, 2).eval()
    uniform = torch.full((100, 1), float(np.nextafter(np.float32(1), np.float32(0))))
    assert quantizer.tokens(torch.randn(100, 2), uniform).max() <= 4


def test_vq_takes_the_nearest_vector_and_its_kl_is_log_v():
    quantizer = VectorQuantizer(20, 3).eval()
    quantizer.vectors.normal_()
    x = torch.randn(200, 3)
    out = quantizer(x)
    nearest = torch.cdist(x, quantizer.vectors).argmin(1)
    assert torch.equal(out.tokens, nearest) and torch.equal(quantizer.tokens(x), nearest)
    assert torch.equal(quantizer.tokens(x, torch.rand(200, quantizer.draws)), nearest)
    torch.testing.assert_close(out.kl, torch.full((200,), math.log(20)))
    share = np.bincount(nearest.numpy(), minlength=20) / 200
    used = share[share > 0]
    assert abs(float(out.usage_kl) - math.log(20) - (used * np.log(used)).sum()) < 1e-5
    squared = (x - quantizer.vectors[nearest]).square().mean()
    torch.testing.assert_close(out.auxiliary, 0.25 * squared)


@pytest.mark.parametrize("quantizer", [GumbelQuantizer(30, 4), VectorQuantizer(30, 4)])
def test_training_uses_the_vector_of_the_token(quantizer):
    x = torch.randn(300, 4)
    if isinstance(quantizer, VectorQuantizer):
        quantizer(x)
        quantizer.eval()
    out = quantizer(x)
    torch.testing.assert_close(out.codes, quantizer.codes(out.tokens), atol=1e-5, rtol=1e-5)
    assert quantizer.codes(out.tokens.view(3, 100)).shape == (3, 100, 4)


@pytest.mark.parametrize("quantizer", [GumbelQuantizer(30, 4), VectorQuantizer(30, 4)])
def test_the_token_of_a_code_vector_is_its_own(quantizer):
    """tokens <-> codes round trip, where the encoder hits a vector (no whitening in the way)."""
    quantizer.eval()
    if isinstance(quantizer, VectorQuantizer):
        quantizer.vectors.normal_()
    with torch.no_grad():
        found = quantizer.tokens(quantizer.codes(torch.arange(30)))
    assert torch.equal(found, torch.arange(30))


# -- gradients, restarts ----------------------------------------------------------------------


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(
    "quantizer", [StochasticFSQ((4, 4)), GumbelQuantizer(16, 2), VectorQuantizer(16, 2)]
)
def test_gradients_of_the_decoder_reach_the_encoder(quantizer, soft):
    quantizer.soft = soft
    x = torch.randn(200, 2, requires_grad=True)
    out = quantizer(x)
    # Along one direction, as the whitening takes what all residues share out of the gradient.
    (out.codes[:, 0] * torch.linspace(-1, 1, 200).square()).sum().backward()
    assert torch.isfinite(x.grad).all() and (x.grad.norm(dim=1) > 0).float().mean() > 0.9


def test_vq_gradient_is_that_of_the_code_passed_straight_through():
    quantizer = VectorQuantizer(16, 2).eval()
    quantizer.vectors.normal_()
    x, weight = torch.randn(50, 2, requires_grad=True), torch.randn(50, 2)
    (quantizer(x).codes * weight).sum().backward()
    torch.testing.assert_close(x.grad, weight)


def test_restarts_revive_dead_codes():
    """Encoder outputs in 32 clumps: codes far from all of them come back into use."""
    quantizer = VectorQuantizer(32, 4, dead=0.05)
    clumps = torch.randn(32, 4)

    def batch() -> torch.Tensor:
        return clumps[torch.randint(32, (640,))] + 0.02 * torch.randn(640, 4)

    quantizer(batch())
    quantizer.vectors[4:] = 100.0  # dead
    assert len(quantizer(batch()).tokens.unique()) <= 4
    perplexities = []
    for _ in range(400):
        share = torch.bincount(quantizer(batch()).tokens, minlength=32) / 640
        perplexities.append(float(torch.special.entr(share).sum().exp()))
    assert perplexities[0] < 5 and perplexities[-1] > 22
    assert quantizer.vectors.abs().max() < 10


def test_without_restarts_dead_codes_stay_dead():
    quantizer = VectorQuantizer(32, 4, dead=0.0)
    quantizer.used.fill_(1)
    quantizer.vectors[:4].normal_()
    quantizer.vectors[4:] = 100.0
    for _ in range(100):
        tokens = quantizer(torch.randn(640, 4)).tokens
    assert len(tokens.unique()) <= 4


def test_vectors_follow_the_means_of_what_they_stand_for():
    quantizer = VectorQuantizer(4, 2)
    corners = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    for _ in range(500):
        quantizer(corners[torch.randint(4, (400,))] + 0.05 * torch.randn(400, 2))
    x = corners.repeat(100, 1) + 0.05 * torch.randn(400, 2)
    quantizer.eval()
    white, tokens = quantizer._whitened(x), quantizer.tokens(x)
    for token in range(4):
        mean = white[tokens == token].mean(0)
        assert (quantizer.vectors[token] - mean).abs().max() < 0.1


# -- the dVAE ---------------------------------------------------------------------------------


def sizes(kind: str) -> dict:
    return {**TINY["model"], "quantizer": kind, "codes": 40, "code_width": 5, "levels": [5, 4, 2]}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def trained(shards, tmp_path_factory):
    """Six steps at once; and four, stop, resume to six. Of each quantizer."""
    root = tmp_path_factory.mktemp("runs")
    for kind in KINDS:
        config = {**TINY, "model": sizes(kind)}
        whole, part = (
            {**config, "training": {**TINY["training"], "steps": steps}} for steps in (6, 4)
        )
        train_tokenizer(whole, shards, root / kind / "whole", progress=False)
        train_tokenizer(part, shards, root / kind / "parts", progress=False)
        train_tokenizer(whole, shards, root / kind / "parts", resume=True, progress=False)
    return root


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_equals_an_uninterrupted_one(kind, trained):
    paths = [trained / kind / name / "model" for name in ("whole", "parts")]
    whole, parts = (load_network(path)[1] for path in paths)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    with open(trained / kind / "whole" / "log.csv") as handle:
        rows = list(csv.DictReader(handle))
    assert float(rows[-1]["perplexity"]) > 5  # no collapse onto one code


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_tokenizes_and_decodes_as_before(kind, trained, shards):
    path = trained / kind / "whole" / "model"
    model = load_module(path, DVAE).eval()
    assert model.config.quantizer == kind and model.quantizer.size == 40
    tokenizer = DVAETokenizer.load(path)
    entry = ShardDataset(shards, "val")[0]
    backbone, mask = entry.backbone[None], np.ones((1, len(entry.sequence)), bool)
    tokens = tokenizer.encode_backbone(backbone, mask, entry.residue_index)
    assert tokens.min() >= 0 and tokens.max() < 40
    draws = [
        tokenizer.encode_backbone(backbone, mask, entry.residue_index, sample=True, seed=seed)
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert kind != "vq" or (draws[2] == tokens).all()
    letters = np.zeros(tokens.shape[1], int)
    assert np.isfinite(tokenizer.decode_tokens(tokens, letters, entry.residue_index)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_do_not_change_under_rotation_and_translation(kind, trained):
    tokenizer = DVAETokenizer.load(trained / kind / "whole" / "model")
    backbone = helix(60)[None] + 0.05 * np.random.default_rng(0).normal(size=(1, 60, 4, 3))
    mask, index = np.ones((1, 60), bool), np.arange(60)
    rotation = Rotation.random(rng=3).as_matrix()
    first, second = (
        tokenizer.encode_backbone(x, mask, index)
        for x in (backbone, backbone @ rotation.T + [3.0, -2.0, 1.0])
    )
    assert (first != second).sum() <= 1 and len(np.unique(first)) > 3


@pytest.mark.parametrize("kind", ["gumbel", "vq"])
def test_a_decoder_trained_alone_leaves_the_code_vectors(kind, trained, shards, tmp_path):
    start = trained / kind / "whole" / "model"
    tokens = tokenize(shards, start, tmp_path / "tokens", progress=False)
    config = {**TINY, "training": {**TINY["training"], "steps": 3}}
    options = {"tokens": tokens, "init_from": start, "progress": False}
    where = train_tokenizer(config, shards, tmp_path / "run", **options)
    assert tokenizer_fingerprint(where) == tokenizer_fingerprint(start)


def test_code_vectors_are_part_of_the_fingerprint(trained, tmp_path):
    from openmm_slm.training.train_tokenizer import save_tokenizer

    for kind in ("gumbel", "vq"):
        path = trained / kind / "whole" / "model"
        model = load_module(path, DVAE)
        with torch.no_grad():
            model.quantizer.vectors[3] += 0.1
        save_tokenizer(model, tmp_path / kind)
        assert tokenizer_fingerprint(tmp_path / kind) != tokenizer_fingerprint(path)


def test_the_default_network_has_the_weights_it_always_had():
    state = DVAE(DVAEConfig()).state_dict()
    names = [name for name in state if name.startswith("quantizer.")]
    assert names == ["quantizer.mean", "quantizer.whiten"]
    assert state["decoder.code.0.weight"].shape == (192, 21)


def test_an_unknown_quantizer_is_named_with_the_choices(shards, tmp_path):
    config = {**TINY, "model": {**TINY["model"], "quantizer": "fqs"}}
    with pytest.raises(ValueError, match='fqs.*choose "fsq", "gumbel" or "vq"'):
        train_tokenizer(config, shards, tmp_path)
