"""ESM3 and ESMDiff: the classes of the esm package, tiny and with random weights, from disk."""

from __future__ import annotations

import math
import types
from dataclasses import replace

import mdtraj
import numpy as np
import pytest
import torch
from builders import helix
from click.testing import CliRunner

import openmm_slm
from openmm_slm.cli.main import main
from openmm_slm.errors import ModelError
from openmm_slm.language.esm3 import ESM3Model, ESMDiffModel
from openmm_slm.language.esm3_network import ESM3Network, ESMDiffConfig, ESMDiffNetwork
from openmm_slm.language.iterative import annealed, iterative_sample, nucleus, still_masked
from openmm_slm.language.sampling import ancestral_sample
from openmm_slm.models.esm3_import import FILES, import_esm3
from openmm_slm.models.registry import check_parts, find_model, load_language_model, verify_model
from openmm_slm.networks.esm3_tokens import SEQUENCE, esm3_layout, structure_row
from openmm_slm.networks.storage import load_module, save_module, tokenizer_fingerprint
from openmm_slm.projection.close_peptides import close_peptide_bonds
from openmm_slm.protein.geometry import peptide_bond_lengths, place_oxygen
from openmm_slm.protein.protein import Protein
from openmm_slm.protein.sequence import sequence_layout
from openmm_slm.protein.superposition import rmsd
from openmm_slm.protein.trajectory import backbone_trajectory
from openmm_slm.tokenizer.esm3 import ESM3Tokenizer, ESM3TokenizerNetwork
from openmm_slm.tokenizer.known_frames import fit_to_frames

pytest.importorskip("esm", reason="needs the esm package (openmm_slm[esm3])")

SEQUENCE_OF_10 = "GYDPETGTWG"
CHAINS = ("ACDEFGHIKL", "MNPQRSTVWY")
QUIET = {"progress": False, "device": "cpu"}


@pytest.fixture(scope="module")
def published():
    """ESM3, encoder and decoder of the package; weights made larger, for tokens that differ."""
    from esm.models.esm3 import ESM3
    from esm.models.vqvae import StructureTokenDecoder, StructureTokenEncoder

    torch.manual_seed(0)
    tokenizers = types.SimpleNamespace(sequence=types.SimpleNamespace(mask_token_id=32))
    esm3 = ESM3(64, 1, 4, 2, None, None, None, tokenizers)
    encoder = StructureTokenEncoder(64, 1, 8, 2, 8, 4096)
    decoder = StructureTokenDecoder(64, 1, 2)
    with torch.no_grad():
        for name, weight in encoder.named_parameters():
            weight.mul_(1 if "norm" in name else 4)
    return esm3.eval(), encoder.eval(), decoder.eval()


@pytest.fixture(scope="module")
def release(published, tmp_path_factory):
    """A folder with the files of the release."""
    folder = tmp_path_factory.mktemp("release")
    (folder / "data" / "weights").mkdir(parents=True)
    for module, name in zip(published, FILES, strict=True):
        torch.save(module.state_dict(), folder / "data" / "weights" / name)
    return folder


@pytest.fixture(scope="module")
def imported(release, tmp_path_factory):
    return import_esm3(release, tmp_path_factory.mktemp("models") / "esm3")


@pytest.fixture
def at_hand(imported, monkeypatch):
    """`model="esm3"` finds the weights."""
    monkeypatch.setenv("OPENMM_SLM_ESM3", str(imported))


@pytest.fixture(scope="module")
def esmdiff(imported, tmp_path_factory):
    torch.manual_seed(1)
    where = tmp_path_factory.mktemp("models") / "esmdiff"
    network = ESMDiffNetwork(ESMDiffConfig(64, 1, 4, 2))
    save_module(where, network, tokenizer=tokenizer_fingerprint(imported / "tokenizer"))
    return where


@pytest.fixture(scope="module")
def tokenizer(imported):
    return ESM3Tokenizer.load(imported / "tokenizer")


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


def test_the_schedule_of_iterative_decoding_is_that_of_the_package():
    from esm.utils.generation import _get_annealed_temperature
    from esm.utils.noise_schedules import cosine_schedule

    for total in (1, 2, 7, 58, 200):
        for steps in {1, min(2, total), min(25, total), total}:
            for step in range(steps):
                ours = [torch.tensor([x]) for x in (step, steps, total)]
                share = cosine_schedule(torch.tensor((step + 1) / steps))
                assert int(still_masked(*ours)) == int((share * torch.tensor(total) + 0.1).int())
                heat = _get_annealed_temperature(step, steps, 1.4)
                assert float(annealed(1.4, *ours[:2])) == pytest.approx(heat)


