"""Models that draw tokens from left to right: what each step sees, samples, training, loading."""

from __future__ import annotations

import csv
import itertools
import json
import logging

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from toys import TINY_LM, joint, write_shards

from openmm_slm.data.shards import ShardDataset, index_checksum
from openmm_slm.errors import SLMError
from openmm_slm.language.causal import causal_bias
from openmm_slm.language.families import FAMILIES
from openmm_slm.language.masked_diffusion import MaskedDiffusion, MaskedDiffusionConfig
from openmm_slm.language.trunk import sequence_tensors
from openmm_slm.models.registry import load_language_model
from openmm_slm.networks.storage import save_module
from openmm_slm.networks.transformer import attention
from openmm_slm.training.language_losses import autoregressive_terms
from openmm_slm.training.train_language_model import starting_network, train_language_model

V = 3
SIZES = {
    "t5": {"trunk_width": 32, "trunk_layers": 2, "trunk_heads": 2, "width": 32, "layers": 2,
           "heads": 2, "pair": 8},
    "gpt": {"width": 32, "layers": 2, "heads": 2},
}  # fmt: skip
TWO_CHAINS = "GYDPETGTWG:ACDEFGHIK"
CPU = torch.device("cpu")
both = pytest.mark.parametrize("name", ["t5", "gpt"])


def fresh(name: str, vocabulary: int = V, **sizes):
    torch.manual_seed(0)
    cls = FAMILIES[name].network
    return cls(cls.config_class(vocabulary=vocabulary, **{**SIZES[name], **sizes})).eval()


def shaken(name: str, vocabulary: int = V, **sizes):
    """A network whose branches all matter (they start at zero)."""
    network = fresh(name, vocabulary, **sizes)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def model_of(network):
    return FAMILIES[network.kind].model(network, "cpu")


def at_once(network, sequence: str, tokens: torch.Tensor, known=None) -> torch.Tensor:
    inputs = sequence_tensors(sequence, CPU)
    known = torch.full_like(inputs[0], -1) if known is None else known
    with torch.no_grad():
        return network.head(network.hidden(network.read(*inputs, known), tokens))


def some_tokens(rows: int, length: int, vocabulary: int = V) -> torch.Tensor:
    return torch.randint(0, vocabulary, (rows, length), generator=torch.Generator().manual_seed(1))


@both
@pytest.mark.parametrize("sequence", ["AC", "GYDPETGTWG", TWO_CHAINS, "ACDEFGHIKL" * 12])
def test_cached_logits_are_the_uncached(name, sequence):
    network = shaken(name, 20)
    inputs = sequence_tensors(sequence, CPU)
    length = inputs[0].shape[1]
    tokens = some_tokens(4, length, 20)
    shared = torch.full((1, length), -1)
    shared[0, 1] = 5
    own = torch.where(torch.arange(4)[:, None] == torch.arange(length), tokens, -1)
    for known in (shared, own):  # one memory for all rows, or one for each
        expanded = [x.expand(len(known), -1) for x in inputs]
        with torch.no_grad():
            memory = network.read(*expanded, known)
            expected = network.head(network.hidden(memory, tokens))
            cache, previous, stepped = network.begin(memory, 4), torch.full((4,), 20), []
            for position in range(length):
                stepped.append(network.step(memory, cache, position, previous))
                previous = tokens[:, position]
        assert (torch.stack(stepped, 1) - expected).abs().max() < 1e-5 * expected.abs().max()


@both
def test_a_step_sees_earlier_tokens_only(name):
    network, tokens = shaken(name), some_tokens(1, 19)
    before = at_once(network, TWO_CHAINS, tokens)
    for position in (0, 9, 10, 17):
        other = tokens.clone()
        other[0, position] = (other[0, position] + 1) % V
        moved = (at_once(network, TWO_CHAINS, other) - before).abs().amax(-1)[0]
        assert (moved[: position + 1] == 0).all() and (moved[position + 1 :] > 1e-6).all()


