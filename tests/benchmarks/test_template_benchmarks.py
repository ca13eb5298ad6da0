"""Benchmarks of samples from a template: settings, loops, complexes; figures with known answers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from builders import helix, ideal_backbone
from reference_sets import write_references
from small_library import write_small_library

from openmm_slm.benchmarks import complexes, loop_targets, loops, templates
from openmm_slm.benchmarks.samplers_and_baselines import template_settings
from openmm_slm.data.shards import Entry, ShardWriter
from openmm_slm.library.registry import load_library
from openmm_slm.protein.structure import from_backbone
from openmm_slm.protein.trajectory import backbone_trajectory

QUIET = {"device": "cpu", "progress": False}


def coil(length: int, seed: int = 0) -> np.ndarray:
    """A backbone [L, 4, 3] without helix or strand."""
    rng = np.random.default_rng(seed)
    phi, psi = np.radians(rng.choice([-70.0, 60.0], length)), np.radians(rng.uniform(0, 90, length))
    return ideal_backbone(phi, psi, np.full(length, np.pi)).astype(np.float32)


def entry(backbone: np.ndarray, sequence: str, chain_index: np.ndarray | None = None) -> Entry:
    length = len(sequence)
    chain_index = np.zeros(length, np.int32) if chain_index is None else chain_index
    first = np.diff(chain_index, prepend=-1) != 0
    numbers = np.arange(length, dtype=np.int32)
    return Entry("x", "test", "x", sequence, backbone, chain_index, numbers, first)


def sampled(backbone: np.ndarray, sequence: str) -> SimpleNamespace:
    """What a generator would return for these frames, half of them valid."""
    valid = np.arange(len(backbone)) % 2 == 0
    report = {"valid": valid, "segment_score": -np.abs(np.arange(len(backbone)) - 2.0)}
    return SimpleNamespace(trajectory=backbone_trajectory(backbone, sequence), report=report)


# -- settings --------------------------------------------------------------------------------


def test_settings_are_all_combinations_and_the_default_deform_is_not_named():
    found = template_settings((0.1, 0.3), (1, 2))
    assert list(found) == ["noise 0.1", "noise 0.1 x 2", "noise 0.3", "noise 0.3 x 2"]
    assert found["noise 0.3 x 2"] == {"noise": 0.3, "rounds": 2}
    found = template_settings((0.1,), (3,), (0.0, 0.2))
    assert list(found) == ["noise 0.1 x 3, deform 0", "noise 0.1 x 3, deform 0.2"]
    assert found["noise 0.1 x 3, deform 0.2"] == {"noise": 0.1, "rounds": 3, "deform": 0.2}


def test_fluctuations_of_a_known_size():
    """Samples that move twice as far as the MD: r is 1, the ratio 2; reversed, r is below 0."""
    rng = np.random.default_rng(0)
    mean = helix(20)[:, 1].astype(np.float64)
    move = 0.004 * np.linspace(1, 4, 20)[:, None] * rng.normal(size=(400, 20, 3))
    found = templates.fluctuation_figures(mean + 2 * move, mean, mean + move)
    assert found["rmsf_r"] == pytest.approx(1, abs=0.02)
    assert found["rmsf_ratio"] == pytest.approx(2, abs=0.02)
    assert found["rmsd_nm"] == pytest.approx(2 * np.sqrt((move**2).sum(-1).mean()), rel=0.15)
    assert templates.fluctuation_figures(mean + move[:, ::-1], mean, mean + move)["rmsf_r"] < 0


def test_templates_continue_and_tell_wider_samples(tmp_path, monkeypatch):
    """Samples at noise 1 spread twice as far as at noise 0.1; a finished set is not sampled."""
    calls = []

    def sample(generator, sequence, n, seed, template, sidechains, noise, rounds):
        calls.append(noise)
        rng = np.random.default_rng(seed)
        move = rng.normal(0, 0.02 * (1 + (noise == 1)), (n, template.n_residues, 1, 3))
        return sampled((template.backbone + move).astype(np.float32), sequence)

    monkeypatch.setattr(templates, "sample_quietly", sample)
    references = write_references(tmp_path / "references")
    settings = {**QUIET, "n": 40, "noise": (0.1, 1.0)}
    table = templates.benchmark_templates(references, tmp_path / "out", **settings)
    assert calls == [0.1, 1.0] and "md: 40 samples each" in table
    narrow, wide, network = (line.split() for line in table.splitlines()[2:5])
    assert float(wide[-4]) == pytest.approx(2 * float(narrow[-4]), abs=0.06)
    assert float(wide[-2]) == pytest.approx(2 * float(narrow[-2]), abs=0.06)
    assert narrow[-1] == "50" and network[0] == "ANM" and network[-1] == "-"
    assert templates.benchmark_templates(references, tmp_path / "out", **settings) == table
    assert len(calls) == 2
    with pytest.raises(ValueError, match="holds figures of settings"):
        templates.benchmark_templates(references, tmp_path / "out", **QUIET, n=40, noise=(0.5,))
    with pytest.raises(ValueError, match="no target 'x'"):
        templates.benchmark_templates(references, **QUIET, targets=("x",))


# -- loops -----------------------------------------------------------------------------------


def test_a_loop_is_coil_and_a_helix_has_none():
    assert len(loop_targets.coil_stretch(entry(helix(50).astype(np.float32), "A" * 50))) == 0
    rows = loop_targets.coil_stretch(entry(coil(50), "A" * 50))
    assert 8 <= len(rows) <= 12 and rows[0] >= 5 and rows[-1] < 45
    assert (np.diff(rows) == 1).all()


def test_cdr_h3_of_a_known_antibody():
    """Trastuzumab: SRWGGDGFYAMDY by IMGT, of which the first two residues follow the cysteine."""
    heavy = (
        "EVQLVESGGGLVQPGGSLRLSCAASGFNIKDTYIHWVRQAPGKGLEWVARIYPTNGYTRYADSVKGRFTISADTSKNTAYLQMN"
        "SLRAEDTAVYYCSRWGGDGFYAMDYWGQGTLVTVSS"
    )
    light = "D" * 80 + "QHYTTPPTFGQGTKVEIK"
    rows = loop_targets.cdr_h3(heavy)
    assert heavy[rows[0] : rows[-1] + 1] == "WGGDGFYAMDY"
    domains = loop_targets.variable_domains([light, heavy])
    assert domains["H"][0] == len(light) and domains["L"][0] == 0


def test_figures_of_a_loop_that_is_displaced(monkeypatch):
    sequence, rows = "A" * 40, np.arange(15, 25)
    native = from_backbone(coil(40)[None], sequence)
    frames = np.repeat(native.backbone, 4, 0)
    for frame, size in enumerate((0.1, 0.2, 0.3, 0.4)):
        frames[frame, rows, :, 0] += size
    given = []

    def sample(*args, fragments, **kwargs):
        given.append(fragments)
        return sampled(frames, sequence)

    monkeypatch.setattr(loops, "sample_quietly", sample)
    found = loops.score_loop(None, loop_targets.Loop(native, rows, "1ABC"), 4, 0)
    assert given == [{"splits": ["train"], "exclude": ["1ABC"]}]  # no loop finds itself
    assert found["best_nm"] == pytest.approx(0.1, abs=1e-5)
    assert found["median_nm"] == pytest.approx(0.25, abs=1e-5)
    assert found["top_nm"] == pytest.approx(0.3, abs=1e-5)
    assert found["valid"] == 0.5 and found["fixed"] == 1.0
    assert found["bond_nm"] > 0.1  # the loop was torn off
    frames[0, 3, 1, 2] += 0.001
    assert loops.score_loop(None, loop_targets.Loop(native, rows), 4, 0)["fixed"] == 0.0


def test_library_chains_that_have_a_loop_nearly_are_named(tmp_path):
    sequences = write_small_library(tmp_path)
    library = load_library(tmp_path / "library")
    loop = sequences["chain4"][20:30]
    changed = "".join("W" if x != "W" else "A" for x in loop[:3]) + loop[3:]
    assert loops.similar_chains(library, changed) == ["chain4"]  # 70 % are the same
    other = "".join("W" if x != "W" else "A" for x in loop[:4]) + loop[4:]
    assert loops.similar_chains(library, other) == []


def test_random_closures_are_chains_and_keep_the_rest():
    native, rows = from_backbone(helix(40).astype(np.float32)[None], "A" * 40), np.arange(15, 25)
    closed = loops.random_closures(native, rows, 3, 0)
    bonds = np.linalg.norm(closed[:, 1:, 0] - closed[:, :-1, 2], axis=-1)
    assert np.abs(bonds - 0.133).max() < 0.015
    fixed = np.isin(np.arange(40), rows, invert=True)
    np.testing.assert_array_equal(
        closed[:, fixed, :3], np.repeat(native.backbone[:, fixed, :3], 3, 0)
    )
    assert np.linalg.norm(closed[0, rows, 1] - closed[1, rows, 1], axis=-1).max() > 0.05


def test_loops_need_data_that_have_some(tmp_path):
    writer = ShardWriter(tmp_path / "shards", atoms=4, prefix="backbone")
    first = np.arange(50) == 0
    writer.add("a", "A" * 50, helix(50), first, np.arange(50), split="test", cluster="a")
    writer.close()
    with pytest.raises(ValueError, match="0 suitable gap-free chains"):
        loops.benchmark_loops(tmp_path / "shards", chains=1, **QUIET)


# -- complexes -------------------------------------------------------------------------------


def test_a_chain_that_drifts_is_seen_and_its_contacts_are_lost():
    one = helix(12).astype(np.float64)
    true = np.concatenate([one, one + [0.9, 0, 0]])[:, 1]
    chain = np.repeat([0, 1], 12)
    same = complexes.complex_figures(true[None], true, chain)
    assert same["rmsd_nm"] < 1e-6 and same["last_chain_nm"] < 1e-6 and same["contacts"] == 1.0
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    moved = true + np.where(chain[:, None] == 1, [5.0, 0, 0], 0)
    found = complexes.complex_figures((moved @ turn.T)[None], true, chain)
    assert found["last_chain_nm"] == pytest.approx(5)
    assert 1 < found["rmsd_nm"] < 5 and found["contacts"] == 0.0


def test_kinds_of_complexes():
    assert complexes.kind_of(["A" * 50, "A" * 30]) == "peptide"
    assert complexes.kind_of(["A" * 50, "AWGQG" * 10]) == "antibody"
    assert complexes.kind_of(["A" * 50, "A" * 50]) == "homodimer"
    assert complexes.kind_of(["A" * 50, "C" * 50]) == "other"


def test_complexes_of_each_kind_are_chosen_and_measured(tmp_path, monkeypatch):
    writer = ShardWriter(tmp_path / "shards", atoms=4, prefix="complex")
    backbone = np.concatenate([coil(40), coil(40, 1) + np.float32(3)])
    chain, gap = np.repeat([0, 1], 40), np.zeros((80, 1, 1), np.float32)
    gap[20:40] = 1  # of a nanometre, which no sequence of these residues can bridge
    chosen = (("e", "A", "0"), ("a", "A", "0"), ("b", "A", "0"), ("c", "C", "0"), ("d", "G", "1"))
    for name, second, seen in chosen:
        writer.add(
            name, f"{'A' * 40}:{second * 40}", backbone + gap * (name == "e"),
            np.diff(chain, prepend=-1) != 0, np.arange(80), chain, split="test", cluster=name,
            has_train_chain=seen,
        )  # fmt: skip
    writer.close()
    found = complexes.choose_complexes(tmp_path / "shards", ("absent", "test"), 1, 450)
    assert list(found) == ["a (homodimer)", "c (other)"]
    with pytest.raises(ValueError, match="no complete entries of several chains and at most 50"):
        complexes.choose_complexes(tmp_path / "shards", ("test",), 1, 50)

    def sample(generator, sequence, n, seed, template, noise, rounds):
        assert sequence == "A" * 40 + ":" + sequence[-1] * 40
        return sampled(np.repeat(template.backbone, n, 0), sequence)

    monkeypatch.setattr(complexes, "sample_quietly", sample)
    table = complexes.benchmark_complexes(
        tmp_path / "shards", tmp_path / "out", n=2, noise=(0.3,), **QUIET
    )
    (line,) = (line for line in table.splitlines() if line.startswith("median"))
    assert line.split()[-4:-2] == ["0.00", "0.00"] and line.split()[-1] == "50"
