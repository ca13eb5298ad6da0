"""Pairs of conformers: definitions on cases with known answers, and resuming."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from builders import helix
from reference_sets import bent, quick_sampler, write_references

import openmm_slm
from openmm_slm.benchmarks import apo_holo
from openmm_slm.benchmarks.apo_holo import benchmark_apo_holo
from openmm_slm.benchmarks.clustenm import clustenm
from openmm_slm.benchmarks.conformer_pairs import (
    align_to,
    distances_after_fit,
    flexibility,
    on_sequence,
    pooled_correlation,
    score_pair,
    tm_to,
)
from openmm_slm.benchmarks.references import load_pair, read_references
from openmm_slm.benchmarks.samplers_and_baselines import PAIR_SAMPLERS

SHARED = Path(__file__).parents[3] / "shared/benchmarks"
SHARED = Path(os.environ.get("OPENMM_SLM_REFERENCES", SHARED))
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="no references directory")


@pytest.fixture
def references(tmp_path) -> Path:
    return write_references(tmp_path / "references")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setitem(PAIR_SAMPLERS, "from sequence", quick_sampler)


# -- definitions -----------------------------------------------------------------------------


def test_residues_are_aligned_as_few_gaps_as_can_be():
    assert align_to("ACDEF", "ACDEF").tolist() == [0, 1, 2, 3, 4]
    assert align_to("MACDEFGH", "CDEG").tolist() == [2, 3, 4, 6]
    assert align_to("AACCGGTTK", "ACCGGTT").tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert align_to("ACDEFGH", "ACKEFGH").tolist() == list(range(7))  # a mutation, not two gaps
    assert align_to("GGGGAGGGG", "GGGG").tolist() in ([0, 1, 2, 3], [5, 6, 7, 8])
    assert align_to("CDEF", "ACDEFG").tolist() == [-1, 0, 1, 2, 3, -1]


def test_residues_that_are_absent_are_nan():
    ca = helix(4)[:, 1]
    out = on_sequence(ca, "CDEG", "MACDEFGH")
    assert np.isnan(out).all(-1).tolist() == [True, True, False, False, False, True, False, True]
    np.testing.assert_array_equal(out[[2, 3, 4, 6]], ca)


def test_identical_structures_have_a_tm_score_of_one_and_no_flexibility():
    x = bent(0)[:, 1].astype(float)
    y = bent(60)[:, 1].astype(float)
    turned = np.stack([x @ rotation(k) + k for k in range(5)])
    row = score_pair(x, x, turned)
    for name in ("tm_first", "tm_second", "tm_pair", "tm_samples"):
        assert row[name] == pytest.approx(1, abs=1e-4)
    assert np.isnan(row["r"]) and row["f"] < 1e-4
    row = score_pair(x, y, turned)  # the trivial baseline
    assert row["gain"] == pytest.approx(0, abs=1e-3)
    assert (row["tm_first"] + row["tm_second"]) / 2 == pytest.approx((1 + row["tm_pair"]) / 2, 1e-3)


def rotation(seed: int) -> np.ndarray:
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return q * np.sign(np.linalg.det(q))


def test_samples_of_both_conformers_are_perfect():
    x, y = (bent(angle)[:, 1].astype(float) for angle in (0, 60))
    row = score_pair(x, y, np.stack([x, y @ rotation(1), x @ rotation(2)]))
    assert row["tm_first"] == row["tm_second"] == pytest.approx(1, abs=1e-4)
    assert row["gain"] == pytest.approx(1 - tm_to(y, x[None])[0], abs=1e-3)
    assert row["r"] == pytest.approx(1, abs=1e-3)  # two of three pairs differ: f = sqrt(2/3) g


def test_flexibility_is_the_root_mean_square_over_pairs():
    x = np.stack([bent(angle)[:, 1].astype(float) for angle in (0, 30, 70)])
    pairs = [distances_after_fit(x[i], x[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    np.testing.assert_allclose(flexibility(x), np.sqrt(np.mean(np.square(pairs), 0)))


def test_tm_scores_are_normalised_by_the_samples():
    x = bent(0)[:, 1].astype(float)
    part = x.copy()
    part[15:] = np.nan
    assert tm_to(part, x[None])[0] == pytest.approx(15 / 20, abs=1e-4)
    assert tm_to(x, part[None])[0] == pytest.approx(1, abs=1e-4)
    assert tm_to(x, part[None], 20)[0] == pytest.approx(15 / 20, abs=1e-4)


def test_pooled_sums_give_the_correlation_of_all_residues():
    rng = np.random.default_rng(0)
    data = [rng.normal(size=(2, size)) + [[3], [5 + size]] for size in (30, 50, 9)]
    rows = [
        {"residues": g.size, "g": g.sum(), "f": f.sum(), "gg": g @ g, "ff": f @ f, "gf": g @ f}
        for g, f in data
    ]
    expected = np.corrcoef(np.concatenate(data, 1))[0, 1]
    assert pooled_correlation(rows) == pytest.approx(expected, abs=1e-10)


@pytest.mark.slow
@needs_shared
def test_the_first_conformer_alone_has_the_published_tm_ens():
    """0.901 over 90 pairs: TM-score, alignment and normalisation are those of the definition."""
    scores = []
    for pair in read_references(SHARED):
        if pair.is_pair:
            first, second = (
                on_sequence(x.backbone[0, :, 1].astype(float), x.sequence, pair.sequence)
                for x in load_pair(pair)
            )
            scores.append((1 + tm_to(second, first[None])[0]) / 2)
    assert len(scores) == 90
    assert np.mean(scores) == pytest.approx(0.901, abs=0.001)


# -- apo-holo --------------------------------------------------------------------------------

QUIET = {"device": "cpu", "n": 3, "progress": False}


def test_a_stopped_run_resumes_to_the_same_table(references, tmp_path, monkeypatch, quick):
    whole = benchmark_apo_holo(references, tmp_path / "whole", **QUIET)
    score, done = apo_holo.score_target, []

    def stopped(generator, pair, *settings):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(pair.id)
        return score(generator, pair, *settings)

    monkeypatch.setattr(apo_holo, "score_target", stopped)
    with pytest.raises(KeyboardInterrupt):
        benchmark_apo_holo(references, tmp_path / "stopped", **QUIET)
    monkeypatch.setattr(
        apo_holo, "score_target", lambda *args: (done.append(args[1].id), score(*args))[1]
    )
    assert benchmark_apo_holo(references, tmp_path / "stopped", **QUIET) == whole
    assert done == ["a", "b", "c"]
    folders = [tmp_path / name for name in ("whole", "stopped")]
    assert len({(folder / "run.json").read_text() for folder in folders}) == 1
    assert figures(folders[0]) == figures(folders[1])
    monkeypatch.setattr(apo_holo, "score_target", None)  # nothing is done again
    assert benchmark_apo_holo(references, tmp_path / "whole", **QUIET) == whole
    assert whole.startswith("3 pairs, 3 samples each")
    assert "AlphaFlow*" in whole and "0.864" in whole


def figures(folder: Path) -> list[dict[str, str]]:
    """Rows of ``targets.csv``, without times."""
    with open(folder / "targets.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    return [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in rows]


def test_other_settings_do_not_mix(references, tmp_path, quick):
    benchmark_apo_holo(references, tmp_path / "out", **QUIET, limit=1)
    with pytest.raises(ValueError, match="holds figures of seed 0, not 1; choose another"):
        benchmark_apo_holo(references, tmp_path / "out", **QUIET, limit=1, seed=1)
    (tmp_path / "out" / "targets.csv").write_text("id,x\na,b\n")
    with pytest.raises(ValueError, match="targets.csv: not the figures"):
        benchmark_apo_holo(references, tmp_path / "out", **QUIET, limit=1)
    with pytest.raises(ValueError, match="limit is 0"):
        benchmark_apo_holo(references, tmp_path / "out", **QUIET, limit=0)
    with pytest.raises(ValueError, match="n is 1; .*needs two"):
        benchmark_apo_holo(references, tmp_path / "out", **QUIET | {"n": 1})
    with pytest.raises(ValueError, match="against has 'amber'; give clustenm"):
        benchmark_apo_holo(references, tmp_path / "out", **QUIET, against=("amber",))


def test_clustenm_minimises_moved_structures():
    pytest.importorskip("prody", reason="ProDy is needed by this comparison alone")
    start = openmm_slm.generate_ensemble("GYDPETGTWG", 1, seed=1, progress=False)
    start.xyz += np.random.default_rng(0).normal(0, 0.005, start.xyz.shape)
    made = clustenm(start, 3, 0)
    assert 1 <= len(made) <= 3 and made.n_residues == 10
    assert openmm_slm.geometry_report(made)["clashes"].sum() == 0


@pytest.mark.slow
def test_two_processes_give_the_table_of_one(references, tmp_path):
    settings = {**QUIET, "n": 2, "limit": 2}
    one = benchmark_apo_holo(references, tmp_path / "one", **settings)
    assert benchmark_apo_holo(references, tmp_path / "two", **settings, processes=2) == one
