"""Items come in order whatever thread made them first."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import openmm_slm
from openmm_slm.allatom import pdbfixer_sidechains
from openmm_slm.models.registry import load_language_model
from openmm_slm.sampling.prefetch import in_order, threads_for


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_several_are_made_at_once_and_come_in_order(two_threads):
    later, begun = threading.Event(), []

    def make(number: int) -> tuple[int, int]:
        begun.append(number)
        if number == 0:
            assert later.wait(60)  # 1 is made meanwhile, or this never ends
        if number == 1:
            later.set()
        return number, torch.get_num_threads()

    made = in_order(make, range(6), workers=2)
    assert next(made) == (0, 1)  # each worker has one of torch's two threads
    assert max(begun) <= 3  # no more than two ahead of what was taken
    assert [number for number, _ in made] == [1, 2, 3, 4, 5]
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_in_its_turn(two_threads, workers):
    def make(number: int) -> float:
        return 1 / (3 - number)

    made = in_order(make, range(9), workers)
    assert [next(made) for _ in range(3)] == [1 / 3, 1 / 2, 1]
    with pytest.raises(ZeroDivisionError):
        next(made)
    assert torch.get_num_threads() == 2


def test_who_stops_taking_stops_the_making(two_threads):
    begun = []
    made = in_order(begun.append, range(100), workers=2)
    next(made)
    made.close()
    assert len(begun) <= 4 and torch.get_num_threads() == 2


def test_a_gpu_is_kept_busy_by_one(two_threads):
    assert threads_for(10, torch.device("cpu")) == 2
    assert threads_for(1, "cpu") == threads_for(0, "cpu") == 1
    assert threads_for(10, torch.device("cuda", 0)) == 1


def test_bounds_are_the_same_in_several_threads():
    """Two blocks draw their maskings side by side, and torch's own generator is shared."""
    model = load_language_model("diffusion", "cpu")
    tokens = np.random.default_rng(0).integers(0, 512, (8, 12))
    alone = model.log_prob_and_error(tokens, "ACDEFGHIKLMN")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(model.log_prob_and_error, [tokens] * 12, ["ACDEFGHIKLMN"] * 12))
    for value, error in found:
        np.testing.assert_allclose(value, alone[0], rtol=1e-5)
        np.testing.assert_allclose(error, alone[1], rtol=1e-3)


def test_pdbfixer_is_used_by_one_thread(two_threads, monkeypatch):
    """It sets how many threads OpenMM's CPU platform has by default, for the whole process."""
    inside, most = [], []

    def watched(structure, **settings):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.1)
        try:
            return build(structure, **settings)
        finally:
            inside.pop()

    build = pdbfixer_sidechains.build_with_pdbfixer
    monkeypatch.setattr(pdbfixer_sidechains, "build_with_pdbfixer", watched)
    openmm_slm.generate_ensemble(
        "GAS", 4, seed=0, batch_size=1, sidechains="pdbfixer", device="cpu", progress=False
    )
    assert len(most) >= 4 and max(most) == 1
