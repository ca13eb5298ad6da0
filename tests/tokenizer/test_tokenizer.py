"""Stage 1: what a token may depend on, and what decoding gives back."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid
from scipy.spatial.transform import Rotation

import openmm_slm
from openmm_slm.protein import geometry
from openmm_slm.protein.sequence import sequence_layout
from openmm_slm.protein.superposition import rmsd, superpose
from openmm_slm.protein.trajectory import from_trajectory
from openmm_slm.tokenizer.encoder import neighbour_graph
from openmm_slm.tokenizer.quantizer import StochasticFSQ


@pytest.fixture(scope="module")
def tokenizer():
    return openmm_slm.load_tokenizer("default", device="cpu")


@pytest.fixture(scope="module")
def protein(tokenizer):
    """A compact 300-residue backbone: decoded from tokens that the shipped model samples."""
    sequence = "".join(np.random.default_rng(3).choice(list("AAEELLKKVVGGSTDNIFRQPYWHMC"), 300))
    lm = openmm_slm.load_language_model("default", device="cpu")
    tokens = lm.sample(sequence, [0], seed=0).tokens
    return tokenizer.decode(tokens, sequence)


def arrays(trajectory):
    structure = from_trajectory(trajectory)
    return structure.backbone, structure.backbone_mask, structure.residue_index


def test_tokens_do_not_change_under_rotation_and_translation(tokenizer, protein):
    backbone, mask, index = arrays(protein)
    expected = tokenizer.encode_backbone(backbone, mask, index)
    for turn in range(5):
        rotation = Rotation.random(rng=turn).as_matrix()
        moved = backbone.astype(np.float64) @ rotation.T + [30.0, -20.0, 10.0 * turn]
        found = tokenizer.encode_backbone(moved.astype(np.float32), mask, index)
        # Coordinates rounded to float32 at 30 nm move by 2e-6 nm, which may cross a rounding edge.
        assert (found != expected).sum() <= 1
    assert len(np.unique(expected)) > 40  # the statement is not about one constant token


def test_tokens_do_not_depend_on_atom_order(tokenizer, protein):
    order = np.concatenate(
        [
            np.random.default_rng(i).permutation([a.index for a in residue.atoms])
            for i, residue in enumerate(protein.topology.residues)
        ]
    )
    shuffled = _reordered(protein, order)
    np.testing.assert_array_equal(tokenizer.encode(shuffled), tokenizer.encode(protein))


def _reordered(trajectory, order):
    import mdtraj as md

    old = trajectory.topology
    new = md.Topology()
    chain = new.add_chain()
    residues = {}
    for number in order:
        atom = old.atom(int(number))
        if atom.residue.index not in residues:
            residues[atom.residue.index] = new.add_residue(
                atom.residue.name, chain, atom.residue.resSeq
            )
        new.add_atom(atom.name, atom.element, residues[atom.residue.index])
    return md.Trajectory(trajectory.xyz[:, order], new)


def test_distant_residues_do_not_change_tokens(tokenizer, protein):
    """Masking one end changes no token outside the receptive field of its residues."""
    backbone, mask, index = arrays(protein)
    before = tokenizer.encode_backbone(backbone, mask, index)[0]
    ca = backbone[0, :, 1]
    far = np.argsort(np.linalg.norm(ca - ca.mean(0), axis=-1))[-1]
    gone = np.argsort(np.linalg.norm(ca - ca[far], axis=-1))[:20]  # a patch on the surface
    without = mask.copy()
    without[0, gone] = False
    after = tokenizer.encode_backbone(backbone, without, index)[0]

    config = tokenizer.model.config
    graph = neighbour_graph(
        *(torch.as_tensor(x) for x in (backbone, mask, index[None])), config.neighbours
    )
    reached = np.zeros(len(ca), bool)
    reached[gone] = True
    for _ in range(config.encoder_layers + 1):  # who looks at whom, one hop at a time
        reached |= reached[graph.neighbours.numpy()].any(1)
    assert (~reached).mean() >= 0.2
    np.testing.assert_array_equal(after[~reached], before[~reached])
    assert (after[gone] == -1).all()
    kept = reached & without[0]
    assert (after[kept] != before[kept]).any()  # and inside the field tokens do notice


def test_decoding_is_the_same_molecule_whatever_the_pose(tokenizer, protein):
    backbone, mask, index = arrays(protein)
    letters = sequence_layout((from_trajectory(protein).sequence,))[0]
    rotation = Rotation.random(rng=9).as_matrix().astype(np.float32)
    pair = [
        tokenizer.decode_tokens(tokenizer.encode_backbone(x, mask, index), letters, index)
        for x in (backbone, backbone @ rotation.T)
    ]
    moved, _, _ = superpose(pair[1][0].reshape(-1, 3), pair[0][0].reshape(-1, 3))
    assert np.abs(moved - pair[0][0].reshape(-1, 3)).max() < 1e-4  # 1e-3 A


def test_residues_have_exact_geometry(tokenizer, protein):
    x = from_trajectory(protein).backbone[0].astype(np.float64)
    for i, j, length in ((0, 1, 0.1459), (1, 2, 0.1525), (2, 3, 0.1231)):
        np.testing.assert_allclose(np.linalg.norm(x[:, i] - x[:, j], axis=-1), length, atol=2e-5)


def test_round_trip_is_far_better_than_shuffled_tokens(tokenizer, protein):
    """The tokens carry the fold: shuffled, they give another."""
    structure = from_trajectory(protein)
    letters, _, index = sequence_layout((structure.sequence,))
    tokens = tokenizer.encode(protein)
    wrong = np.random.default_rng(0).permutation(tokens[0])[None]
    ca = structure.backbone[0, :, 1]
    native, shuffled = [
        float(rmsd(tokenizer.decode_tokens(t, letters, index)[0, :, 1], ca))
        for t in (tokens, wrong)
    ]
    assert native < 0.6 * shuffled


def test_decode_names_what_is_wrong(tokenizer):
    with pytest.raises(ValueError, match="3 tokens per frame for a sequence of 4"):
        tokenizer.decode(np.zeros((1, 3), int), "ACDE")
    with pytest.raises(ValueError, match="0..511"):
        tokenizer.decode(np.array([[0, 512, 1, 2]]), "ACDE")
    with pytest.raises(ValueError, match="-1"):
        tokenizer.decode(np.array([[0, -1, 1, 2]]), "ACDE")


# -- the quantizer ----------------------------------------------------------------------------


def test_kl_equals_brute_force_over_all_codes():
    quantizer = StochasticFSQ((3, 4))
    quantizer.eval()
    x = torch.randn(20, 2)
    kl = quantizer(x).kl
    level = quantizer._levels(x)
    for row in range(len(x)):
        p = []
        for code in itertools.product(range(3), range(4)):
            weight = [max(0.0, 1 - abs(float(level[row, d]) - code[d])) for d in range(2)]
            p.append(math.prod(weight))
        p = np.array(p)
        assert abs(p.sum() - 1) < 1e-5
        expected = sum(q * math.log(q * 12) for q in p if q > 0)
        assert abs(float(kl[row]) - expected) < 3e-3  # the entropy is clamped at 1e-4


def test_posterior_samples_have_the_posterior_frequencies():
    quantizer = StochasticFSQ((8, 8, 8)).eval()
    x = torch.randn(1, 3).expand(4000, 3)
    level = quantizer._levels(x[:1])[0]
    drawn = quantizer.tokens(x, torch.rand(4000, 3))
    mean = torch.stack([(drawn // r) % 8 for r in (1, 8, 64)], -1).double().mean(0)
    assert (mean - level).abs().max() < 5 * 0.5 / math.sqrt(4000)


def test_a_sharp_posterior_is_still_one():
    """Its KL is that of its sampling frequencies, and its mode is the nearest code."""
    soft, sharp = (StochasticFSQ((8, 8, 8), sharpness=k).eval() for k in (1.0, 3.0))
    x = torch.randn(1, 3).expand(20000, 3)
    drawn = sharp.tokens(x, torch.rand(20000, 3))
    p = torch.bincount(drawn, minlength=512).double() / len(drawn)
    kl = (p[p > 0] * (p[p > 0] * 512).log()).sum()
    assert abs(float(sharp(x[:1]).kl) - float(kl)) < 0.02
    x = torch.randn(500, 3)
    assert torch.equal(sharp.tokens(x), soft.tokens(x))
    assert (sharp(x).kl >= soft(x).kl - 1e-5).all()


def test_the_likelihood_is_a_density():
    """exp(-r / b) / (8 pi b^3) over all of space is 1, and the loss is its logarithm."""
    from openmm_slm.training.tokenizer_loss import negative_log_likelihood

    r = np.linspace(0, 3, 300001)  # nm
    density = np.exp(-negative_log_likelihood(torch.as_tensor(r), 0.05).numpy() / 4)
    assert abs(trapezoid(4 * np.pi * r**2 * density, r) - 1) < 1e-5


def test_lddt_is_that_of_numpy():
    from openmm_slm.tokenizer.losses import lddt_per_residue

    rng = np.random.default_rng(0)
    true = rng.normal(0, 1.0, (2, 30, 3))
    predicted = true + rng.normal(0, 0.1, true.shape)
    mask = rng.random((2, 30)) < 0.9
    ours = lddt_per_residue(*(torch.as_tensor(x) for x in (predicted, true, mask))).numpy()
    expected = geometry.lddt_ca(predicted, true, mask=mask)[0]
    np.testing.assert_allclose(ours[mask], np.nan_to_num(expected)[mask], atol=1e-6)


def test_the_outer_product_of_pairs_is_what_it_says():
    from openmm_slm.tokenizer.decoder import PairUpdate

    update = PairUpdate(16, 4)
    x, pair = torch.randn(2, 5, 16), torch.randn(2, 5, 5, 4)
    y = update.norm(x)
    product = update.left(y).unsqueeze(2) * update.right(y).unsqueeze(1)
    expected = pair + update.out(product)
    torch.testing.assert_close(update(x, pair), expected + update.transition(expected))


def test_tokens_and_codes_round_trip():
    quantizer = StochasticFSQ((8, 8, 8))
    codes = quantizer.codes(torch.arange(512))
    assert codes.min() == -1 and codes.max() == 1
    assert len(torch.unique(codes, dim=0)) == 512
    digits = ((codes + 1) / 2 * 7).round().long()
    assert torch.equal((digits * quantizer.radix).sum(-1), torch.arange(512))


def test_calibration_whitens():
    quantizer = StochasticFSQ((8, 8, 8))
    x = torch.randn(5000, 3) @ torch.tensor([[3.0, 1, 0], [0, 0.1, 0], [0.5, 0, 1]]) + 5
    quantizer.calibrate(x)
    w = quantizer.eval()._whitened(x)
    torch.testing.assert_close(torch.cov(w.T), torch.eye(3), atol=0.02, rtol=0)
    assert w.mean(0).abs().max() < 1e-3


def test_usage_kl_is_that_of_the_mean_posterior():
    quantizer = StochasticFSQ((3, 4)).eval()
    x = torch.randn(300, 2)
    level = quantizer._levels(x)
    mean = np.zeros(12)
    for code in itertools.product(range(3), range(4)):
        weight = (1 - (level - torch.tensor(code)).abs()).clamp(min=0).prod(-1)
        mean[code[0] + 3 * code[1]] = weight.mean()
    expected = (mean * np.log(mean * 12 + 1e-12)).sum()
    assert abs(float(quantizer(x).usage_kl) - expected) < 1e-4


@pytest.mark.parametrize("learned", [True, False])
def test_attention_written_out_equals_the_fused_one(learned):
    from openmm_slm.networks.transformer import attention

    q, k, v = (torch.randn(2, 3, 10, 8, requires_grad=True) for _ in range(3))
    bias = torch.randn(2, 1, 1, 10, requires_grad=learned)
    fused = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    ours = attention(q, k, v, bias)
    torch.testing.assert_close(ours, fused, atol=1e-5, rtol=1e-5)
    inputs = [q, k, v, *([bias] if learned else [])]
    weight = torch.randn_like(fused)
    for a, b in zip(
        torch.autograd.grad((ours * weight).sum(), inputs),
        torch.autograd.grad((fused * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
