"""Sampling of tokens with ESM3 and ESMDiff."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from openmm_slm.language.esm3 import ESM3Model, ESMDiffModel
from openmm_slm.language.esm3_network import ESM3Network, ESMDiffNetwork
from openmm_slm.language.iterative import annealed, iterative_sample, nucleus, still_masked
from openmm_slm.language.sampling import ancestral_sample
from openmm_slm.networks.esm3_tokens import esm3_layout, structure_row
from openmm_slm.networks.storage import load_module

pytest.importorskip("esm", reason="needs the esm package (openmm_slm[esm3])")

CHAINS = ("ACDEFGHIKL", "MNPQRSTVWY")


def test_the_schedule_of_iterative_decoding_is_that_of_the_package():
    from esm.utils.generation import _get_annealed_temperature
    from esm.utils.noise_schedules import cosine_schedule

    for total in (1, 2, 7, 58, 200):
        for steps in {1, min(2, total), min(25, total), total}:
            for step in range(steps):
                ours = [torch.tensor([x]) for x in (step, steps, total)]
                share = cosine_schedule(torch.tensor((step + 1) / steps))
                assert int(still_masked(*ours)) == int((share * torch.tensor(total) + 0.1).int())
                heat = _get_annealed_temperature(step, steps, 1.4)
                assert float(annealed(1.4, *ours[:2])) == pytest.approx(heat)


def test_the_nucleus_is_that_of_the_package():
    from esm.utils.sampling import top_p_logits

    logits = 3 * torch.randn(50, 40, generator=torch.Generator().manual_seed(0))
    expected = top_p_logits(logits.clone(), 0.9).softmax(-1).double()
    ours = nucleus(logits, 0.9).softmax(-1)
    assert torch.allclose(ours, expected, atol=1e-6) and ((ours > 0) == (expected > 0)).all()


def test_iterative_decoding_keeps_to_its_numbers_and_temperatures():
    """A constant denoiser: draws at each step follow the annealed, cut distribution."""
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, -4.0])
    calls = []

    def denoise(tokens, where, time):
        calls.append(where.sum(1))
        return logits.expand(int(where.sum()), -1)

    rows, length, steps = 3000, 12, 4
    uniforms = torch.rand(2, rows, length, dtype=torch.float64)
    known = torch.full((rows, length), -1)
    known[:, 5] = 3
    tokens, log_prob = iterative_sample(denoise, known, uniforms, 5, steps, 1.4, 0.9)
    total = 11
    left = [int(math.cos(math.pi / 2 * (k + 1) / steps) * total + 0.1) for k in range(steps)]
    assert [int(c[0]) for c in calls] == [
        -b + a for a, b in zip([total, *left], left, strict=False)
    ]
    assert (tokens[:, 5] == 3).all() and (tokens < 5).all()
    last = uniforms[0].masked_fill(known >= 0, -1).argmax(1)
    coldest = (logits[:3].double() / annealed(1.4, *map(torch.tensor, (3, 4)))).softmax(-1)
    drawn = tokens.gather(1, last[:, None])[:, 0]
    share = torch.bincount(drawn, minlength=5) / rows
    assert torch.allclose(share[:3].double(), coldest, atol=0.03) and share[3:].sum() == 0
    assert torch.isfinite(log_prob).all()


def test_one_ancestral_step_is_the_published_one():
    """Plain NumPy: P(unmask) = (m_t - m_s) / m_t with m = (1 - eps) t; the rest at t = 1e-5."""
    rng, length, steps, end, eps = np.random.default_rng(0), 40, 25, 1e-5, 1e-3
    logits = rng.normal(size=(length, 16))
    when, what = rng.random((2, length))
    when[7] = end / 2  # stays masked to the end
    seen, times = [], []

    def denoise(tokens, where, time):
        seen.append(tokens[0].numpy().copy())
        times.append(float(time[0]))
        return torch.tensor(logits)[where[0]]

    uniforms = torch.tensor(np.stack([when, what]))[:, None]
    tokens, _ = ancestral_sample(denoise, torch.full((1, length), -1), uniforms, 16, steps, end=end)
    seen.append(tokens[0].numpy())
    state = np.full(length, 16)
    grid = np.linspace(1, end, steps + 1)
    expected = []
    for t, s in zip(grid[:-1], grid[1:], strict=True):
        m_t, m_s = (1 - eps) * t, (1 - eps) * s
        masked = state == 16
        # when is uniform below t for a token that is still masked.
        now = masked & (1 - when / t < (m_t - m_s) / m_t)
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        drawn = (p.cumsum(1) > what[:, None]).argmax(1)
        if now.any():
            expected.append((t, state.copy()))
        state = np.where(now, drawn, state)
    expected.append((end, state.copy()))
    state = np.where(state == 16, logits.argmax(1), state)
    assert np.allclose(times, [t for t, _ in expected], atol=1e-12)
    for ours, (_, theirs) in zip(seen, expected, strict=False):
        assert np.array_equal(ours, theirs)
    assert np.array_equal(tokens[0].numpy(), state)


@pytest.fixture(scope="module")
def samplers(imported, esmdiff):
    return {
        "esm3": ESM3Model(load_module(imported / "language_model", ESM3Network)),
        "esmdiff": ESMDiffModel(load_module(esmdiff, ESMDiffNetwork)),
    }


@pytest.mark.parametrize("name", ["esm3", "esmdiff"])
def test_frames_do_not_depend_on_the_batch_and_known_tokens_stay(samplers, name):
    model, sequence = samplers[name], ":".join(CHAINS)
    for order in model.orders:
        options = {"seed": 3, "order": order, "steps": 6}
        whole = model.sample(sequence, range(12), **options)
        part = model.sample(sequence, [9, 4], **options)
        assert np.array_equal(part.tokens, whole.tokens[[9, 4]])
        assert np.array_equal(part.log_prob, whole.log_prob[[9, 4]])
        assert whole.tokens.min() >= 0 and whole.tokens.max() < 4096
        known = whole.tokens[0].copy()
        known[8:13] = -1  # across the chain break
        filled = model.sample(sequence, range(3), known=known, **options)
        assert np.array_equal(filled.tokens[:, known >= 0], np.tile(known[known >= 0], (3, 1)))
        assert (filled.tokens >= 0).all() and len(np.unique(filled.tokens, axis=0)) == 3
    bound, error = model.log_prob_and_error(whole.tokens[:3], sequence, draws=4)
    assert np.isfinite(bound).all() and (error > 0).all()


def test_the_denoiser_is_the_network_at_the_residues(samplers):
    """No position is off by one: what is asked at residue l is the logits of residue l."""
    model, sequence = samplers["esmdiff"], ":".join(CHAINS)
    tokens = torch.full((1, 20), 4096)
    tokens[0, 3] = 11
    where = tokens == 4096
    time = torch.tensor([0.7], dtype=torch.float64)
    with torch.no_grad():
        ours = model.read(sequence)(1)(tokens, where, time)
        row, positions = esm3_layout(CHAINS)
        structure = structure_row(np.where(tokens == 4096, -1, tokens), positions, len(row))
        logits = model.network(torch.tensor(row)[None], torch.tensor(structure), time)
    expected = logits[0, positions, :4096][where[0]]
    assert torch.allclose(ours, expected, atol=1e-5)
    assert not torch.allclose(ours[0], expected[1], atol=1e-3)
    # The letters of masked residues are in view: one changes all logits.
    with torch.no_grad():
        other = model.read("W" + sequence[1:])(1)(tokens, where, time)
    assert (other - ours).abs().max(1).values.min() > 1e-6
