"""Stage-2 batches: which tokens, which sequences are hidden, which spans are to be sampled."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from toys import write_shards

from openmm_slm.data.shards import ShardDataset, ShardWriter, index_checksum
from openmm_slm.data.tokens import TokenStore
from openmm_slm.language.bound import negative_bound
from openmm_slm.language.masked_diffusion import (
    MaskedDiffusion,
    MaskedDiffusionConfig,
    MaskedDiffusionModel,
)
from openmm_slm.protein.sequence import encode_sequence
from openmm_slm.training.batches import ClusterSampler
from openmm_slm.training.token_batches import language_model_batch


def token_store(directory, shards, value):
    """Every token is `value`."""
    directory.mkdir()
    for path in shards.glob("*.atoms.npy"):
        rows = len(np.load(path, mmap_mode="r"))
        name = path.name.replace("atoms", "tokens")
        np.save(directory / name, np.full(rows, value, np.int16))
    meta = {"tokenizer": "toy", "vocabulary": 8, "data": index_checksum(shards)}
    (directory / "tokens.json").write_text(json.dumps(meta))
    return TokenStore(directory, shards)


def test_batches_have_the_shares_asked_for(tmp_path):
    shards = write_shards(tmp_path / "shards")
    stores = [token_store(tmp_path / str(value), shards, value) for value in (3, 5)]
    sampler = ClusterSampler(ShardDataset(shards, "train", "backbone"))
    seen, hidden, shares = [], [], []
    for step in range(60):
        batch = language_model_batch(sampler, stores, 256, 0, step, no_sequence=0.25)
        mask = batch["mask"]
        seen.append(int(batch["tokens"][mask].max()))
        hidden += (batch["amino_acids"] == 20).all(1).tolist()
        assert not (batch["spans"] & ~mask).any() and batch["spans"].any(1).all()
        shares += (batch["spans"].sum(1) / mask.sum(1)).tolist()
    assert set(seen) == {3, 5} and 0.25 < np.mean(np.array(seen) == 3) < 0.75
    assert 0.15 < np.mean(hidden) < 0.35
    assert min(shares) < 0.1 and max(shares) > 0.7  # log-uniform from 0.05 to 1


def test_long_chains_are_cut_and_keep_their_tokens(tmp_path):
    shards = write_shards(tmp_path / "shards")
    store = token_store(tmp_path / "tokens", shards, 0)
    for path in (tmp_path / "tokens").glob("*.npy"):  # a token says which residue it is of
        np.save(path, np.arange(len(np.load(path)), dtype=np.int16))
    dataset = ShardDataset(shards, "train", "backbone")
    sampler, firsts = ClusterSampler(dataset), set()
    for step in range(20):
        batch = language_model_batch(sampler, [store], 0, 0, step, chains=6, crop=32)
        assert all(values.shape[:2] == (6, 32) for values in batch.values())
        for tokens, letters, index in zip(
            *(batch[name] for name in ("tokens", "amino_acids", "index")), strict=True
        ):
            known = np.flatnonzero(tokens >= 0)
            assert (np.diff(tokens[known]) == np.diff(known)).all() and len(known) >= 23
            homes = [
                (entry, int(tokens[known[0]]) - int(row["offset"]) - known[0])
                for entry, row in zip(dataset, dataset.rows, strict=True)
                if int(row["offset"]) <= tokens[known[0]] < int(row["offset"]) + int(row["length"])
            ]
            expected = [
                encode_sequence(entry.sequence)[start : start + 32] for entry, start in homes
            ]
            matching = [
                n for n, seen in enumerate(expected) if (letters[: len(seen)] == seen).all()
            ]
            assert len(matching) == 1
            entry, start = homes[matching[0]]
            assert (index[: len(entry.residue_index[start : start + 32])]
                    == entry.residue_index[start : start + 32]).all()  # fmt: skip
            firsts.add(start)
    assert len(firsts) > 10  # anywhere


def test_sequences_with_several_entries_are_drawn_more_often(tmp_path):
    writer = ShardWriter(tmp_path / "s", atoms=4, prefix="backbone")
    rng = np.random.default_rng(0)
    for number in range(20):  # entries 0 and 1 are two structures of one sequence
        sequence = (
            "ACDEFGHIKLMNPQRSTVWYACDE" if number < 2 else "".join(rng.choice(list("AGLV"), 24))
        )
        xyz = np.cumsum(rng.normal(size=(24, 4, 3)), 0)
        writer.add(
            f"chain{number}", sequence, xyz, np.arange(24) == 0, np.arange(24), split="train",
            cluster=str(number),
        )  # fmt: skip
    writer.close()
    dataset = ShardDataset(tmp_path / "s", "train", "backbone")
    for share, expected in ((0.0, 0.1), (0.5, 0.55)):
        sampler = ClusterSampler(dataset, conformers=share)
        drawn = [sampler.number(rng) < 2 for _ in range(2000)]
        assert np.mean(drawn) == pytest.approx(expected, abs=0.04)


def test_spans_are_masked_where_they_are_given():
    """A row with spans is masked there, with the weight of its count; the others as ever."""
    tokens = torch.zeros(2, 6, dtype=torch.long)
    present = torch.ones(2, 6, dtype=torch.bool)
    masked = torch.zeros(2, 6, dtype=torch.bool)
    masked[0, 1:3] = True
    where = []

    def denoise(seen, asked):
        where.append(seen == 9)
        return torch.zeros(int(asked.sum()), 4)

    bound = negative_bound(denoise, tokens, present, torch.tensor([0.5, 0.5]), 9, masked)
    assert torch.equal(where[0][0], masked[0]) and int(where[0][1].sum()) == 4
    # Uniform over 4 tokens: L log 4 whatever is masked.
    assert torch.allclose(bound, torch.full((2,), 6 * np.log(4)), atol=1e-5)


def test_the_bound_says_how_sure_it_is():
    torch.manual_seed(0)
    network = MaskedDiffusion(
        MaskedDiffusionConfig(vocabulary=8, trunk_width=32, trunk_layers=1, trunk_heads=2, width=32,
                              layers=1, heads=2)
    )  # fmt: skip
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model = MaskedDiffusionModel(network)
    sequence = "ACDEFGHIKL" * 2
    tokens = model.sample(sequence, range(6), seed=0, steps=8).tokens
    each = np.array([model.log_prob_and_error(tokens, sequence, 16, seed)[0] for seed in range(30)])
    error = model.log_prob_and_error(tokens, sequence, 16, 0)[1]
    assert (error > 0).all()
    assert 0.5 < np.median(error) / np.median(each.std(0)) < 2
    with pytest.raises(ValueError, match="draws is 1"):
        model.log_prob_and_error(tokens, sequence, 1)
