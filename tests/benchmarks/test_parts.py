"""Benchmarks of several tables: speed, relaxation, seeding; and what they share."""

from __future__ import annotations

import json
import math
import time
from types import SimpleNamespace

import numpy as np
import pytest
from builders import ideal_backbone

from openmm_slm.allatom.hydrogens import PlacedAtoms
from openmm_slm.benchmarks import relaxation, seeding, speed, stages
from openmm_slm.benchmarks.benchmark_workers import Workers
from openmm_slm.benchmarks.commands import kill_command, run_command
from openmm_slm.benchmarks.memory import peak_memory
from openmm_slm.benchmarks.parts import Part, measure_parts
from openmm_slm.benchmarks.proteins import PROTEINS, choose_proteins
from openmm_slm.benchmarks.results import ResultTable
from openmm_slm.benchmarks.spoiled_frames import D_RESIDUE, FAULTS, NOISE, TWISTED, spoil
from openmm_slm.benchmarks.text_table import Column, text_table
from openmm_slm.protein.trajectory import backbone_trajectory
from openmm_slm.relaxation.judging import FrameJudge
from openmm_slm.sampling.ensemble import EnsembleGenerator

QUIET = {"device": "cpu", "progress": False}


# -- tables ----------------------------------------------------------------------------------


def test_a_table_shows_units_digits_and_what_is_absent():
    rows = {"one": {"d_nm": 0.12345, "off": 1.2e-7}, "another": {"d_nm": math.nan}}
    columns = {"d, A": Column("d_nm", 2, 10), "off": Column("off", None)}
    assert [line.split() for line in text_table("title", rows, columns).splitlines()] == [
        ["title"], ["d,", "A", "off"], ["one", "1.23", "1.2e-07"], ["another", "-", "-"],
    ]  # fmt: skip


def test_tables_of_one_folder_have_one_run(tmp_path):
    ResultTable(tmp_path, {"n": 2}, "one").add("x", {"a": 0.1, "b": math.nan})
    again = ResultTable(tmp_path, {"n": 2}, "one")
    assert again.rows["x"]["a"] == 0.1 and math.isnan(again.rows["x"]["b"])
    assert not ResultTable(tmp_path, {"n": 2}, "two").rows
    with pytest.raises(ValueError, match="holds figures of n 2, not 3"):
        ResultTable(tmp_path, {"n": 3}, "two")
    memory = ResultTable(None, {"n": 2})
    memory.add("x", {"a": 1.0})
    assert memory.rows == {"x": {"a": 1.0}}


def test_parts_are_measured_once(tmp_path, monkeypatch):
    monkeypatch.setattr(Workers, "generator", None)  # nothing is sampled
    calls = []

    def measure(generator, target, n, seed):
        calls.append((target, n, seed))
        return {"square": float(target) ** 2}

    columns = {"square": Column("square", 0)}
    parts = {
        name: Part("squares", {str(i): i for i in (2, 3)}, measure, columns) for name in ("a", "b")
    }
    given = ({"n": 5, "seed": 7}, "default", "cpu", False)
    table = measure_parts(parts, ("b",), tmp_path, *given)
    assert table.splitlines()[0] == "b: squares" and calls == [(2, 5, 7), (3, 5, 7)]
    assert measure_parts(parts, ("b",), tmp_path, *given) == table and len(calls) == 2
    assert measure_parts(parts, (), tmp_path, *given).count("squares") == 2 and len(calls) == 4
    assert (tmp_path / "b.csv").read_text() == "id,square\n2,4.0\n3,9.0\n"
    assert json.loads((tmp_path / "run.json").read_text()) == {"n": 5, "seed": 7}
    with pytest.raises(ValueError, match="no part 'c'; use a, b"):
        measure_parts(parts, ("c",), None, *given)


def test_proteins_are_named():
    assert choose_proteins((), ("BPTI",)) == ["BPTI"]
    assert choose_proteins(("GB1",)) == ["GB1"] and len(PROTEINS["BPTI"]) == 58
    with pytest.raises(ValueError, match="no protein 'gb1'; use chignolin"):
        choose_proteins(("gb1",))


# -- speed -----------------------------------------------------------------------------------


def test_memory_of_a_command_is_its_own():
    """Not that of the process that starts it, which Linux would count."""
    filled = np.ones(2**26)  # 512 MiB
    assert peak_memory() > 512
    cost = run_command("--help")
    assert 5 < cost["memory_mib"] < 200 and cost["cpu_seconds"] < cost["seconds"] + 1
    assert filled[-1] == 1
    with pytest.raises(ValueError, match=r"sample --none ended with code 2: (.|\n)*No such option"):
        run_command("sample", "--none")


def test_a_command_is_killed_once_it_counts_so_many_frames(tmp_path):
    (tmp_path / "progress.json").write_text('{"frames": 3}')
    begin = time.monotonic()
    # Killed as it starts: a million samples would take hours.
    kill_command("sample", "A" * 30, "-n", 10**6, "-o", tmp_path / "out", output=tmp_path, frames=3)
    assert time.monotonic() - begin < 60


