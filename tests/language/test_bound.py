"""The loss of masked diffusion: the entropy for the true denoiser, more for any other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toys import exact_denoiser, joint

from openmm_slm.language.bound import mask_by_count, negative_bound

V, L = 3, 4
P = joint(V, L, seed=3)
ENTROPY = float(-(P * np.log(P)).sum())


def draws(denoise, n=20_000, seed=0, present=None):
    """Negative bounds of n tokens drawn from the joint."""
    generator = np.random.default_rng(seed)
    flat = generator.choice(P.size, size=n, p=P.ravel())
    tokens = torch.tensor(np.stack(np.unravel_index(flat, P.shape), 1))
    present = torch.ones_like(tokens, dtype=torch.bool) if present is None else present
    torch.manual_seed(seed)
    share = (torch.arange(n) + torch.rand(1)) / n
    share = share[torch.randperm(n)]
    return negative_bound(denoise, tokens, present, share, V).double()


def test_the_exact_denoiser_attains_the_entropy():
    values = draws(exact_denoiser(P))
    error = values.std().item() / len(values) ** 0.5
    assert error < 0.05
    assert abs(values.mean().item() - ENTROPY) < 4 * error


@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_a_perturbed_denoiser_stays_above_the_entropy(noise):
    exact, generator = exact_denoiser(P), torch.Generator().manual_seed(1)
    shift = noise * torch.randn((V,) * 2, generator=generator).double()

    def denoise(tokens, where):
        """Wrong by a fixed amount that depends on the first token."""
        rows = where.nonzero()[:, 0]
        return exact(tokens, where) + shift[tokens[rows, 0].clamp(max=V - 1)]

    values = draws(denoise)
    error = values.std().item() / len(values) ** 0.5
    assert values.mean().item() - ENTROPY > 4 * error


def test_counting_equals_the_integral_over_time():
    """E_t[1/t sum ...], each token masked with probability t, has the same mean."""
    uniform = lambda tokens, where: torch.zeros(int(where.sum()), V)  # noqa: E731
    values = draws(uniform, n=50)
    assert torch.allclose(values, torch.full((50,), L * np.log(V)).double(), atol=1e-5)
    exact, n = exact_denoiser(P), 20_000
    generator = np.random.default_rng(7)
    flat = generator.choice(P.size, size=n, p=P.ravel())
    tokens = torch.tensor(np.stack(np.unravel_index(flat, P.shape), 1))
    t = torch.tensor((np.arange(n) + 0.5) / n)
    masked = torch.tensor(generator.random((n, L))) < t.unsqueeze(1)
    logits = exact(torch.where(masked, V, tokens), masked)
    each = torch.nn.functional.cross_entropy(logits, tokens[masked], reduction="none")
    timed = torch.zeros(n).double().index_add(0, masked.nonzero()[:, 0], each.double()) / t
    counted = draws(exact, seed=8)
    error = (timed.var().item() / n + counted.var().item() / n) ** 0.5
    assert abs(timed.mean().item() - counted.mean().item()) < 4 * error
    assert counted.std() < timed.std()  # what counting is for


def test_masked_counts_and_subsets_are_uniform():
    n = 24_000
    present = torch.tensor([True, True, False, True, True]).expand(n, -1)
    torch.manual_seed(0)
    masked, weight = mask_by_count(present, torch.rand(n))
    assert not masked[:, 2].any()
    k = masked.sum(1)
    assert torch.equal(weight, 4 / k)
    counts = torch.bincount(k, minlength=5)
    assert counts[0] == 0 and (counts[1:] / n - 0.25).abs().max() < 0.015
    pairs = masked[k == 2].long() @ torch.tensor([1, 2, 0, 4, 8])
    shares = torch.unique(pairs, return_counts=True)[1] / (k == 2).sum()
    assert len(shares) == 6 and (shares - 1 / 6).abs().max() < 0.02


def test_share_at_its_ends_masks_one_and_all():
    present = torch.ones(2, 7, dtype=torch.bool)
    masked, _ = mask_by_count(present, torch.tensor([0.0, 1.0]))
    assert masked.sum(1).tolist() == [1, 7]
    empty, weight = mask_by_count(torch.zeros(1, 7, dtype=torch.bool), torch.tensor([0.5]))
    assert not empty.any() and torch.isfinite(weight).all()