def test_the_nucleus_is_that_of_the_package():
    from esm.utils.sampling import top_p_logits

    logits = 3 * torch.randn(50, 40, generator=torch.Generator().manual_seed(0))
    expected = top_p_logits(logits.clone(), 0.9).softmax(-1).double()
    ours = nucleus(logits, 0.9).softmax(-1)
    assert torch.allclose(ours, expected, atol=1e-6) and ((ours > 0) == (expected > 0)).all()


def test_iterative_decoding_keeps_to_its_numbers_and_temperatures():
    """A constant denoiser: draws at each step follow the annealed, cut distribution."""
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, -4.0])
    calls = []

    def denoise(tokens, where, time):
        calls.append(where.sum(1))
        return logits.expand(int(where.sum()), -1)

    rows, length, steps = 3000, 12, 4
    uniforms = torch.rand(2, rows, length, dtype=torch.float64)
    known = torch.full((rows, length), -1)
    known[:, 5] = 3
    tokens, log_prob = iterative_sample(denoise, known, uniforms, 5, steps, 1.4, 0.9)
    total = 11
    left = [int(math.cos(math.pi / 2 * (k + 1) / steps) * total + 0.1) for k in range(steps)]
    assert [int(c[0]) for c in calls] == [
        -b + a for a, b in zip([total, *left], left, strict=False)
    ]
    assert (tokens[:, 5] == 3).all() and (tokens < 5).all()
    last = uniforms[0].masked_fill(known >= 0, -1).argmax(1)
    coldest = (logits[:3].double() / annealed(1.4, *map(torch.tensor, (3, 4)))).softmax(-1)
    drawn = tokens.gather(1, last[:, None])[:, 0]
    share = torch.bincount(drawn, minlength=5) / rows
    assert torch.allclose(share[:3].double(), coldest, atol=0.03) and share[3:].sum() == 0
    assert torch.isfinite(log_prob).all()


def test_one_ancestral_step_is_the_published_one():
    """Plain NumPy: P(unmask) = (m_t - m_s) / m_t with m = (1 - eps) t; the rest at t = 1e-5."""
    rng, length, steps, end, eps = np.random.default_rng(0), 40, 25, 1e-5, 1e-3
    logits = rng.normal(size=(length, 16))
    when, what = rng.random((2, length))
    when[7] = end / 2  # stays masked to the end
    seen, times = [], []

    def denoise(tokens, where, time):
        seen.append(tokens[0].numpy().copy())
        times.append(float(time[0]))
        return torch.tensor(logits)[where[0]]

    uniforms = torch.tensor(np.stack([when, what]))[:, None]
    tokens, _ = ancestral_sample(denoise, torch.full((1, length), -1), uniforms, 16, steps, end=end)
    seen.append(tokens[0].numpy())
    state = np.full(length, 16)
    grid = np.linspace(1, end, steps + 1)
    expected = []
    for t, s in zip(grid[:-1], grid[1:], strict=True):
        m_t, m_s = (1 - eps) * t, (1 - eps) * s
        masked = state == 16
        # when is uniform below t for a token that is still masked.
        now = masked & (1 - when / t < (m_t - m_s) / m_t)
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        drawn = (p.cumsum(1) > what[:, None]).argmax(1)
        if now.any():
            expected.append((t, state.copy()))
        state = np.where(now, drawn, state)
    expected.append((end, state.copy()))
    state = np.where(state == 16, logits.argmax(1), state)
    assert np.allclose(times, [t for t, _ in expected], atol=1e-12)
    for ours, (_, theirs) in zip(seen, expected, strict=False):
        assert np.array_equal(ours, theirs)
    assert np.array_equal(tokens[0].numpy(), state)


@pytest.fixture(scope="module")
def samplers(imported, esmdiff):
    return {
        "esm3": ESM3Model(load_module(imported / "language_model", ESM3Network)),
        "esmdiff": ESMDiffModel(load_module(esmdiff, ESMDiffNetwork)),
    }