@both
def test_a_step_sees_its_own_amino_acid_and_all_others(name):
    changed = "GYDPEWGTWG:ACDEFGHIK"
    tokens = some_tokens(1, 19)
    # A new network's branches are zero: what remains is the path from position l to step l.
    direct = at_once(fresh(name), TWO_CHAINS, tokens) - at_once(fresh(name), changed, tokens)
    assert direct.abs().amax(-1)[0].nonzero().flatten().tolist() == [5]
    full = at_once(shaken(name), TWO_CHAINS, tokens) - at_once(shaken(name), changed, tokens)
    assert (full.abs().amax(-1) > 1e-6).all()


@both
def test_padding_and_order_change_nothing(name):
    network, sequences = shaken(name), ["ACDEF", "GYDPETGTWG", TWO_CHAINS]
    inputs = [sequence_tensors(s, CPU) for s in sequences]
    longest = 24
    padded = [torch.zeros(3, longest, dtype=x.dtype) for x in inputs[0]]
    tokens, known = torch.full((3, longest), -1), torch.full((3, longest), -1)
    for row, parts in enumerate(inputs):
        length = parts[0].shape[1]
        for whole, part in zip(padded, parts, strict=True):
            whole[row, :length] = part
        tokens[row, :length] = some_tokens(1, length)
        known[row, 1] = tokens[row, 1]
    for order in ([0, 1, 2], [2, 0, 1]):
        with torch.no_grad():
            memory = network.read(*(x[order] for x in padded), known[order])
            logits = network.head(network.hidden(memory, tokens[order]))
        for place, row in enumerate(order):
            length = inputs[row][0].shape[1]
            alone = at_once(
                network, sequences[row], tokens[row, None, :length], known[row, None, :length]
            )
            assert torch.allclose(logits[place, :length], alone[0], atol=1e-5)


@both
def test_chains_are_told_apart(name):
    network, tokens = shaken(name), some_tokens(1, 8)
    one, two = (at_once(network, s, tokens) for s in ("ACDEFGHI", "ACDE:FGHI"))
    assert (one - two).abs().max() > 1e-3


def test_both_halves_of_gpt_are_one_causal_network():
    """[start, c, SEP, z] in one pass with one causal mask gives the logits of both halves."""
    network, (letters, mask, index) = shaken("gpt"), sequence_tensors(TWO_CHAINS, CPU)
    tokens, none = some_tokens(1, 19), torch.full((1, 19), -1)
    with torch.no_grad():
        embedded = network.amino_acid(letters)
        first = network.first_half(embedded, none)
        shifted = torch.cat([torch.full((1, 1), V), tokens[:, :-1]], 1)
        x = torch.cat([first, network.token(shifted) + embedded], 1)
        assert x.shape[1] == 2 * 19 + 1
        start = network.first_angles(index)
        angles = torch.cat([start, start[:, 1:]], 1)
        for block in network.trunk:
            q, k, v = block.project(x, angles)
            x = block.update(x, attention(q, k, v, causal_bias(x.shape[1], CPU)))
        memory = network.read(letters, mask, index, none)
        assert torch.allclose(x[:, :19], memory.states, atol=1e-5)
        assert torch.allclose(x[:, 20:], network.hidden(memory, tokens), atol=1e-5)