def test_stages_add_up_to_the_whole_and_are_measured_only_while_asked():
    generator = EnsembleGenerator.from_pretrained("default", "cpu")
    before = generator.packer.pack, PlacedAtoms.place
    made = stages.stage_costs(generator, stages.Run("GYDPETGTWGKLACDE", 3, False), 0, 1)
    assert (generator.packer.pack, PlacedAtoms.place) == before
    assert sum(made[name] for name in stages.STAGES) == pytest.approx(made["total"])
    assert sum(made[f"{name}_share"] for name in stages.STAGES) == pytest.approx(1)
    never = {name for name in stages.STAGES if made[name] <= 0}
    assert never == {"start"}  # there is no template
    assert made["per_frame"] == pytest.approx(made["total"] / 3)


def test_a_stage_counts_without_the_stages_that_it_calls():
    clock = stages.StageClock()

    def busy(seconds: float) -> None:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    inner = clock.timed(busy, "inner")
    with clock.stage("outer"):
        busy(0.02)
        inner(0.06)
        busy(0.02)
    busy(0.02)
    assert clock.seconds["outer"] == pytest.approx(0.04, abs=0.01)
    assert clock.seconds["inner"] == pytest.approx(0.06, abs=0.01)


def test_data_to_prepare_are_asked_for():
    with pytest.raises(ValueError, match="prepare needs structures"):
        speed.benchmark_speed(parts=("prepare",), **QUIET)


# -- relaxation ------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS)
def test_spoiled_frames_have_their_fault(peptide, fault):
    judge = FrameJudge(peptide.topology)
    before, after = (judge.report(x.xyz) for x in (peptide, spoil(peptide, fault)))
    assert before["valid"].all() and not after["valid"].all()
    expected = {D_RESIDUE: "d_residues", TWISTED: "wrong_omega", NOISE: "broken_bonds"}[fault]
    assert (before[expected] == 0).all() and (after[expected] > 0).any()
    if fault == D_RESIDUE:
        assert (after["d_residues"] == 1).all()


def test_yield_counts_frames_before_after_and_repaired():
    report = {
        "valid": np.array([True, True, False, True]),
        "valid_before": np.array([True, False, False, False]),
        "repair": np.array(["", "projected", "projected", ""], object),
    }
    found = relaxation.counts(report)
    assert found == {"frames": 4, "valid_before": 1, "valid": 3, "repaired": 1}


def test_a_reported_energy_that_is_off_is_seen(peptide, monkeypatch):
    monkeypatch.setattr(relaxation, "sampled", lambda *args, **kwargs: peptide[:1])
    target = ("chignolin", relaxation.FIELDS[0])
    assert relaxation.energy(None, target, 1, 0)["difference"] < 1e-5
    true = relaxation.relax

    def wrong(*args, **kwargs):
        result = true(*args, **kwargs)
        result.report["energy_after_kj_mol"] *= 1.01
        return result

    monkeypatch.setattr(relaxation, "relax", wrong)
    assert relaxation.energy(None, target, 1, 0)["difference"] == pytest.approx(0.01, rel=1e-3)


def test_frames_are_valid_and_simulations_finite(peptide, monkeypatch):
    monkeypatch.setattr(relaxation, "sampled", lambda *args, **kwargs: peptide[:2])
    monkeypatch.setattr(relaxation, "STEPS", 20)
    relaxation.relaxed.cache_clear()
    found = relaxation.valid_frames(None, ("chignolin", ""), 2, 0)
    assert found["valid"] == 2 and found["d_residues"] == 0 and 0.2 < found["closest_nm"] < 0.4
    assert 0 < found["ca_nm"] < 0.1
    ran = relaxation.dynamics(None, ("chignolin", relaxation.FIELDS[0]), 2, 0)
    assert ran == {"frames": 2.0, "finite": 2.0}
    relaxation.relaxed.cache_clear()


# -- seeding ---------------------------------------------------------------------------------


def test_compact_frames_are_valid_ones():
    length = 10
    straight = ideal_backbone(*(np.full(length, x) for x in (-2.1, 2.3, np.pi)))
    scale = np.array([1.0, 0.5, 0.8, 0.9])[:, None, None, None]
    ensemble = SimpleNamespace(
        trajectory=backbone_trajectory((scale * straight).astype(np.float32), "A" * length),
        report={"valid": np.array([True, False, True, True])},
    )
    assert seeding.most_compact(ensemble, 2) == [2, 3]


def test_a_seed_that_turns_into_its_mirror_image_is_not_sound(peptide, monkeypatch):
    ensemble = SimpleNamespace(trajectory=peptide, report={"valid": np.ones(4, bool)})
    monkeypatch.setattr(seeding, "relaxed_samples", lambda *args: ensemble)

    def simulations(mirror):
        def seeds(ensemble, frames, **settings):
            for frame in frames:
                xyz = peptide.xyz[frame] * (-1 if mirror else 1)
                state = SimpleNamespace(
                    getPositions=lambda asNumpy, x=xyz: SimpleNamespace(_value=x),
                    getPotentialEnergy=lambda: SimpleNamespace(_value=-1.0),
                )
                context = SimpleNamespace(getState=lambda state=state, **_: state)
                yield SimpleNamespace(step=lambda steps: None, context=context)

        return seeds

    for mirror, sound in ((False, 2), (True, 0)):
        monkeypatch.setattr(seeding, "seed_simulations", simulations(mirror))
        found = seeding.running_seeds(None, ("Trp-cage", "implicit", 5), 2, 0)
        assert (found["seeds"], found["sound"]) == (2, sound)
        assert found["fewest_atoms"] == peptide.n_atoms and found["lowest_kj_mol"] == -1
