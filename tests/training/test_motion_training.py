"""Training of the springs: what the losses reward, and a run on toys."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from observed_motions import TINY_MOTIONS, add_conformers, write_motions
from toys import write_shards

from openmm_slm.benchmarks.flexibility import benchmark_flexibility
from openmm_slm.data.motion_data import MotionData, bucket_of
from openmm_slm.data.shards import ShardDataset
from openmm_slm.errors import SLMError, StructureError
from openmm_slm.motions.network_covariance import mean_square, network_covariance
from openmm_slm.motions.spring_network import SpringConfig, SpringNetwork
from openmm_slm.motions.springs import Springs
from openmm_slm.networks.storage import save_module
from openmm_slm.protein.elastic_network import packed_stiffness
from openmm_slm.protein.sequence import AMINO_ACIDS
from openmm_slm.training.fit_readout import fit_readout, ridge
from openmm_slm.training.motion_losses import (
    bfactor_loss,
    displacement_loss,
    profile_loss,
    size_loss,
)
from openmm_slm.training.train_motions import train_motions

OLD = {"crystal": False}  # of a network that was trained before there were such springs


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    where = tmp_path_factory.mktemp("motions")
    write_shards(where / "shards")
    add_conformers(where / "shards")
    return where / "shards", write_motions(where / "shards", where / "motions")


@pytest.fixture(scope="module")
def network(folders):
    """CA and covariance of a packed network of one chain."""
    ca = ShardDataset(folders[0])[0].backbone[:, 1].astype(np.float64)
    stiffness = 2000 * packed_stiffness(ca) * (1 - np.eye(len(ca)))
    stiffness = np.stack([stiffness, 0 * stiffness])
    ca = torch.as_tensor(ca)
    return ca, network_covariance(ca, torch.as_tensor(stiffness))


def test_bfactors_may_have_any_scale_offset_and_rigid_motion(network):
    ca, covariance = network
    b = 300 * mean_square(covariance) + 12
    assert bfactor_loss(covariance, ca, b.float(), 0.0) < 0.15
    shuffled = b[torch.randperm(len(b), generator=torch.Generator().manual_seed(0))]
    assert bfactor_loss(covariance, ca, shuffled.float(), 0.0) > 0.5
    turning = b + 200 * ((ca - ca.mean(0)) ** 2).sum(-1)
    with_rigid = bfactor_loss(covariance, ca, turning.float(), 1.0)
    assert with_rigid < bfactor_loss(covariance, ca, turning.float(), 0.0)


def test_displacements_along_soft_modes_are_likely_at_any_size(network):
    ca, covariance = network
    value, vector = torch.linalg.eigh(covariance)
    soft, stiff = vector[:, -1].view(-1, 3), vector[:, len(value) // 2].view(-1, 3)
    for size in (0.1, 3.0):
        likely, unlikely = (displacement_loss(covariance, ca, size * v)[0] for v in (soft, stiff))
        assert likely < unlikely - 1
    assert torch.allclose(
        displacement_loss(covariance, ca, soft)[0], displacement_loss(covariance, ca, 9 * soft)[0]
    )


def test_profiles_are_those_of_residues_that_move_far(network):
    """Whatever the direction and the size; residues without a partner do not count."""
    _, covariance = network
    rmsf = mean_square(covariance).sqrt()
    directions = torch.randn(len(rmsf), 3, generator=torch.Generator().manual_seed(0)).double()
    move = 3 * rmsf[:, None] * directions / directions.norm(dim=1, keepdim=True)
    move[::5] = torch.nan
    assert profile_loss(covariance, move) < 0.02
    assert profile_loss(covariance, move.flip(0)) > 0.2


def test_sizes_are_compared_on_a_logarithmic_scale(network):
    _, covariance = network
    rmsf = mean_square(covariance).sqrt()
    true = torch.stack([rmsf.mean(), rmsf.quantile(0.5), rmsf.std()])
    assert size_loss(covariance, true) < 1e-12
    assert torch.allclose(size_loss(covariance, 2 * true), size_loss(covariance, true / 2))


def test_left_out_clusters_are_never_fitted(folders):
    data = MotionData(folders[1], ShardDataset(folders[0], "train"))
    for kind in range(3):
        parts = {name: data.part(kind, name) for name in ("fit", "choose", "report")}
        assert sum(map(len, parts.values())) == len(data.rows[kind])
        for name, rows in parts.items():
            assert {bucket_of(data.cluster(row)) for row in rows} <= {name}
    ids = {data.dataset.rows[row[0]]["split"] for rows in data.rows for row in rows}
    assert ids == {"train"}


def test_wrong_files_are_told(folders, tmp_path):
    dataset = ShardDataset(folders[0], "train")
    with pytest.raises(StructureError, match="no motions of the chains .* bfactors.npz"):
        MotionData(tmp_path, dataset)
    (tmp_path / "sizes.csv").write_text("id,mean\nchain0,0.1\n")
    with pytest.raises(StructureError, match="sizes.csv: no column 'median'"):
        MotionData(tmp_path, dataset)
    np.savez(tmp_path / "bfactors.npz", id=np.array(["chain0"]), lens=[3], B=np.ones(3))
    with pytest.raises(StructureError, match="3 B-factors of chain0, which has"):
        MotionData(tmp_path, dataset)


def test_the_readout_finds_the_residues_whose_bfactors_are_large(folders):
    """B-factors of the toys are larger for G."""
    data = MotionData(folders[1], ShardDataset(folders[0], "train"))
    network = fit_readout(SpringNetwork().eval(), data)
    left_out = MotionData(folders[1], ShardDataset(folders[0], "val"))
    glycine = AMINO_ACIDS.index("G")
    seen = (left_out.observation(0, row) for row in left_out.rows[0])
    one = next(one for one in seen if (one.amino_acids == glycine).any())
    sequence = "".join((AMINO_ACIDS + "X")[k] for k in one.amino_acids)
    found = Springs(network).motions(one.backbone.astype(np.float64), sequence, one.index).crystal
    loose = one.amino_acids == glycine
    assert found[loose].mean() > 1.3 * found[~loose].mean()
    before = Springs(SpringNetwork()).motions(one.backbone, sequence, one.index).crystal
    b = one.target[:, 0]
    assert np.corrcoef(found, b)[0, 1] > np.corrcoef(before, b)[0, 1] + 0.3


def test_a_ridge_regression_finds_the_weights_whatever_the_units():
    rng = np.random.default_rng(0)
    x = torch.as_tensor(rng.normal(size=(4000, 3)) * [1, 100, 0.01])
    y = x @ torch.tensor([1.0, 0.02, 0.0], dtype=x.dtype)
    found = ridge(x.T @ x, x.T @ y, len(x)) * torch.tensor([1.0, 100, 0.01])
    assert found[0] / found[1] == pytest.approx(0.5, rel=0.05)
    assert abs(found[2]) < 0.05


@pytest.mark.parametrize("crystal", [False, True])
def test_springs_of_two_networks_are_joined(folders, tmp_path, monkeypatch, crystal):
    """Thermal motion of the first, B-factors of the second."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    from join_springs import main as join

    data = MotionData(folders[1], ShardDataset(folders[0], "train"))
    for name, config in (
        ("thermal", SpringConfig(loosest=1.0)),
        ("crystal", SpringConfig(crystal=crystal)),
    ):
        torch.manual_seed(len(name))
        network = SpringNetwork(config).eval()
        for part in (network, network.crystal_network):
            if part is not None:
                torch.nn.init.normal_(part.out.weight, std=0.3)
        save_module(tmp_path / name, fit_readout(network, data) if name == "crystal" else network)
    join(*(str(tmp_path / name) for name in ("thermal", "crystal", "out")))
    first, second, joined = (
        Springs.load(tmp_path / name).motions(*_arguments(data))
        for name in ("thermal", "crystal", "out")
    )
    np.testing.assert_array_equal(joined.covariance, first.covariance)
    profile = second.crystal / second.crystal.mean() * joined.crystal.mean()
    np.testing.assert_allclose(joined.crystal, profile, rtol=1e-5)