@pytest.mark.parametrize("name", ["esm3", "esmdiff"])
def test_frames_do_not_depend_on_the_batch_and_known_tokens_stay(samplers, name):
    model, sequence = samplers[name], ":".join(CHAINS)
    for order in model.orders:
        options = {"seed": 3, "order": order, "steps": 6}
        whole = model.sample(sequence, range(12), **options)
        part = model.sample(sequence, [9, 4], **options)
        assert np.array_equal(part.tokens, whole.tokens[[9, 4]])
        assert np.array_equal(part.log_prob, whole.log_prob[[9, 4]])
        assert whole.tokens.min() >= 0 and whole.tokens.max() < 4096
        known = whole.tokens[0].copy()
        known[8:13] = -1  # across the chain break
        filled = model.sample(sequence, range(3), known=known, **options)
        assert np.array_equal(filled.tokens[:, known >= 0], np.tile(known[known >= 0], (3, 1)))
        assert (filled.tokens >= 0).all() and len(np.unique(filled.tokens, axis=0)) == 3
    bound, error = model.log_prob_and_error(whole.tokens[:3], sequence, draws=4)
    assert np.isfinite(bound).all() and (error > 0).all()


def test_the_denoiser_is_the_network_at_the_residues(samplers):
    """No position is off by one: what is asked at residue l is the logits of residue l."""
    model, sequence = samplers["esmdiff"], ":".join(CHAINS)
    tokens = torch.full((1, 20), 4096)
    tokens[0, 3] = 11
    where = tokens == 4096
    time = torch.tensor([0.7], dtype=torch.float64)
    with torch.no_grad():
        ours = model.read(sequence)(1)(tokens, where, time)
        row, positions = esm3_layout(CHAINS)
        structure = structure_row(np.where(tokens == 4096, -1, tokens), positions, len(row))
        logits = model.network(torch.tensor(row)[None], torch.tensor(structure), time)
    expected = logits[0, positions, :4096][where[0]]
    assert torch.allclose(ours, expected, atol=1e-5)
    assert not torch.allclose(ours[0], expected[1], atol=1e-3)
    # The letters of masked residues are in view: one changes all logits.
    with torch.no_grad():
        other = model.read("W" + sequence[1:])(1)(tokens, where, time)
    assert (other - ours).abs().max(1).values.min() > 1e-6


def test_an_ensemble_by_name_path_and_release(at_hand, imported, release, esmdiff, tmp_path):
    ens = [
        openmm_slm.generate_ensemble(SEQUENCE_OF_10, n=3, model=model, seed=1, **QUIET)
        for model in ("esm3", imported, esmdiff)
    ]
    assert np.array_equal(ens[0].xyz, ens[1].xyz)
    default = openmm_slm.generate_ensemble(SEQUENCE_OF_10, n=1, seed=1, **QUIET)
    assert all(one.topology == default.topology for one in ens)
    lines = verify_model("esm3")
    assert "esm3_tokenizer" in lines[0] and "language_model: esm3" in lines[1]
    assert load_language_model("esm3", "cpu").guided
    shown = CliRunner().invoke(main, ["models", "show", "esm3"]).output
    assert "licence of their own" in shown


def test_runs_are_extended_and_say_what_was_meant(at_hand, esmdiff, tmp_path):
    options = {"model": esmdiff, "seed": 5, "sidechains": None, **QUIET}
    openmm_slm.generate_ensemble(SEQUENCE_OF_10, n=3, output=tmp_path / "a", **options)
    openmm_slm.generate_ensemble(SEQUENCE_OF_10, n=7, output=tmp_path / "a", resume=True, **options)
    whole = openmm_slm.generate_ensemble(SEQUENCE_OF_10, n=7, output=tmp_path / "b", **options)
    a, b = (
        mdtraj.load(str(p / "samples.xtc"), top=str(p / "topology.pdb"))
        for p in (tmp_path / "a", whole)
    )
    assert np.array_equal(a.xyz, b.xyz)
    options["model"] = "esm3"
    openmm_slm.generate_ensemble(SEQUENCE_OF_10, n=1, output=tmp_path / "c", **options)
    assert '"temperature": 1.4' in (tmp_path / "c" / "run.json").read_text()
    assert '"temperature": 1.0' in (tmp_path / "a" / "run.json").read_text()


