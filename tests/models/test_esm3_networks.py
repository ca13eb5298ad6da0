"""Networks of ESM3 and ESMDiff: the same values as the classes of the esm package."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from builders import helix

from openmm_slm.language.esm3_network import ESM3Network, ESMDiffNetwork
from openmm_slm.networks.esm3_tokens import SEQUENCE, esm3_layout, structure_row
from openmm_slm.networks.storage import load_module
from openmm_slm.projection.close_peptides import close_peptide_bonds
from openmm_slm.protein.geometry import peptide_bond_lengths, place_oxygen
from openmm_slm.protein.protein import Protein
from openmm_slm.protein.sequence import sequence_layout
from openmm_slm.protein.superposition import rmsd
from openmm_slm.tokenizer.known_frames import fit_to_frames

pytest.importorskip("esm", reason="needs the esm package (openmm_slm[esm3])")

CHAINS = ("ACDEFGHIKL", "MNPQRSTVWY")


def wobbling(frames: int, length: int) -> np.ndarray:
    noise = 0.05 * np.random.default_rng(0).normal(size=(frames, length, 4, 3))
    return (helix(length) + noise).astype(np.float32)


def rows_of(chains=CHAINS, rows=2, seed=0):
    sequence, positions = esm3_layout(chains)
    tokens = np.random.default_rng(seed).integers(-1, 4096, (rows, len(positions)))
    structure = structure_row(tokens, positions, len(sequence))
    return torch.tensor(sequence).expand(rows, -1), torch.tensor(structure), positions


def test_the_letters_and_special_tokens_are_those_of_the_package():
    from esm.utils.constants import esm3 as constants

    for letter in "ACDEFGHIKLMNPQRSTVWYX":
        assert constants.SEQUENCE_VOCAB[SEQUENCE[letter]] == letter
    row, positions = esm3_layout(("AC", "D"))
    assert [constants.SEQUENCE_VOCAB[i] for i in row] == ["<cls>", "A", "C", "|", "D", "<eos>"]
    assert structure_row(np.array([[7, -1, 9]]), positions, len(row)).tolist() == [
        [
            constants.STRUCTURE_BOS_TOKEN,
            7,
            constants.STRUCTURE_MASK_TOKEN,
            constants.STRUCTURE_CHAINBREAK_TOKEN,
            9,
            constants.STRUCTURE_EOS_TOKEN,
        ]
    ]


def test_logits_are_those_of_the_package_and_padding_changes_none(published, imported):
    network = load_module(imported / "language_model", ESM3Network).eval()
    sequence, structure, _ = rows_of()
    with torch.no_grad():
        expected = published[0](sequence_tokens=sequence, structure_tokens=structure)
        logits = network(sequence, structure)
        assert torch.allclose(logits, expected.structure_logits, atol=1e-5)
        mask = torch.ones_like(sequence, dtype=torch.bool)
        padded = [
            torch.nn.functional.pad(x, (0, 3), value=v)
            for x, v in ((sequence, SEQUENCE["PAD"]), (structure, 4099), (mask, False))
        ]
        again = network(*padded[:2], None, padded[2])[:, : sequence.shape[1]]
    assert torch.allclose(again, logits, atol=1e-5)


def test_time_is_told_as_published(esmdiff):
    """sigma = -log(1 - (1 - eps) t), 128 cosines and 128 sines, two layers, at every position."""
    network = load_module(esmdiff, ESMDiffNetwork).eval()
    sequence, structure, _ = rows_of()
    time = torch.tensor([0.3, 1.0])
    sigma = -np.log(1 - (1 - 1e-3) * time.double().numpy())
    angles = sigma[:, None] * 10_000.0 ** (-np.arange(128) / 128)
    waves = torch.tensor(np.concatenate([np.cos(angles), np.sin(angles)], 1)).float()
    first, second = network.sigma_embedder.mlp[0], network.sigma_embedder.mlp[2]
    with torch.no_grad():
        told = second(torch.nn.functional.silu(first(waves)))
        states = network.hidden(sequence, structure, told[:, None].expand(-1, len(sequence[0]), -1))
        assert torch.allclose(
            network(sequence, structure, time), network.structure_head(states), atol=1e-5
        )
        assert network(sequence, structure, time).shape[-1] == 4101


def test_recomputing_layers_changes_no_gradient(esmdiff):
    gradients = []
    for checkpointing in (False, True):
        network = load_module(esmdiff, ESMDiffNetwork)
        network.checkpointing = checkpointing
        sequence, structure, _ = rows_of()
        network(sequence, structure, torch.tensor([0.3, 0.9])).square().mean().backward()
        gradients.append(network.encoder.sequence_embed.weight.grad)
    assert torch.allclose(*gradients, atol=1e-7) and gradients[0].abs().max() > 0


def test_tokens_are_those_of_the_package(published, tokenizer):
    backbone, mask = wobbling(5, 20), np.ones((5, 20), bool)
    mask[1, 3:6] = False
    _, _, index = sequence_layout(CHAINS)
    tokens = tokenizer.encode_backbone(backbone, mask, index)
    assert len(np.unique(tokens)) > 10 and (tokens[1, 3:6] == -1).all() and tokens[0].min() >= 0
    for frame, own in enumerate(mask):
        atoms = torch.tensor(10 * backbone[frame, :, :3]).masked_fill(
            ~torch.tensor(own)[:, None, None], torch.nan
        )
        with torch.no_grad():
            _, expected = published[1].encode(atoms[None], residue_index=torch.tensor(index)[None])
        assert (tokens[frame] == np.where(own, expected[0].numpy(), -1)).all()
    turned = backbone @ np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float32) + 30
    assert (tokenizer.encode_backbone(turned, mask, index) == tokens).mean() > 0.99


def test_the_installed_torch_gathers_neighbours_right():
    """The package indexes with a list, which torch may one day read otherwise."""
    from esm.models.vqvae import node_gather

    values, edges = torch.randn(2, 7, 5), torch.randint(0, 7, (2, 7, 3))
    expected = torch.stack([v[e] for v, e in zip(values, edges, strict=True)])
    assert torch.equal(node_gather(values, edges), expected)


def test_backbones_are_those_of_the_package_one_by_one(published, tokenizer):
    """Two chains in one batch; the package decodes rows with their chain break."""
    letters, chain, index = sequence_layout(CHAINS)
    _, rows, positions = rows_of(rows=3)
    tokens = rows[:, positions].clamp(max=4095).numpy()
    backbone, lddt = tokenizer.decode_with_confidence(tokens, letters, index)
    for frame, row in enumerate(tokens):
        one = structure_row(row[None], positions, rows.shape[1])
        with torch.no_grad():
            expected = published[2].decode(torch.tensor(one))
        atoms = expected["bb_pred"][0, positions].numpy() / 10
        assert np.allclose(backbone[frame, :, :3], atoms, atol=1e-5)
        assert np.allclose(lddt[frame], expected["plddt"][0, positions], atol=1e-5)
    assert np.allclose(
        backbone[:, :, 3], place_oxygen(backbone, np.diff(chain, prepend=-1) != 0), atol=1e-5
    )
    bent = tokens.copy()
    bent[:, 0] = 17
    other = tokenizer.decode_tokens(bent, letters, index)
    assert not np.allclose(other[:, 1:], backbone[:, 1:], atol=1e-4)


def test_a_decoded_loop_joins_fixed_residues_that_stay_to_the_bit(tokenizer):
    """A decoder that is off by a bend and some noise; closing the bonds moves the loop alone."""
    rng, length = np.random.default_rng(2), 30
    true, index = helix(length), np.arange(length)
    bend = 0.02 * (np.arange(length) - 15.0)[:, None] ** 2 / 15
    decoded = true[None] + bend[:, None] * [0, 0, 0.05] + 0.004 * rng.normal(size=(4, length, 4, 3))
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    decoded = (decoded @ turn.T + 3).astype(np.float32)
    level = np.zeros((4, length))
    level[:, 10:18] = np.inf
    level[:, 26:] = np.inf
    moving = ~np.isfinite(level[0])
    start = np.where(moving[:, None, None], np.nan, true)[None].repeat(4, 0).astype(np.float32)
    laid = fit_to_frames(decoded, start, level, index)
    breaks = index == 0
    gaps = peptide_bond_lengths(laid, breaks)
    assert np.nanmax(np.abs(gaps - 0.1329)) < 0.05
    full = np.concatenate([laid, place_oxygen(laid, breaks)[:, :, None]], 2)
    full[:, ~moving] = true[~moving]
    closed, moved = close_peptide_bonds(full, Protein("A" * length, breaks), moving.astype(float))
    kept = np.broadcast_to(true, closed.shape)[:, ~moving]
    assert np.array_equal(closed[:, ~moving, :3], kept[:, :, :3])
    assert np.nanmax(np.abs(peptide_bond_lengths(closed, breaks) - 0.1329)) < 0.002
    assert moved.max() < 0.08 and (rmsd(closed[:, :, 1], true[:, 1]) < 0.1).all()
    # Through the tokenizer, whatever it decodes: atoms of fixed residues are the input's.
    tokens = rng.integers(0, 4096, (4, length))
    held = tokenizer.decode_tokens(tokens, np.zeros(length, int), index, start, level)
    assert np.isfinite(held).all()
    assert np.array_equal(held[:, ~moving, :3], kept[:, :, :3])
    assert np.array_equal(held[:, :9, 3], kept[:, :9, 3])


def test_softly_held_frames_draw_the_decoded_ones_by_their_level():
    true, index = helix(20), np.arange(20)
    away = true.copy()
    away[10:] += [0, 0, 0.2]
    for level, share in ((0.0, 1.0), (0.05, 0.5), (1e3, 0.0)):
        laid = fit_to_frames(away[None], true[None], np.full((1, 20), level), index)[0]
        left = np.linalg.norm(laid[:, 1] - true[:, 1], axis=-1).mean()
        apart = np.linalg.norm(
            fit_to_frames(away[None], true[None], np.full((1, 20), 1e6), index)[0, :, 1]
            - true[:, 1],
            axis=-1,
        ).mean()
        assert left == pytest.approx((1 - share) * apart, abs=0.01)
