"""Springs from a network: invariant, positive, and a covariance that is the network's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from builders import helix
from toys import write_shards

from openmm_slm.data.shards import ShardDataset
from openmm_slm.errors import StructureError
from openmm_slm.models.registry import load_springs
from openmm_slm.motions.bfactor_readout import FEATURES, crystal_features
from openmm_slm.motions.network_covariance import FLOOR, mean_square, network_covariance
from openmm_slm.motions.network_covariance import spring_hessian as network_hessian
from openmm_slm.motions.residue_graph import CUTOFF, residue_graph
from openmm_slm.motions.spring_network import SpringConfig, SpringNetwork
from openmm_slm.motions.springs import Springs, check_connected
from openmm_slm.protein.elastic_network import packed_stiffness, rigid_motions, spring_hessian
from openmm_slm.protein.sequence import encode_sequence

SEQUENCE = "ACDEFGHIKLMNPQRSTVWYGGSPEELLKK"


@pytest.fixture(scope="module")
def springs() -> Springs:
    return load_springs("default", "cpu")


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Backbone, sequence and index of a toy chain with all atoms."""
    dataset = ShardDataset(write_shards(tmp_path_factory.mktemp("chains") / "shards"))
    entry = dataset[0]
    return entry.backbone, entry.sequence, entry.residue_index


def turned(x: np.ndarray, seed: int = 0) -> np.ndarray:
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    return x @ rotation.T + [3.0, -2.0, 5.0]


def test_springs_depend_on_neither_position_nor_orientation(springs, chain):
    backbone, sequence, index = chain
    here = springs.stiffness(backbone, sequence, index)
    there = springs.stiffness(turned(backbone).astype(np.float32), sequence, index)
    np.testing.assert_allclose(there, here, rtol=2e-3, atol=1e-3)


def test_springs_are_positive_symmetric_and_end_at_the_cutoff(springs, chain):
    stiffness = springs.stiffness(*chain)
    ca = chain[0][:, 1].astype(float)
    near = np.linalg.norm(ca[:, None] - ca[None], axis=-1) < CUTOFF
    np.fill_diagonal(near, False)
    for each in stiffness:
        np.testing.assert_allclose(each, each.T)
        assert (each[near] > 0).all() and (each[~near] == 0).all()
    along, across = stiffness
    assert (across <= along).all()


def test_amino_acids_and_mirror_images_matter(springs, chain):
    backbone, sequence, index = chain
    here = springs.stiffness(backbone, sequence, index)
    glycines = springs.stiffness(backbone, "G" * len(sequence), index)
    mirror = springs.stiffness(backbone * np.float32([1, 1, -1]), sequence, index)
    assert not np.allclose(here, glycines, rtol=0.01)
    assert not np.allclose(here, mirror, rtol=0.01)


