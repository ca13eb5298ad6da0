"""Labels of disordered residues: told to the network, and learned from coil."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from builders import regular

from openmm_slm.data.coil_chains import Stretch, coil_chain, coil_stretches
from openmm_slm.data.shards import Entry, ShardDataset, ShardWriter
from openmm_slm.language.autoregressive import AutoregressiveModel
from openmm_slm.language.structure_context import StructureContext
from openmm_slm.language.t5 import T5, T5Config
from openmm_slm.networks.storage import save_network
from openmm_slm.protein.geometry import backbone_torsions
from openmm_slm.training.structure_batches import draw_labels
from openmm_slm.training.warm_start import starting_network

SIZES = {
    "trunk_width": 32, "trunk_layers": 1, "trunk_heads": 2, "width": 32, "layers": 1, "heads": 2,
    "pair": 4, "structure": 1, "edge": 16, "neighbours": 8,
}  # fmt: skip
SEQUENCE, LENGTH = "ACDEFGHIKL", 10


def context(disordered=None) -> StructureContext:
    nowhere = np.full((LENGTH, 4, 3), np.nan)
    return StructureContext.of(nowhere, np.full(LENGTH, np.inf), np.arange(LENGTH), disordered)


def log_prob(model: AutoregressiveModel, disordered=None) -> np.ndarray:
    tokens = np.arange(20).reshape(2, LENGTH)
    return model.log_prob(tokens, SEQUENCE, structure=context(disordered))


def test_a_label_added_to_trained_weights_changes_nothing_until_it_is_trained(tmp_path):
    torch.manual_seed(0)
    trained = T5(T5Config(**SIZES))
    torch.nn.init.normal_(trained.head[1].weight)
    save_network(tmp_path / "x", "t5", vars(trained.config), trained.state_dict())
    with_labels = starting_network("t5", {"disorder": True}, 512, tmp_path / "x")
    assert with_labels.config.disorder
    before = AutoregressiveModel(starting_network("t5", {}, 512, tmp_path / "x"))
    after = AutoregressiveModel(with_labels)
    assert not before.sees_disorder
    assert after.sees_disorder
    labels = np.arange(LENGTH) < 4
    assert np.array_equal(log_prob(after, labels), log_prob(before))
    with torch.no_grad():
        with_labels.disordered.normal_()
    assert not np.allclose(log_prob(after, labels), log_prob(before))
    assert np.array_equal(log_prob(after), log_prob(before))


def entry(id: str, backbone: np.ndarray) -> Entry:
    length = len(backbone)
    index = np.arange(length, dtype=np.int32)
    chain = np.zeros(length, np.int32)
    return Entry(id, "train", id, "A" * length, backbone, chain, index, index == 0)


def test_labels_of_training_chains_are_those_of_coil_or_none():
    half = np.concatenate([regular(20, -60, -45), regular(20, -120, 130) + 5])
    drawn = [draw_labels(np.random.default_rng(i), entry("x", half)) for i in range(40)]
    assert not any(labels[:19].any() for labels in drawn)
    told = np.mean([labels[24:].all() for labels in drawn])
    assert 0.3 < told < 0.7
    made = entry("coil_train_0", half)
    assert draw_labels(np.random.default_rng(0), made).all()


def test_chains_of_coil_keep_the_torsions_of_their_stretches_and_do_not_meet_themselves():
    rng = np.random.default_rng(1)
    stretches = [
        Stretch(letter * 5, np.stack([rng.uniform(-2, -1, 5), rng.uniform(1, 3, 5), [3.1] * 5]))
        for letter in "ACDEFG"
    ]
    sequence, x = coil_chain(rng, stretches, (40, 41))
    assert x.shape == (40, 4, 3)
    phi, psi, _ = backbone_torsions(x)
    by_letter = {one.sequence[0]: one.torsions for one in stretches}
    for row in range(1, 39):
        wanted = by_letter[sequence[row]][:2, row % 5]
        assert np.allclose((phi[row], psi[row]), wanted, atol=1e-6)
    apart = np.linalg.norm(x[:, None, 1] - x[:, 1], axis=-1)
    assert apart[np.triu_indices(40, 3)].min() > 0.4


def test_stretches_are_read_from_shards(tmp_path):
    writer = ShardWriter(tmp_path)
    half = np.concatenate([regular(20, -60, -45), regular(20, -120, 130) + 5])
    number = np.arange(1, 41)
    writer.add("x", "A" * 20 + "G" * 20, half, np.isin(number, (1, 21)), number)
    writer.close()
    (one,) = coil_stretches(ShardDataset(tmp_path))
    assert set(one.sequence) == {"G"}
    assert np.degrees(one.torsions[:2].mean(1)) == pytest.approx([-120, 130], abs=1)
