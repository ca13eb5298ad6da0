"""Maximum-entropy reweighting: cases with a known answer, and the primal problem by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize

from openmm_slm.analysis.maximum_entropy import MIN_SHARE, averages, reweight
from openmm_slm.errors import SLMError


def kl(w, prior):
    return float((w * np.log(w / prior)).sum())


@pytest.mark.parametrize("theta", [0.1, 1.0, 30.0])
def test_two_states_have_the_populations_of_the_one_equation(theta):
    """F is 0 or 1. With the multiplier l, p = 1 / (1 + exp(l)) and theta sigma^2 l = p - d."""
    wanted, sigma = 0.3, 0.05
    values = np.r_[np.zeros(50), np.ones(50)][:, None]
    slope = brentq(lambda k: 1 / (1 + math.exp(k)) - wanted - theta * sigma**2 * k, -50, 50)
    found = reweight(values, [wanted], [sigma], theta=theta)
    assert found.weights.sum() == pytest.approx(1)
    assert found.weights[50:].sum() == pytest.approx(1 / (1 + math.exp(slope)), abs=1e-5)
    assert np.ptp(found.weights[50:]) == 0
    p = found.weights[50:].sum()
    cost = p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5)
    assert found.effective_share == pytest.approx(math.exp(-cost))


def test_a_gaussian_shifts_without_changing_its_width():
    """Of N(mu, s^2), the mean becomes (mu + k d) / (1 + k) with k = s^2 / (theta sigma^2)."""
    rng = np.random.default_rng(0)
    values = rng.normal(2.0, 0.5, (200_000, 1))
    mu, s = values.mean(), values.std()
    theta, sigma, wanted = 4.0, 0.1, 2.3
    k = s**2 / (theta * sigma**2)
    found = reweight(values, [wanted], [sigma], theta=theta)
    mean = averages(values, found.weights)[0]
    assert mean == pytest.approx((mu + k * wanted) / (1 + k), abs=2e-3)
    width = math.sqrt(found.weights @ (values[:, 0] - mean) ** 2)
    assert width == pytest.approx(s, rel=0.01)
    assert found.effective_share == pytest.approx(math.exp(-(((mean - mu) / s) ** 2) / 2), rel=0.01)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([10.0, 30.0, 100.0]))
def test_weights_minimise_the_sum_of_misfit_and_information(seed, theta):
    """The primal problem, minimised over the weights of 6 frames themselves."""
    rng = np.random.default_rng(seed)
    values, target, sigma = rng.normal(size=(6, 2)), 0.3 * rng.normal(size=2), np.array([0.3, 0.6])
    prior = rng.uniform(0.5, 1.5, 6)
    prior /= prior.sum()

    def primal(w):
        return (((w @ values - target) / sigma) ** 2).sum() / 2 + theta * kl(w, prior)

    brute = minimize(
        primal, prior, method="SLSQP", bounds=[(1e-9, 1)] * 6, options={"ftol": 1e-12},
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
    )  # fmt: skip
    found = reweight(values, target, sigma, weights=prior, theta=theta)
    assert primal(found.weights) <= brute.fun + 1e-6
    assert np.allclose(found.weights, brute.x, atol=3e-3)


def test_no_other_weights_with_these_averages_are_closer_to_the_prior():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(40, 3))
    found = reweight(values, [0.3, -0.2, 0.1], [0.05] * 3, theta=2.0)
    prior = np.full(40, 1 / 40)
    free = np.linalg.svd(np.c_[values, np.ones(40)].T)[2][4:]  # keep the averages and the sum
    for _ in range(50):
        step = free.T @ rng.normal(size=len(free))
        other = found.weights + 0.2 * found.weights.min() * step / np.abs(step).max()
        assert kl(other, prior) > kl(found.weights, prior)


def test_the_default_theta_is_the_largest_that_explains_the_experiment():
    rng = np.random.default_rng(2)
    values = rng.normal(size=(2000, 2))
    found = reweight(values, [0.5, -0.4], [0.1, 0.1])
    assert found.chi_square_before > 15 and 0.5 < found.chi_square <= 1
    theta, chi, share = found.scan.T
    assert found.theta == theta[-1] and (chi[:-1] > 1).all()
    assert (np.diff(theta) < 0).all() and (np.diff(chi) < 0).all() and (np.diff(share) < 0).all()
    assert share[0] > 0.99 and found.effective_share == share[-1] > 0.7
    again = reweight(values, [0.5, -0.4], [0.1, 0.1], theta=found.theta)
    assert np.allclose(again.weights, found.weights, atol=1e-7)


def test_an_ensemble_that_agrees_keeps_its_weights():
    values = np.array([[1.0], [2.0], [3.0]])
    found = reweight(values, [1.8], [0.2], weights=[3, 1, 1])
    assert found.theta == math.inf and found.effective_share == 1 and not len(found.scan)
    assert found.weights == pytest.approx([0.6, 0.2, 0.2])


def test_frames_without_prior_weight_get_none():
    values = np.linspace(0, 1, 11)[:, None]
    prior = np.r_[np.ones(10), 0]
    found = reweight(values, [0.6], [0.02], weights=prior)
    assert found.weights[-1] == 0 and averages(values, found.weights)[0] == pytest.approx(0.6, 0.05)


def test_whole_prior_weights_are_repeated_frames():
    values = np.random.default_rng(3).normal(size=(20, 1))
    once = reweight(values, [0.4], [0.1], weights=np.r_[np.full(10, 3), np.ones(10)], theta=1.0)
    many = reweight(values[[*np.repeat(np.arange(10), 3), *range(10, 20)]], [0.4], [0.1], theta=1.0)
    assert averages(values, once.weights) == pytest.approx(many.weights @ np.r_[
        np.repeat(values[:10], 3), values[10:, 0]], abs=1e-4)  # fmt: skip
    assert once.effective_share == pytest.approx(many.effective_share, abs=1e-4)


def test_root_mean_squares_are_reweighted_as_such():
    values = np.random.default_rng(4).uniform(1, 3, (1000, 1))
    found = reweight(values, [2.4], [0.02], root_mean_square=[True], theta=1e-4)
    assert np.sqrt(found.weights @ values[:, 0] ** 2) == pytest.approx(2.4, abs=1e-3)
    assert found.weights @ values[:, 0] < 2.4 - 0.03


def test_errors_of_any_size_and_observables_that_are_alike_are_solved():
    """Averages agree with the multipliers, theta lambda_i sigma_i^2 = <F_i> - d_i, for each."""
    rng = np.random.default_rng(6)
    one = rng.normal(size=(300, 1))
    values = np.c_[one, one + 1e-3 * rng.normal(size=(300, 1)), rng.normal(size=(300, 2)),
                   np.full((300, 1), 3.0)]  # fmt: skip
    target, sigma = np.r_[0.2, 0.2, 0.1, -0.1, 3.5], np.r_[1e-2, 1e-2, 1e-3, 0.3, 0.1]
    found = reweight(values, target, sigma, theta=50.0)
    difference = averages(values, found.weights) - target
    multipliers = difference / (50.0 * sigma**2)
    log = -values @ multipliers
    expected = np.exp(log - log.max())
    assert np.allclose(found.weights, expected / expected.sum(), rtol=1e-3)
    assert abs(difference[2]) < 1e-4 and difference[4] == pytest.approx(-0.5)


def test_an_ensemble_without_the_experiment_is_refused():
    values = np.random.default_rng(5).normal(size=(500, 1))
    with pytest.raises(SLMError, match="does not contain the experiment"):
        reweight(values, [4.0], [0.1])
    with pytest.raises(SLMError, match="effective share of 0"):
        reweight(values, [2.9], [0.1], theta=0.01)
    with pytest.raises(SLMError, match="falls from 100 to 100 at most"):
        reweight(np.zeros((5, 1)), [1.0], [0.1])


def test_the_refusal_names_a_theta_that_works():
    values = np.random.default_rng(5).normal(size=(500, 1))
    with pytest.raises(SLMError) as refused:
        reweight(values, [4.0], [0.1])
    theta = float(str(refused.value).split("theta=")[1].split()[0])
    found = reweight(values, [4.0], [0.1], theta=theta)
    assert MIN_SHARE <= found.effective_share < 0.2 and found.chi_square < found.chi_square_before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"error": [0.0]}, "error is 0 for observable 0"),
        ({"error": [-1.0]}, "error is -1"),
        ({"error": [np.nan]}, "error has a number that is not finite"),
        ({"experiment": [np.inf]}, "experiment has a number"),
        ({"values": [[np.nan], [1.0]]}, r"values has a number that is not finite at \[0, 0\]"),
        ({"experiment": [1.0, 2.0]}, "experiment .2,."),
        ({"values": np.zeros((0, 1))}, "values has shape .0, 1."),
        ({"theta": 0.0}, "theta is 0"),
        ({"weights": [1.0]}, "weights has shape"),
        ({"experiment": [0.0], "root_mean_square": [True]}, "root mean square of 0"),
    ],
)
def test_bad_input(change, named):
    given = {"values": [[0.0], [1.0]], "experiment": [0.5], "error": [0.1], **change}
    with pytest.raises(SLMError, match=named):
        reweight(given.pop("values"), given.pop("experiment"), given.pop("error"), **given)