def test_pairs_have_the_probability_of_sequence_times_tokens():
    model = model_of(shaken("gpt"))
    sequences, drawn = model.sample_pairs(5, range(20), seed=3)
    assert len(set(sequences)) > 10 and all(len(s) == 5 for s in sequences)
    for number in (0, 7, 19):
        sequence = sequences[number]
        of_tokens = model.log_prob(drawn.tokens[number], sequence)[0]
        total = model.log_prob_sequence(sequence) + of_tokens
        assert drawn.log_prob[number] == pytest.approx(total, abs=1e-4)
        alone, pair = model.sample_pairs(5, [number], seed=3)
        assert alone == [sequence] and (pair.tokens[0] == drawn.tokens[number]).all()
    # p(c, z) sums to 1 over all pairs of two residues.
    letters = torch.cartesian_prod(torch.arange(20), torch.arange(20))
    index, everywhere = torch.arange(2).expand(400, -1), torch.ones(400, 2, dtype=torch.bool)
    with torch.no_grad():
        memory = model.network.read(letters, everywhere, index, torch.full((400, 2), -1))
        of_sequence = -model.network.amino_acid_nats(memory, letters, everywhere)
        total = torch.zeros(())
        for pair in itertools.product(range(V), repeat=2):
            tokens = torch.tensor(pair).expand(400, -1)
            hidden = model.network.head(model.network.hidden(memory, tokens)).log_softmax(-1)
            of_tokens = hidden.gather(-1, tokens.unsqueeze(-1)).sum((1, 2))
            total += (of_sequence + of_tokens).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-4)
    first, _ = model.sample_pairs(2, range(3000), seed=4)
    counts = np.bincount(["ACDEFGHIKLMNPQRSTVWY".index(s[0]) for s in first], minlength=20)
    with torch.no_grad():
        p = model.network.amino_acid_head(memory.states[0, 0]).double().softmax(-1).numpy()
    assert chisquare(counts, 3000 * p / p.sum()).pvalue > 1e-3


@both
@pytest.mark.parametrize("known", [None, [-1, 2, -1], [-1, -1, 0]])
def test_samples_have_the_exact_probabilities(name, known):
    model, n = model_of(shaken(name)), 3000
    every = np.array(list(itertools.product(range(V), repeat=3)))
    given = np.full(3, -1) if known is None else np.array(known)
    every = every[((every == given) | (given < 0)).all(1)]
    p = np.exp(model.log_prob(every, "ACD", given))
    assert p.sum() == pytest.approx(1, abs=1e-5)
    assert p.max() / p.min() > 3  # far from uniform
    drawn = model.sample("ACD", range(n), seed=2, known=known)
    match = (drawn.tokens[:, None] == every).all(-1)
    assert match.any(1).all()
    assert chisquare(match.sum(0), n * p / p.sum()).pvalue > 1e-3
    np.testing.assert_allclose(drawn.log_prob, np.log(p)[match.argmax(1)], atol=1e-5)


@both
def test_a_frame_does_not_depend_on_the_others(name):
    model = model_of(shaken(name, 20))
    known = np.full((100, 19), -1)
    known[:, ::3] = some_tokens(100, 7, 20).numpy()
    for given in (None, known):
        whole = model.sample(TWO_CHAINS, range(100), seed=5, known=given)
        part = None if given is None else given[[7, 70]]
        few = model.sample(TWO_CHAINS, [7, 70], seed=5, known=part)
        np.testing.assert_array_equal(few.tokens, whole.tokens[[7, 70]])
        np.testing.assert_array_equal(few.log_prob, whole.log_prob[[7, 70]])
        assert len(np.unique(whole.tokens, axis=0)) > 90
    assert (whole.tokens[:, ::3] == known[:, ::3]).all()
    other = model.sample(TWO_CHAINS, range(100), seed=6, known=known)
    assert (other.tokens != whole.tokens).mean() > 0.2


@both
def test_draws_of_a_frame_are_samples_with_its_known_tokens(name):
    """Draw k of frame i is frame 3 i + k of a run whose rows are repeated."""
    model = model_of(shaken(name, 20))
    known = np.full((12, 19), -1)
    known[:, ::3] = some_tokens(12, 7, 20).numpy()
    for given in (None, known[0], known):
        drawn = model.sample(TWO_CHAINS, range(12), seed=5, known=given, draws=3)
        rows = given if given is None or given.ndim == 1 else given.repeat(3, 0)
        each = model.sample(TWO_CHAINS, range(36), seed=5, known=rows)
        np.testing.assert_array_equal(drawn.tokens, each.tokens)
        np.testing.assert_allclose(drawn.log_prob, each.log_prob, atol=1e-4)
        part = given if given is None or given.ndim == 1 else given[[5, 9]]
        few = model.sample(TWO_CHAINS, [5, 9], seed=5, known=part, draws=3)
        np.testing.assert_array_equal(
            few.tokens, drawn.tokens.reshape(12, 3, -1)[[5, 9]].reshape(6, -1)
        )


