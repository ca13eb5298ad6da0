"""Starting frames: what is fixed stays, what is soft may move, what is absent changes nothing."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from builders import ideal_backbone
from scipy.spatial.transform import Rotation
from toys import write_shards

import openmm_slm
from openmm_slm.data.shards import Entry, ShardDataset
from openmm_slm.errors import StructureError
from openmm_slm.networks.rigid_frames import compose, frames_from_backbone, invert
from openmm_slm.protein.sequence import sequence_layout
from openmm_slm.protein.superposition import rmsd, superpose
from openmm_slm.tokenizer import dvae_tokenizer
from openmm_slm.tokenizer.dvae import DVAE, DVAEConfig
from openmm_slm.tokenizer.dvae_tokenizer import DVAETokenizer
from openmm_slm.tokenizer.starts import Start, initial_frames
from openmm_slm.training.batches import ClusterSampler, crop_rows, tokenizer_batch
from openmm_slm.training.starts import StartConfig, deformed, draw_start

LENGTH = 40
SEQUENCE = "ACDEFGHIKLMNPQRSTVWY" * 2


def chain(seed: int = 0) -> np.ndarray:
    """A backbone [40, 4, 3] of helices and strands, nm."""
    rng = np.random.default_rng(seed)
    helix = np.repeat(rng.random(8) < 0.5, 5)
    phi = np.where(helix, -60, -110) + rng.normal(0, 10, LENGTH)
    psi = np.where(helix, -45, 130) + rng.normal(0, 10, LENGTH)
    psi[::9] += 90
    return ideal_backbone(np.radians(phi), np.radians(psi), np.full(LENGTH, np.pi))


@pytest.fixture(scope="module")
def tokenizer() -> DVAETokenizer:
    """Small, with random weights everywhere: nothing is zero by initialisation."""
    torch.manual_seed(0)
    config = DVAEConfig(
        encoder_width=32, encoder_layers=1, neighbours=8, decoder_width=32, decoder_heads=2,
        decoder_layers=2, pair=8, refinements=2,
    )  # fmt: skip
    model = DVAE(config)
    for parameter in model.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.15)
    return DVAETokenizer(model)


@pytest.fixture(scope="module")
def inputs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    letters, _, index = sequence_layout((SEQUENCE,))
    return np.random.default_rng(1).integers(512, size=(2, LENGTH)), letters, index


def test_absent_starts_are_the_plain_decoder(tokenizer, inputs):
    plain = tokenizer.decode_tokens(*inputs)
    ignored = tokenizer.decode_tokens(*inputs, chain()[None], np.full((1, LENGTH), np.inf))
    nowhere = tokenizer.decode_tokens(
        *inputs, np.full((1, LENGTH, 4, 3), np.nan), np.zeros((1, LENGTH))
    )
    for other in (ignored, nowhere):
        moved = superpose(other[:, :, 1], plain[:, :, 1])[0]
        assert np.abs(moved - plain[:, :, 1]).max() < 1e-4


def test_fixed_residues_keep_their_atoms(tokenizer, inputs):
    start = chain() + np.random.default_rng(2).normal(0, 0.003, (LENGTH, 4, 3))  # not ideal
    level = np.zeros(LENGTH)
    level[10:18], level[30:33] = np.inf, 0.2
    out = tokenizer.decode_tokens(*inputs, start[None], level[None])
    fixed = level == 0
    expected = start.astype(np.float32)
    np.testing.assert_array_equal(out[0, fixed, :3], expected[fixed, :3])
    before = np.isin(np.arange(LENGTH), (9, 29))  # their O lies in a peptide plane that is new
    np.testing.assert_array_equal(out[0, fixed & ~before, 3], expected[fixed & ~before, 3])
    assert (np.abs(out[0, before, 3] - expected[before, 3]).max(-1) > 1e-3).all()
    assert np.abs(out[0, 10:18] - expected[10:18]).max() > 0.01
    assert np.isfinite(out).all()


def test_the_answer_turns_with_the_start(tokenizer, inputs, monkeypatch):
    """In float32: products in bfloat16 round, and these tokens, drawn at random, amplify that."""
    monkeypatch.setattr(dvae_tokenizer, "fast_products", lambda device: nullcontext())
    turn = Rotation.random(rng=3).as_matrix()
    level = np.full((1, LENGTH), 0.1)
    level[0, 5:15], level[0, 20:25] = np.inf, 0
    start = chain()[None]
    out, moved = (
        tokenizer.decode_tokens(*inputs, x, level) for x in (start, start @ turn.T + [3.0, -2, 5])
    )
    np.testing.assert_allclose(out @ turn.T + [3.0, -2, 5], moved, atol=2e-4)


def test_what_is_absent_is_chained_to_its_nearest_neighbour():
    def frames(seed):
        return frames_from_backbone(torch.as_tensor(chain(seed), dtype=torch.float32)[None])

    chained, known = frames(4), frames(5)
    level = torch.zeros(1, LENGTH)
    level[0, 10:20] = level[0, :3] = torch.inf
    begun = initial_frames(chained, Start(*known, level))
    for row, anchor in ((10, 9), (14, 9), (15, 20), (19, 20), (0, 3)):
        ours, theirs = (
            compose(invert(tuple(x[:, anchor] for x in f)), tuple(x[:, row] for x in f))
            for f in (begun, chained)
        )
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    for got, own in zip(begun, known, strict=True):
        assert torch.equal(got[0, 20:], own[0, 20:])


def test_decode_names_what_is_wrong_with_a_start(tokenizer, inputs):
    from openmm_slm.protein.trajectory import backbone_trajectory

    start = backbone_trajectory(chain()[None].astype(np.float32), SEQUENCE)
    tokens = inputs[0]
    for level, text in ((-0.1, "-0.1 nm"), (np.nan, "nan nm"), ([0.1, 0.2], "shape")):
        with pytest.raises(StructureError, match=text):
            tokenizer.decode(tokens, SEQUENCE, start=start, level=level)
    with pytest.raises(StructureError, match="frames of 40 residues, but the tokens have 2 of 20"):
        tokenizer.decode(tokens[:, :20], SEQUENCE[:20], start=start)
    assert tokenizer.decode(tokens, SEQUENCE, start=start, level=0.1).n_frames == 2


def test_predicted_lddt_is_a_share(tokenizer, inputs):
    _, confidence = tokenizer.decode_with_confidence(*inputs)
    assert confidence.shape == (2, LENGTH) and (confidence >= 0).all() and (confidence <= 1).all()


# -- what they are trained on -----------------------------------------------------------------


@pytest.mark.parametrize("turn", [True, False])
def test_deformations_have_the_size_they_are_said_to_have(turn):
    x = chain().astype(np.float64)
    moved = deformed(np.random.default_rng(0), x, 0.2, turn)
    assert abs(np.sqrt(((moved - x)[:, 1] ** 2).sum(-1).mean()) - 0.2) < 1e-5
    bonds = [np.linalg.norm(y[:, 0] - y[:, 1], axis=-1) for y in (x, moved)]
    np.testing.assert_allclose(*bonds, atol=1e-5)  # residues are rigid
    turned = np.abs((moved - x) - (moved - x)[:, 1:2]).max() > 1e-3
    assert turned == turn


def test_starts_are_what_the_levels_say():
    x, mask = chain(), np.ones(LENGTH, bool)
    mask[:2] = False
    rng = np.random.default_rng(0)
    other = deformed(rng, x, 0.15, False) @ Rotation.random(rng=1).as_matrix().T + 4
    config = StartConfig(exact=0.2, noised=0.2, deformed=0.2, alternative=0.2, absent=0.5)
    seen = {"none": 0, "exact": 0, "soft": 0, "two": 0, "partial": 0}
    for _ in range(400):
        start, level = draw_start(rng, x, mask, config, lambda: other)
        known = np.isfinite(level)
        assert not known[:2].any() and np.isfinite(start[known]).all()
        if not known.any():
            seen["none"] += 1
            continue
        seen["partial"] += known.sum() < mask.sum()
        if (level[known] == 0).all():
            seen["exact"] += 1
            np.testing.assert_array_equal(start[known], x[known].astype(np.float32))
            assert known.sum() < mask.sum()
            continue
        seen["soft"] += 1
        seen["two"] += len(set(level[known])) == 2
        for value in set(level[known]):
            off = np.sqrt(((start - x)[level == value, 1] ** 2).sum(-1).mean())
            assert off / 2.5 < value < max(0.025, 2.5 * off)
    assert abs(seen["exact"] - 80) < 35 and abs(seen["none"] - 80) < 35
    assert seen["partial"] - seen["exact"] > 60 and seen["two"] > 15


def test_starts_are_a_function_of_seed_and_step(tmp_path):
    sampler = ClusterSampler(ShardDataset(write_shards(tmp_path), "train"))
    config = StartConfig(exact=0.3, deformed=0.5)
    a, b = (tokenizer_batch(sampler, 128, 32, 1, 4, None, config) for _ in range(2))
    assert all(np.array_equal(a[key], b[key]) for key in a)
    assert a["start"].shape == (4, 32, 4, 3) and np.isfinite(a["level"]).any()


def test_crops_of_complexes_are_two_stretches_that_touch():
    first, second = chain(1), chain(2)
    second = second - second[20, 1] + first[10, 1] + [0.5, 0, 0]  # residue 20 touches residue 10
    atoms = np.concatenate([first, second]).astype(np.float32)
    chain_index = np.repeat([0, 1], LENGTH)
    entry = Entry(
        "x", "train", "x", SEQUENCE * 2, atoms, chain_index, np.arange(80), atoms[:, 0, 0] > 9
    )
    touching = np.linalg.norm(atoms[:40, None, 1] - atoms[None, 40:, 1], axis=-1)
    for seed in range(30):
        rows = crop_rows(np.random.default_rng(seed), entry, 24)
        rows = rows[rows >= 0]
        of = [rows[chain_index[rows] == k] for k in (0, 1)]
        assert all(len(part) == 12 and (np.diff(part) == 1).all() for part in of)
        nearest = touching[np.ix_(of[0], of[1] - 40)].min()
        assert (
            nearest <= max(touching[of[0]].min(1).min(), touching[:, of[1] - 40].min(0).min()) + 1
        )


@pytest.mark.slow
def test_tokens_pull_a_displaced_chain_to_their_structure():
    """The shipped decoder, started 1 Å away, comes nearer with the true tokens, not with others."""
    tokenizer = openmm_slm.load_tokenizer("default", device="cpu")
    lm = openmm_slm.load_language_model("default", device="cpu")
    sequence = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQ"
    letters, _, index = sequence_layout((sequence,))
    found = []
    for seed in range(6):
        target = tokenizer.decode(lm.sample(sequence, [seed], seed=0).tokens, sequence)
        x = target.xyz.reshape(len(sequence), 4, 3)
        tokens = tokenizer.encode(target)
        wrong = np.random.default_rng(seed).permutation(tokens[0])[None]
        start = deformed(np.random.default_rng(seed), x, 0.1, False)[None]
        level = np.full((1, len(sequence)), 0.1)
        found.append(
            [
                float(
                    rmsd(tokenizer.decode_tokens(t, letters, index, start, level)[0, :, 1], x[:, 1])
                )
                for t in (tokens, wrong)
            ]
        )
    right, shuffled = np.median(found, 0)
    assert right < 0.1 and right + 0.01 < shuffled