def _arguments(data: MotionData) -> tuple[np.ndarray, str, np.ndarray]:
    one = data.observation(0, data.rows[0][0])
    sequence = "".join((AMINO_ACIDS + "X")[k] for k in one.amino_acids)
    return one.backbone.astype(np.float64), sequence, one.index


def test_springs_for_bfactors_are_asked_for(folders, tmp_path):
    save_module(tmp_path / "old", SpringNetwork(SpringConfig(**TINY_MOTIONS["model"] | OLD)))
    with pytest.raises(SLMError, match="old: the network has no springs for B-factors; set"):
        train_motions(TINY_MOTIONS, *folders, tmp_path / "run", init_from=tmp_path / "old")


def test_it_learns_and_resumes_exactly_and_can_be_measured(folders, tmp_path):
    run, options = TINY_MOTIONS["training"], {"progress": False}
    whole = train_motions(TINY_MOTIONS, *folders, tmp_path / "run", **options)
    with (tmp_path / "run" / "validation.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert float(rows[-1]["pair"]) < float(rows[0]["pair"]) - 0.05
    shorter = TINY_MOTIONS | {"training": run | {"steps": 12}}
    train_motions(shorter, *folders, tmp_path / "again", **options)
    again = train_motions(TINY_MOTIONS, *folders, tmp_path / "again", resume=True, **options)
    weights = [(where / "weights_000.safetensors").read_bytes() for where in (whole, again)]
    assert weights[0] == weights[1]
    text = benchmark_flexibility(*folders, whole, "cpu", split="val", progress=False)
    assert "B-factors of 4 val chains" in text and "GNM" in text and "Left-out clusters" in text