@both
def test_a_known_beginning_is_read_at_once_with_the_same_result(name):
    model = model_of(shaken(name, 20))
    known = some_tokens(1, 19, 20).numpy()[0]
    known[12:15] = -1
    once = model.sample(TWO_CHAINS, range(20), seed=5, known=known)
    stepped = model.sample(TWO_CHAINS, range(20), seed=5, known=np.tile(known, (20, 1)))
    np.testing.assert_array_equal(once.tokens, stepped.tokens)
    np.testing.assert_allclose(
        once.log_prob, model.log_prob(once.tokens, TWO_CHAINS, known), atol=1e-4
    )
    assert len(np.unique(once.tokens, axis=0)) > 10


@both
def test_what_does_not_apply_is_named(name):
    model = model_of(shaken(name, use_sequence=False))
    with pytest.raises(ValueError, match="steps is 5"):
        model.sample("ACD", [0], seed=0, steps=5)
    with pytest.raises(ValueError, match="known has shape"):
        model.sample("ACD", [0], seed=0, known=np.zeros(4, int))
    tokens = some_tokens(2, 3).numpy()
    np.testing.assert_array_equal(model.log_prob(tokens, "ACD"), model.log_prob(tokens, "WWW"))
    if name == "gpt":
        with pytest.raises(ValueError, match="without sequences"):
            model.log_prob_sequence("ACD")
        with pytest.raises(ValueError, match="length is 1"):
            model_of(shaken("gpt")).sample_pairs(1, [0], seed=0)


@pytest.mark.slow
@both
def test_training_learns_a_joint_and_its_conditionals(name):
    p = joint(V, 3, seed=4)
    every = np.array(list(itertools.product(range(V), repeat=3)))
    network = fresh(name).train()
    rows, steps, optimizer = 96, 300, torch.optim.Adam(network.parameters())
    letters, _, index = (x.expand(rows, -1) for x in sequence_tensors("ACD", CPU))
    batch = {"amino_acids": letters, "index": index, "mask": torch.ones_like(index).bool()}
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    for step in range(steps):
        batch["tokens"] = torch.as_tensor(every[rng.choice(len(every), rows, p=p.ravel())])
        batch["spans"] = torch.rand(rows, 3).argsort(1) < torch.randint(1, 3, (rows, 1))
        nats, count = autoregressive_terms(network, batch, 1, infilling=0.5)["token"]
        optimizer.zero_grad()
        (nats.sum() / count.sum()).backward()
        optimizer.param_groups[0]["lr"] = 8e-3 * (1 - step / steps)
        optimizer.step()
    model = model_of(network.eval())
    learned = model.log_prob(every, "ACD")
    assert (p.ravel() * (np.log(p.ravel()) - learned)).sum() < 0.02  # nats above the entropy
    # Given the last token: what is missed is less than half of what it tells about the others.
    missed = told = 0.0
    for last in range(V):
        weight, given = p[:, :, last].sum(), every[every[:, 2] == last]
        conditional = p[:, :, last].ravel() / weight
        learned = model.log_prob(given, "ACD", np.array([-1, -1, last]))
        missed += weight * (conditional * (np.log(conditional) - learned)).sum()
        told += weight * (conditional * np.log(conditional / p.sum(2).ravel())).sum()
    assert missed < told / 2 and told > 0.3


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    directory = write_shards(tmp_path_factory.mktemp("shards"))
    rng = np.random.default_rng(0)
    for path in directory.glob("*.atoms.npy"):
        tokens = rng.integers(0, V, len(np.load(path, mmap_mode="r"))).astype(np.int16)
        np.save(directory / path.name.replace("atoms", "tokens"), tokens)
    meta = {"tokenizer": "toy", "vocabulary": V, "data": index_checksum(directory)}
    (directory / "tokens.json").write_text(json.dumps(meta))
    assert len(ShardDataset(directory)) == 24
    return directory


