"""The sampler draws from the distribution its denoiser stands for."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from toys import exact_denoiser, joint

from openmm_slm.errors import SLMError
from openmm_slm.language.interface import check_sampling
from openmm_slm.language.sampling import (
    ancestral_sample,
    confidence_sample,
    draw,
    frame_uniforms,
    token_probabilities,
)
from openmm_slm.networks.out_of_memory import in_halves

V, L = 3, 3


def sample(p, n, steps, known=None, **options):
    given = torch.full((n, L), -1) if known is None else torch.tensor(known).expand(n, L)
    uniforms = np.stack([frame_uniforms(5, i, L) for i in range(n)], 1)
    return ancestral_sample(
        exact_denoiser(p), given, torch.as_tensor(uniforms), V, steps, **options
    )


def test_histogram_matches_the_joint_when_positions_come_one_by_one():
    p, n = joint(V, L), 4000
    tokens, log_prob = sample(p, n, steps=1000)  # two positions rarely share a step
    index = np.ravel_multi_index(tokens.numpy().T, (V,) * L)
    counts = np.bincount(index, minlength=V**L)
    assert chisquare(counts, n * p.ravel()).pvalue > 1e-3
    # One position at a time, the path's probability is the joint's, whatever the order.
    single = log_prob.numpy() - np.log(p.ravel()[index])
    assert np.median(np.abs(single)) < 1e-9


def test_known_tokens_stay_and_condition_the_others():
    p, n = joint(V, L, 1), 3000
    tokens, _ = sample(p, n, steps=500, known=[-1, 2, -1])
    tokens = tokens.numpy()
    assert (tokens[:, 1] == 2).all()
    expected = p[:, 2] / p[:, 2].sum()
    counts = np.bincount(tokens[:, 0] * V + tokens[:, 2], minlength=V * V)
    assert chisquare(counts, n * expected.ravel()).pvalue > 1e-3


def test_one_step_draws_independent_marginals():
    p, n = joint(V, L, 2), 4000
    tokens, _ = sample(p, n, steps=1)
    for position in range(L):
        axes = tuple(i for i in range(L) if i != position)
        counts = np.bincount(tokens[:, position].numpy(), minlength=V)
        assert chisquare(counts, n * p.sum(axis=axes)).pvalue > 1e-3


def test_steps_that_unmask_nothing_are_skipped():
    calls = []

    def denoise(tokens, where, time):
        calls.append(int(where.sum()))
        return torch.zeros(int(where.sum()), V)

    uniforms = torch.as_tensor(frame_uniforms(0, 0, L)[:, None])
    ancestral_sample(denoise, torch.full((1, L), -1), uniforms, V, 1000)
    assert len(calls) <= L and sum(calls) == L


def test_nucleus_keeps_the_likeliest_tokens():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))
    kept = token_probabilities(logits, top_p=0.6)
    assert torch.allclose(kept, torch.tensor([[0.625, 0.375, 0, 0]]).double(), atol=1e-6)
    assert (token_probabilities(logits, top_p=1e-9) > 0).sum() == 1
    warm, cold = token_probabilities(logits, 2.0), token_probabilities(logits, 0.5)
    assert cold[0, 0] > 0.5 > warm[0, 0]


def test_draw_never_returns_an_impossible_token():
    probability = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]]).double().expand(4, -1)
    uniform = torch.tensor([0.0, 0.4999, 0.5, 1 - 1e-16], dtype=torch.float64)
    assert draw(probability, uniform).tolist() == [1, 1, 3, 3]


def test_streams_differ_between_frames_and_seeds():
    streams = [frame_uniforms(s, f, 50) for s, f in itertools.product(range(3), range(3))]
    flat = np.array([s.ravel() for s in streams])
    assert len(np.unique(flat)) == flat.size
    assert np.abs(np.corrcoef(flat) - np.eye(len(flat))).max() < 0.5


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ((0.0, 1.0, None), "temperature"),
        ((1.0, 0.0, None), "top_p"),
        ((1.0, 1.5, None), "top_p"),
        ((1.0, 1.0, 0), "steps"),
        ((float("nan"), 1.0, None), "temperature"),
    ],
)
def test_settings_out_of_range_are_named(settings, named):
    with pytest.raises(ValueError, match=named):
        check_sampling(*settings)


def test_confidence_keeps_the_likeliest_and_follows_the_cosine():
    """Position 2 is nearly certain: it comes first; one step a token reads what is there."""
    p = np.full((2, 2, 2), 1e-9)
    p[0, 0, 1], p[1, 1, 1] = 0.5, 0.5  # tokens 0 and 1 are equal, token 2 is 1
    calls, exact = [], exact_denoiser(p / p.sum())

    def denoise(tokens, where, time):
        calls.append(where.sum(1))
        return exact(tokens, where)

    n = 400
    uniforms = np.stack([frame_uniforms(5, i, 3) for i in range(n)], 1)
    given, uniforms = torch.full((n, 3), -1), torch.as_tensor(uniforms)
    tokens, log_prob = confidence_sample(denoise, given, uniforms, 2, 3)
    # floor(3 cos(pi k / 6)) are left: 2, 1, 0.
    assert [int(c[0]) for c in calls] == [3, 2, 1] and all((c == c[0]).all() for c in calls)
    assert (tokens[:, 2] == 1).all() and (tokens[:, 0] == tokens[:, 1]).all()
    assert abs(tokens[:, 0].double().mean() - 0.5) < 0.1
    assert torch.allclose(log_prob, torch.full((n,), np.log(0.5)).double(), atol=1e-6)
    known = torch.tensor([[-1, 1, -1]]).expand(n, 3)
    tokens, _ = confidence_sample(exact, known, uniforms, 2, 25)
    assert (tokens == 1).all()


def test_confidence_is_sharper_than_the_model():
    p, n = joint(V, L, 3), 2000
    uniforms = torch.as_tensor(np.stack([frame_uniforms(1, i, L) for i in range(n)], 1))
    given = torch.full((n, L), -1)
    nats = [
        -np.log(p[tuple(make(exact_denoiser(p), given, uniforms, V, 3)[0].numpy().T)]).mean()
        for make in (ancestral_sample, confidence_sample)
    ]
    assert nats[1] < nats[0]


def test_out_of_memory_halves_the_rows():
    calls = []

    def compute(rows):
        calls.append(rows.stop - rows.start)
        if calls[-1] > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return list(range(rows.start, rows.stop))

    assert sum(in_halves(compute, 10, 5), []) == list(range(5, 15))
    assert calls == [10, 5, 2, 3, 5, 2, 3]

    def huge(rows):
        return torch.empty(2**60)

    with pytest.raises(SLMError, match="one frame does not fit in memory"):
        in_halves(huge, 2)
    with pytest.raises(RuntimeError, match="shape"):
        in_halves(lambda rows: torch.ones(2).view(3), 4)