def test_before_training_springs_fall_with_distance_as_in_packed_networks():
    backbone, network = helix(12), SpringNetwork()
    index = np.arange(12)
    amino_acids = encode_sequence(SEQUENCE[:12])
    graph = residue_graph(
        torch.as_tensor(backbone), torch.as_tensor(amino_acids).long(), torch.as_tensor(index)
    )
    along, across = network(graph).detach().numpy() / np.exp(network.scale.item())
    ca = backbone[:, 1].astype(float)
    distance = np.linalg.norm(ca[:, None] - ca[None], axis=-1)
    expected = packed_stiffness(ca) * (1 - (distance / CUTOFF) ** 4) * (distance < CUTOFF)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(along, expected, rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(across, 0.01 * expected, rtol=1e-4, atol=1e-8)


def test_the_covariance_is_the_pseudo_inverse_of_the_hessian(chain):
    ca = chain[0][:, 1].astype(np.float64)
    stiffness = 2000 * packed_stiffness(ca)
    np.fill_diagonal(stiffness, 0)
    stiffness = np.stack([stiffness, 0 * stiffness])  # as of an anisotropic network
    found = network_covariance(torch.as_tensor(ca), torch.as_tensor(stiffness)).numpy()
    rigid = rigid_motions(ca)
    inside = np.eye(len(found)) - rigid @ rigid.T
    hessian = spring_hessian(ca, stiffness[0]) + FLOOR * inside
    np.testing.assert_allclose(found, np.linalg.pinv(hessian, rcond=1e-9), atol=1e-9)
    np.testing.assert_allclose(found @ rigid, 0, atol=1e-8)


def test_springs_that_resist_turning_hold_like_those_of_a_gaussian_network():
    """Equal stiffness along and across: every direction moves as in the Gaussian network."""
    ca = helix(14)[:, 1].astype(np.float64)
    near = (np.linalg.norm(ca[:, None] - ca[None], axis=-1) < 0.8).astype(float)
    np.fill_diagonal(near, 0)
    found = network_hessian(torch.as_tensor(ca), torch.as_tensor(np.stack([near, near]))).numpy()
    contacts = np.diag(near.sum(1)) - near
    np.testing.assert_allclose(found, np.kron(contacts, np.eye(3)), atol=1e-12)


def test_gradients_of_fluctuations_are_those_of_finite_differences():
    rng = np.random.default_rng(0)
    ca = torch.as_tensor(rng.normal(size=(6, 3)))
    springs = torch.as_tensor(rng.uniform(1, 2, (6, 6))).requires_grad_()

    def fluctuations(k: torch.Tensor) -> torch.Tensor:
        k = (k + k.T) / 2 * (1 - torch.eye(6))
        return mean_square(network_covariance(ca, torch.stack([k, k**2 / 9])))

    assert torch.autograd.gradcheck(fluctuations, springs, atol=1e-5)


def test_parts_that_touch_nowhere_and_single_residues_are_told():
    ca = helix(16)[:, 1].astype(float)
    names = [f"ALA {n}" for n in range(1, 17)]
    check_connected(ca, names)
    ca[10:] += [0, 0, 9.0]
    with pytest.raises(StructureError, match="2 parts touch nowhere: ALA 11 and 5 other residues"):
        check_connected(ca, names)
    with pytest.raises(StructureError, match="1 residue with CA; .* 4 or more"):
        check_connected(ca[:1], names)


def test_bfactors_have_the_mean_of_the_springs_and_depend_on_neither_position_nor_size(
    springs, chain
):
    backbone, sequence, index = chain
    assert springs.network.readout is not None
    found = springs.motions(backbone, sequence, index)
    square = np.einsum("iaia->i", found.covariance)
    assert (found.crystal > 0).all()
    assert found.crystal.mean() == pytest.approx(square.mean())
    assert np.ptp(found.crystal) / found.crystal.mean() > 0.3  # not flat
    moved = springs.motions(turned(backbone).astype(np.float32), sequence, index)
    np.testing.assert_allclose(moved.crystal, found.crystal, rtol=5e-3)


def test_no_network_loosens_the_bonds_of_a_chain_by_much(chain):
    backbone, sequence, index = chain
    torch.manual_seed(0)
    network = SpringNetwork(SpringConfig(loosest=1.5))
    before = Springs(network).stiffness(*chain)[0]
    torch.nn.init.normal_(network.out.weight, std=30.0)
    change = np.log(Springs(network).stiffness(*chain)[0][before > 0] / before[before > 0])
    near = (abs(index[:, None] - index) <= 3)[before > 0]
    assert -1.51 < change[near].min() < -1.4
    assert change[near].max() > 4
    assert change[~near].min() < -4


def test_residues_that_coincide_are_told(springs, chain):
    backbone, sequence, index = chain
    backbone = backbone.copy()
    backbone[9] = backbone[4]
    with pytest.raises(StructureError, match="CA atoms of residues 4 and 9 coincide"):
        springs.covariance(backbone, sequence, index)


def test_bfactors_have_springs_of_their_own(chain):
    torch.manual_seed(0)
    springs = Springs(SpringNetwork(SpringConfig(crystal=True)))
    before = springs.motions(*chain)
    torch.nn.init.normal_(springs.network.crystal_network.out.weight, std=0.3)
    after = springs.motions(*chain)
    np.testing.assert_array_equal(after.covariance, before.covariance)
    assert not np.allclose(after.crystal, before.crystal, rtol=0.01)
    assert after.crystal.mean() == pytest.approx(before.crystal.mean())


def test_residues_without_neighbours_around_them_have_the_larger_bfactors(springs):
    """The ends of a helix, in which all other residues are alike."""
    backbone = helix(30).astype(np.float32)
    found = springs.motions(backbone, "A" * 30, np.arange(30)).crystal
    assert min(found[:2].min(), found[-2:].min()) > 1.2 * np.median(found)


def test_networks_without_a_readout_give_the_mean_squares_of_their_springs(chain):
    springs = Springs(SpringNetwork())
    found = springs.motions(*chain)
    np.testing.assert_allclose(found.crystal, np.einsum("iaia->i", found.covariance))


def test_features_of_bfactors_do_not_join_the_ends_of_two_chains():
    """Neighbours along a chain are those of the same chain: an end has fewer of them."""
    backbone = np.concatenate([helix(12), helix(12) + [0.0, 1.0, 0.0]]).astype(np.float32)
    amino_acids = torch.as_tensor(encode_sequence("G" * 12 + "W" * 12)).long()
    index = np.concatenate([np.arange(12), 100 + np.arange(12)])
    graph = residue_graph(torch.as_tensor(backbone), amino_acids, torch.as_tensor(index))
    features = crystal_features(graph, torch.ones(24, dtype=torch.float64))
    width = FEATURES // 6
    along = features[:, 3 * width : 4 * width][:, -21:]  # amino acids of neighbours
    assert len(torch.unique(along[:12], dim=0)) == len(torch.unique(along[12:], dim=0)) == 1