def train(shards, name, directory, steps=2, **options):
    training = {**TINY_LM["training"], "steps": steps}
    config = {"family": name, "model": SIZES[name], "training": training, "data": {"residues": 256}}
    return train_language_model(config, shards, shards, directory, progress=False, **options)


@both
def test_the_trainer_exports_what_the_registry_loads(name, shards, tmp_path):
    where = train(shards, name, tmp_path)
    model = load_language_model(where, "cpu")
    assert model.network.kind == name
    drawn = model.sample(TWO_CHAINS, [3], seed=0)
    assert drawn.log_prob[0] == pytest.approx(model.log_prob(drawn.tokens, TWO_CHAINS)[0], abs=1e-4)
    with open(tmp_path / "log.csv") as handle:
        row = next(csv.DictReader(handle))
    expected = float(row["nats_per_token"])
    if name == "gpt":
        assert 2 < float(row["nats_per_amino_acid"]) < 5
        expected += float(row["nats_per_amino_acid"])
    assert float(row["loss"]) == pytest.approx(expected, rel=1e-5)
    with open(tmp_path / "validation.csv") as handle:
        assert 0.5 < float(next(csv.DictReader(handle))["nats_per_token"]) < 3


def test_a_trunk_is_a_start_for_other_families(shards, tmp_path, caplog):
    torch.manual_seed(5)
    donor = MaskedDiffusion(MaskedDiffusionConfig(vocabulary=V, **SIZES["t5"]))
    save_module(tmp_path / "donor", donor)
    with caplog.at_level(logging.INFO):
        made = starting_network("t5", SIZES["t5"], V, tmp_path / "donor")
    assert "are initialised from" in caplog.text
    weight = donor.trunk[1].qkv.weight
    assert torch.equal(made.trunk[1].qkv.weight, weight)
    gpt = starting_network("gpt", SIZES["gpt"], V, tmp_path / "donor")
    assert torch.equal(gpt.trunk[1].qkv.weight, weight)
    # What the encoder adds for unknown tokens starts at zero: its trunk says what the donor's did.
    inputs = sequence_tensors(TWO_CHAINS, CPU)
    with torch.no_grad():
        state = made.read(*inputs, torch.full_like(inputs[0], -1)).state
        assert torch.allclose(state, donor.condition(*inputs).state, atol=1e-2)
    with pytest.raises(SLMError, match="no weight of its trunk"):
        starting_network("gpt", {"width": 48, "layers": 1, "heads": 2}, V, tmp_path / "donor")
    where = train(shards, "t5", tmp_path / "run", init_from=tmp_path / "donor")
    assert load_language_model(where, "cpu").network.kind == "t5"


def test_the_family_is_that_of_the_option_then_config_then_start(shards, tmp_path):
    t5 = train(shards, "t5", tmp_path / "t5", steps=1)
    plain = {"training": {**TINY_LM["training"], "steps": 1}, "data": {"residues": 256}}
    where = train_language_model(
        plain, shards, shards, tmp_path / "more", init_from=t5, progress=False
    )
    assert load_language_model(where, "cpu").network.kind == "t5"
    config = {**plain, "family": "t5", "model": SIZES["gpt"]}
    where = train_language_model(
        config, shards, shards, tmp_path / "gpt", family="gpt", progress=False
    )
    assert load_language_model(where, "cpu").network.kind == "gpt"
    with pytest.raises(SLMError, match="family is 'rnn'"):
        train_language_model(
            {**plain, "family": "rnn"}, shards, shards, tmp_path / "x", progress=False
        )