@pytest.mark.parametrize("model", ["esm3", "esmdiff"])
def test_templates_and_loops(at_hand, esmdiff, model):
    where = esmdiff if model == "esmdiff" else "esm3"
    sequence = "ACDEFGHIKLMNPQR"
    template = backbone_trajectory(helix(15)[None], sequence)
    gen = openmm_slm.EnsembleGenerator.from_pretrained(where, device="cpu")
    options = {"template": template, "seed": 2, "sidechains": None, "progress": False}
    tokens = gen.tokenizer.encode(template)[0]
    loop = gen.sample(sequence, n=2, resample=[5, 6, 7], fragments=None, **options)
    kept, own = np.r_[0:5, 8:15], template.xyz.reshape(1, 15, 4, 3)
    # Tokens do not know the loop; those of two residues on each side are sampled too.
    alone = gen.tokenizer.encode_backbone(own, np.isin(np.arange(15), kept)[None], np.arange(15))
    away = np.r_[0:3, 10:15]
    assert np.array_equal(loop.tokens[:, away], np.tile(alone[0, away], (2, 1)))
    xyz = loop.trajectory.xyz.reshape(2, 15, 4, 3)
    assert np.array_equal(xyz[:, kept, :3], np.broadcast_to(own, xyz.shape)[:, kept, :3])
    assert np.isfinite(xyz).all() and np.abs(xyz[:, 5:8] - own[:, 5:8]).max() > 0.01
    held = gen.sample(sequence, n=2, noise=0.2, deform=0, **options)
    assert np.isfinite(held.trajectory.xyz).all()
    assert 0 < (held.tokens != tokens).sum() <= 2 * 4


def test_a_language_model_is_not_run_with_another_tokenizer(at_hand, imported, esmdiff, tmp_path):
    check_parts(esmdiff)
    network = load_module(esmdiff, ESMDiffNetwork)
    save_module(tmp_path / "other", network, tokenizer="0" * 16)
    with pytest.raises(ModelError, match="trained on the tokens of tokenizer 0000"):
        check_parts(tmp_path / "other")
    save_module(tmp_path / "named", network, tokenizer="esm3_tokenizer")
    check_parts(tmp_path / "named")


def test_missing_weights_are_told_where_to_go(monkeypatch, tmp_path):
    for name in ("HF_HOME", "OPENMM_SLM_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("OPENMM_SLM_ESM3", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match=f"{FILES[0]}.*data/weights.*--accept-licence"):
        find_model("esm3")
    monkeypatch.setenv("OPENMM_SLM_ESM3", str(tmp_path))
    with pytest.raises(ModelError, match="OPENMM_SLM_ESM3.*neither"):
        find_model("esm3")
    run = CliRunner()
    asked = run.invoke(main, ["models", "download", "esm3"])
    assert asked.exit_code == 2
    assert asked.output.index("Non-Commercial") < asked.output.index("with --accept-licence")


def test_a_folder_of_the_release_is_converted_once(release, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENMM_SLM_CACHE", str(tmp_path))
    where = find_model(release)
    before = (where / "config.json").stat().st_mtime_ns
    monkeypatch.setenv("OPENMM_SLM_ESM3", str(release))
    assert find_model("esm3") == where and where.parent == tmp_path
    assert (where / "config.json").stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == [where.name]


class Bomb:
    def __reduce__(self):
        import os

        return os.mkdir, ("bomb-went-off",)


def test_nothing_in_the_files_is_executed_and_wrong_weights_are_named(
    published, release, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    files = {path.name: path.read_bytes() for path in (release / "data" / "weights").iterdir()}
    bad = tmp_path / "bad"
    bad.mkdir()

    def put(name, value):
        for other, data in files.items():
            (bad / other).write_bytes(data)
        torch.save(value, bad / name)

    put(FILES[0], {"weights": Bomb()})
    with pytest.raises(ModelError, match=FILES[0]):
        import_esm3(bad, tmp_path / "out")
    assert not (tmp_path / "bomb-went-off").exists()
    put(FILES[1], [1, 2])
    with pytest.raises(ModelError, match="something other than named tensors"):
        import_esm3(bad, tmp_path / "out")
    state = published[2].state_dict()
    put(FILES[2], {key: value for key, value in state.items() if key != "plddt_head.dense.bias"})
    with pytest.raises(ModelError, match="plddt_head.dense.bias"):
        import_esm3(bad, tmp_path / "out")
    put(FILES[0], state)
    with pytest.raises(ModelError, match="not those of ESM3"):
        import_esm3(bad, tmp_path / "out")
    (bad / FILES[1]).unlink()
    answer = CliRunner().invoke(main, ["models", "import-esm3", str(bad), "-o", "out"])
    assert answer.exit_code == 2 and "are missing" in answer.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad"]


def test_sizes_follow_from_the_weights(imported):
    tokenizer = load_module(imported / "tokenizer", ESM3TokenizerNetwork)
    assert tokenizer.config.decoder_layers == 2 and tokenizer.config.encoder_v_heads == 8
    network = load_module(imported / "language_model", ESM3Network)
    assert network.config == replace(network.config, d_model=64, n_heads=1, v_heads=4, n_layers=2)
