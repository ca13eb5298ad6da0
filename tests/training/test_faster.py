"""Parts of a network that learn faster than the rest."""

from __future__ import annotations

import pytest
import torch

from openmm_slm.training.optimizers import make_optimizers


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_groups_have_the_factor_of_their_prefix(name: str) -> None:
    network = torch.nn.ModuleDict({"old": torch.nn.Linear(40, 40), "new": torch.nn.Linear(40, 40)})
    parameters = dict(network.named_parameters())
    optimizers = make_optimizers(parameters, name, 1e-3, (0.9, 0.98), 0.0, faster={"new.": 8.0})
    found = {
        id(parameter): group["factor"]
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert {key: found[id(parameter)] for key, parameter in parameters.items()} == {
        "old.weight": 1.0, "old.bias": 1.0, "new.weight": 8.0, "new.bias": 8.0,
    }  # fmt: skip


def test_without_it_all_are_one_group() -> None:
    network = torch.nn.Linear(40, 40)
    (optimizer,) = make_optimizers(dict(network.named_parameters()), "adamw", 1e-3, (0.9, 0.98), 0)
    assert len(optimizer.param_groups) == 1
