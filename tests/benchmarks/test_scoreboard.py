"""``benchmark all``: intervals, equal numbers in a row, and runs that are continued."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from builders import helix, ideal_backbone
from reference_sets import write_references

from openmm_slm.benchmarks import scoreboard, scoreboard_ensembles, scoreboard_parts
from openmm_slm.benchmarks.intervals import interval, mean_interval, median_interval
from openmm_slm.benchmarks.other_packers import in_one_rotamer
from openmm_slm.benchmarks.scoreboard import benchmark_all
from openmm_slm.benchmarks.scoreboard_ensembles import best_tm
from openmm_slm.benchmarks.scoreboard_sections import WIDTH, Row, Section, Sections
from openmm_slm.data.shards import Entry, ShardWriter

QUIET = {"device": "cpu", "processes": 1, "progress": False}
TINY = {"chains": 1, "n": 4, "pairs": 1}
ROW = Row("gain, mean", -0.0012, -0.0121, 0.0114, 15, {"first": 0.0, "ANM": math.nan}, "beat all")


# -- intervals -------------------------------------------------------------------------------


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution():
    values = np.random.default_rng(1).normal(3, 2, 400)
    value, low, high = mean_interval(values)
    assert value == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    np.testing.assert_allclose([low, high], [value - half, value + half], atol=0.1 * half)


def test_intervals_of_medians_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(2)
    hits = 0
    for values in rng.exponential(size=(100, 40)):
        _, low, high = interval(40, lambda drawn, x=values: np.median(x[drawn]), draws=200)
        hits += low <= math.log(2) <= high
    assert 88 <= hits <= 100


def test_what_is_not_finite_does_not_count_and_one_protein_has_no_interval():
    assert median_interval([1.0, math.nan, 3.0])[0] == 2.0
    value, low, high = median_interval([4.0])
    assert value == 4.0 and math.isnan(low) and math.isnan(high)
    assert all(map(math.isnan, median_interval([])))
    drawn = interval(3, lambda numbers: float("nan") if len(set(numbers)) < 2 else 1.0)
    assert drawn == (1.0, 1.0, 1.0)


# -- figures ---------------------------------------------------------------------------------


def entry(length: int) -> Entry:
    count = np.arange(length, dtype=np.int32)
    return Entry(
        "x", "test", "x", "A" * length, helix(length), 0 * count, count, count == 0
    )  # fmt: skip


def test_the_best_sample_counts_over_the_residues_that_both_have():
    rng = np.random.default_rng(0)
    native = helix(60)[:, 1]
    wrong = rng.normal(size=(5, 60, 3)).astype(np.float32)
    assert best_tm(entry(60), np.concatenate([wrong, native[None]])) == pytest.approx(1, abs=1e-3)
    assert best_tm(entry(60), wrong) < 0.5
    assert best_tm(entry(40), native[None]) == pytest.approx(1, abs=1e-3)  # a longer chain's
    assert best_tm(entry(60), native[None, :40]) == pytest.approx(1, abs=1e-3)


def test_letters_are_shuffled_and_hidden_in_place():
    one = entry(30)
    letters = "ACDEFGHIKLMNPQRSTVWYACDEFGHIKL"
    one = Entry(*(letters if name == "sequence" else value for name, value in vars(one).items()))
    mixed = scoreboard_parts.shuffled(one)
    assert mixed != letters and sorted(mixed) == sorted(letters)
    assert mixed == scoreboard_parts.shuffled(one)
    assert scoreboard_parts.hidden(one) == "X" * 30


def test_one_rotamer_is_that_rotamer_on_the_given_backbone():
    from openmm_slm.allatom.rotamers import chi_torsions, has_atom
    from openmm_slm.models.registry import load_packer
    from openmm_slm.protein.sequence import encode_sequence

    sequence = "ACDEFGHIKLMNQRSTVWY"
    backbone = helix(len(sequence))[None]
    atoms = in_one_rotamer(load_packer("default", "cpu").network.builder)(backbone, sequence)
    number = encode_sequence(sequence)
    np.testing.assert_array_equal(np.isfinite(atoms[0]).all(-1), has_atom[number])
    np.testing.assert_allclose(atoms[:, :, :4], backbone, atol=1e-5)
    chi = np.degrees(chi_torsions(atoms, number))[0, :, 0]
    np.testing.assert_allclose(chi[np.isfinite(chi)], -65, atol=0.1)


# -- the table -------------------------------------------------------------------------------


def test_lines_fit_the_page():
    long = "samples each of 15 of 90 pairs, " * 6
    wide = Row("x" * 33, 99.94, 99.91, 100.0, 999, {}, "report", 1)
    lines = Section(long, (ROW, wide)).lines()
    assert max(map(len, lines)) <= WIDTH
    assert "-0.001 [-0.012, 0.011]" in lines[-2]
    assert lines[-2].split()[-4:] == ["-", "beat", "all", "15"]


def test_sections_are_read_back_as_they_were(tmp_path):
    run = {"n": 4}
    section = Section("a title", (ROW, Row("b", np.float64(1.5), n=3)), 1.5)
    Sections(tmp_path / "out", run).add("one", section)
    back = Sections(tmp_path / "out", run).found["one"]
    assert back.lines() == section.lines() and back.seconds == 1.5
    with pytest.raises(ValueError, match="holds figures of n 4, not 5"):
        Sections(tmp_path / "out", {"n": 5})
    (tmp_path / "out" / "two.section.json").write_text("[]")
    with pytest.raises(ValueError, match=r"two.section.json: not a section"):
        Sections(tmp_path / "out", run)


# -- the whole -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("scoreboard")
    rng = np.random.default_rng(0)
    writer = ShardWriter(root / "shards", atoms=4, prefix="backbone")
    for number, split in enumerate(("test", "test", "test", "test_related", "test_related")):
        length = 41 + number
        angles = np.radians([[-60], [-45]] + rng.normal(0, 8, (2, length)))
        xyz = ideal_backbone(*angles, np.full(length, np.pi))
        sequence = "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), length))
        numbers, broken = np.arange(1, length + 1), np.zeros(length, bool)
        writer.add(
            f"c{number}", sequence, xyz, broken, numbers, split=split, cluster=f"f{number}"
        )  # fmt: skip
    writer.close()
    return root / "shards", write_references(root / "references")


def test_a_stopped_run_goes_on_where_it_was(data, tmp_path, monkeypatch):
    measured = []

    def quick(name: str, stop: str = ""):
        def measure(plan, workers):
            if name == stop:
                raise KeyboardInterrupt
            measured.append(name)
            return Section(f"{name} of {plan.n}", (ROW,))

        return measure

    monkeypatch.setattr(scoreboard, "SECTIONS", {n: quick(n, "c") for n in "abc"})
    with pytest.raises(KeyboardInterrupt):
        benchmark_all(*data, tmp_path / "out", **TINY, **QUIET)
    monkeypatch.setattr(scoreboard, "SECTIONS", {n: quick(n) for n in "abc"})
    table = benchmark_all(*data, tmp_path / "out", **TINY, **QUIET)
    assert measured == ["a", "b", "c"]
    assert [f"{n} of 4" in table for n in "abc"] == [True] * 3
    monkeypatch.setattr(scoreboard, "SECTIONS", dict.fromkeys("abc"))  # nothing is done again
    assert benchmark_all(*data, tmp_path / "out", **TINY, **QUIET) == table
    part = benchmark_all(*data, tmp_path / "out", **TINY, **QUIET, only=["b"])
    assert "b of 4" in part and "a of 4" not in part
    with pytest.raises(ValueError, match="no section 'd'; use a, b, c"):
        benchmark_all(*data, tmp_path / "out", **TINY, **QUIET, only=["d"])
    with pytest.raises(ValueError, match="holds figures of n 4, not 5"):
        benchmark_all(*data, tmp_path / "out", **TINY | {"n": 5}, **QUIET)


def test_data_that_are_missing_cost_one_section(data):
    """These shards have backbones alone."""
    table = benchmark_all(*data, **TINY, **QUIET, only=["side_chains"])
    assert "side chains: not measured" in table


@pytest.mark.slow
def test_tokens_tell_more_than_shuffled_ones(data, tmp_path):
    wanted = ("reconstruction", "language_model")
    benchmark_all(*data, tmp_path / "out", **TINY, **QUIET, only=wanted)
    sections = Sections(tmp_path / "out", json.loads((tmp_path / "out" / "run.json").read_text()))
    rows = {row.figure: row for each in sections.found.values() for row in each.rows}
    lddt = rows["lDDT (CA)"]
    assert lddt.n == 3 and lddt.low <= lddt.value <= lddt.high
    assert lddt.value > lddt.baselines["shuffled"]
    assert rows["CA RMSD, L <= 64, A"].value < rows["CA RMSD, L <= 64, A"].baselines["shuffled"]
    nats = rows["nats per token, test_related"]
    assert nats.n == 2 and nats.value < nats.baselines["uniform"]
    gained = rows["gained by the sequence, test"]
    assert gained.value == pytest.approx(
        rows["nats per token, test"].baselines["hidden"] - rows["nats per token, test"].value,
        abs=0.1,  # a difference of medians, not the median of differences
    )


@pytest.mark.slow
def test_every_row_compares_equal_numbers(data, tmp_path, monkeypatch):
    """As many samples of the model as of each baseline, in what is compared."""
    seen: dict[str, set[int]] = {"tm": set(), "md": set()}

    def counted(kind, function, number):
        def count(*arguments, **settings):
            seen[kind].add(number(*arguments))
            return function(*arguments, **settings)

        return count

    monkeypatch.setattr(
        scoreboard_ensembles, "best_tm", counted("tm", best_tm, lambda entry, ca: len(ca))
    )
    figures = scoreboard_ensembles.ensemble_figures
    monkeypatch.setattr(
        scoreboard_ensembles,
        "ensemble_figures",
        counted("md", figures, lambda samples, reference: samples.n_frames),
    )
    wanted = ("from_sequence", "apo_holo", "md")
    benchmark_all(*data, tmp_path / "out", **TINY | {"chains": 2}, **QUIET, only=wanted)
    assert seen["tm"] == {4} and seen["md"] == {4}
    found = {
        path.name.removesuffix(".section.json"): json.loads(path.read_text())
        for path in (tmp_path / "out").glob("*.section.json")
    }
    assert set(found) == set(wanted)
    rows = {row["figure"]: row for section in found.values() for row in section["rows"]}
    assert rows["md: RMSF r"]["n"] == 4 and set(rows["md: RMSF r"]["baselines"]) == {
        "floor", "jitter", "ANM",
    }  # fmt: skip
    assert rows["from template: gain of TM, mean"]["baselines"]["first"] == pytest.approx(0)
    assert rows["best TM of 4, test"]["baselines"]["other"] > 0
