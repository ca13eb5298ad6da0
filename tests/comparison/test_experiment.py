"""Predicted observables equal independent evaluations; reweighting brings averages together."""

from __future__ import annotations

import mdtraj as md
import numpy as np
import pytest
from builders import ideal_backbone
from helices import SEQUENCE, ensemble

import openmm_slm
from openmm_slm.comparison.experiment_file import read_experiment
from openmm_slm.comparison.observables import predict
from openmm_slm.errors import SLMError, StructureError
from openmm_slm.protein.trajectory import backbone_trajectory

pytest.importorskip("pandas")


def lengths(**values: float) -> list[dict]:
    return [
        {"observable": name, "value": value, "error": 0.05, "unit": "nm"}
        for name, value in values.items()
    ]


def coupling(residue: str, value: float = 6.0, observable: str = "3J_HN_HA") -> dict:
    row = {"observable": observable, "value": value, "error": 0.5, "unit": "Hz"}
    return {**row, "residue": residue}


def predicted(trajectory, *records: dict) -> np.ndarray:
    return predict(trajectory, read_experiment(records)).values


@pytest.fixture(scope="module")
def mixed():
    """60 frames, half of them helical and half extended, of 16 residues numbered from 1."""
    rng = np.random.default_rng(0)
    x = [
        ideal_backbone(*np.radians(rng.normal((phi, psi, 180), (12, 12, 3), (16, 3))).T)
        for phi, psi in ((-65, -45), (-80, 140))
        for _ in range(30)
    ]
    return backbone_trajectory(np.array(x), SEQUENCE)


def test_radius_of_gyration_is_weighted_with_masses(mixed):
    mass = np.array([atom.element.mass for atom in mixed.topology.atoms])
    x = mixed.xyz.astype(float)
    pairs = ((x[:, :, None] - x[:, None]) ** 2).sum(-1)  # no centre is needed
    squares = np.einsum("a,b,fab->f", mass, mass, pairs) / (2 * mass.sum() ** 2)
    assert np.allclose(predicted(mixed, *lengths(rg=1.3))[:, 0], np.sqrt(squares), rtol=1e-5)


def test_waters_have_no_part_in_it(mixed):
    water = md.Topology()
    residue = water.add_residue("HOH", water.add_chain())
    water.add_atom("O", md.element.oxygen, residue)
    far = md.Trajectory(np.full((60, 1, 3), 9.0, np.float32), water)
    assert np.allclose(predicted(mixed.stack(far), *lengths(rg=1.3)),
                       predicted(mixed, *lengths(rg=1.3)))  # fmt: skip


def test_end_to_end_is_the_distance_of_ca(mixed):
    ca = mixed.xyz[:, mixed.topology.select("name CA")]
    whole, part = predicted(
        mixed, *lengths(end_to_end=4.0),
        {**lengths(end_to_end=1.5)[0], "residue": "A:5-9"},
    ).T  # fmt: skip
    assert np.allclose(whole, np.linalg.norm(ca[:, -1] - ca[:, 0], axis=-1), atol=1e-5)
    assert np.allclose(part, np.linalg.norm(ca[:, 8] - ca[:, 4], axis=-1), atol=1e-5)


def test_couplings_are_those_of_mdtraj(mixed):
    """MDTraj has the same Karplus parameters, for L residues."""
    atoms, expected = md.compute_J3_HN_HA(mixed, model="Bax2007")
    rows = atoms[:, 1] // 4
    usable = [k for k, row in enumerate(rows) if SEQUENCE[row] not in "GP"]
    found = predicted(mixed, *(coupling(f"A:{rows[k] + 1}") for k in usable))
    assert np.allclose(found, expected[:, usable], atol=1e-4)
    assert found[:30].mean() < 5 < 6 < found[30:].mean()  # helix, strand


def test_torsions_of_the_hydrogens_themselves_give_the_couplings():
    """H-N-CA-HA of frames with hydrogens; glycine has HA2 where others have HA, and HA3."""
    traj = openmm_slm.generate_ensemble("AFGKGVA", n=6, seed=1, progress=False, relatives=None)

    def through(row: int, hydrogen: str) -> np.ndarray:
        names = [{a.name: a.index for a in r.atoms} for r in traj.topology.residues][row]
        torsion = md.compute_dihedrals(traj, [[names[n] for n in ("H", "N", "CA", hydrogen)]])[:, 0]
        return 8.40 * np.cos(torsion) ** 2 - 1.36 * np.cos(torsion) + 0.33

    found = predicted(
        traj, coupling("A:2"), coupling("A:3", observable="3J_HN_HA2"),
        coupling("A:3", observable="3J_HN_HA3"), coupling("A:3"), coupling("A:6"),
    )  # fmt: skip
    expected = [through(1, "HA"), through(2, "HA2"), through(2, "HA3"), through(5, "HA")]
    assert np.allclose(found[:, [0, 1, 2, 4]], np.transpose(expected), atol=1.2)
    assert np.abs(found[:, 1] - expected[2]).max() > 3  # not the other hydrogen
    assert np.allclose(found[:, 3], found[:, 1:3].mean(1))


def test_the_mean_is_taken_after_the_karplus_equation_and_of_squared_lengths(mixed):
    records = [*lengths(rg=1.3, end_to_end=4.0), coupling("A:7")]
    weights = np.r_[np.ones(30), np.full(30, 2.0)]
    found = openmm_slm.compare(mixed, experiment=records, weights=weights).experiment
    value = found.table["value"].to_numpy()
    frames = predicted(mixed, *records)
    mean_square = np.average(frames**2, axis=0, weights=weights)
    assert value[:2] == pytest.approx(np.sqrt(mean_square[:2]))
    assert value[2] == pytest.approx(np.average(frames[:, 2], weights=weights))
    chi = (value - [1.3, 4.0, 6.0]) / [0.05, 0.05, 0.5]
    assert found.table["chi"].to_numpy() == pytest.approx(chi)
    assert found.chi_square == pytest.approx((chi**2).mean())


def test_units_of_the_table_are_those_of_the_file(mixed):
    one, ten = (
        openmm_slm.compare(mixed, experiment=[record]).experiment.table.iloc[0]
        for record in ({**lengths(rg=1.3)[0]}, {"observable": "rg", "value": 13, "error": 0.5,
                                                 "unit": "Å"})
    )  # fmt: skip
    assert 10 * one["value"] == pytest.approx(ten["value"]) and ten["unit"] == "Å"
    assert one["chi"] == pytest.approx(ten["chi"])


def test_reweighting_finds_a_hidden_mixture(mixed):
    """The experiment has 20 % of the extended half; Rg and couplings give it back."""
    hidden = np.r_[np.full(30, 0.8), np.full(30, 0.2)]
    records = [*lengths(rg=1.0), coupling("A:5"), coupling("A:10")]
    truth = openmm_slm.compare(mixed, experiment=records, weights=hidden).experiment.table["value"]
    for record, value in zip(records, truth, strict=True):
        record["value"], record["error"] = value, 0.02 * value
    found = openmm_slm.compare(mixed, experiment=records, reweight=True).experiment
    new = found.reweighting
    assert found.chi_square > 20 and new.chi_square <= 1
    assert new.weights[30:].sum() == pytest.approx(0.2, abs=0.05)
    # Two halves with shares of 0.8 and 0.2 and nothing else changed: exp(-KL) = 0.82.
    assert new.effective_share == pytest.approx(0.82, abs=0.07)
    again = openmm_slm.compare(mixed, experiment=records, weights=new.weights).experiment
    assert again.table["value"].to_numpy() == pytest.approx(found.table["reweighted"].to_numpy())


def test_metrics_against_a_reference_have_the_new_weights(mixed):
    helical = mixed[:30]
    truth = np.sqrt((predicted(helical, *lengths(rg=1.0)) ** 2).mean())
    options = {"tica_lag": None, "n_bootstrap": 0, "experiment": lengths(rg=truth + 0.1)}
    plain, new = (
        openmm_slm.compare(mixed, helical, reweight=each, **options) for each in (False, True)
    )
    assert new.table.value["MAE-Rg"] < 0.5 * plain.table.value["MAE-Rg"]
    assert np.allclose(new.profiles["weights"], 60 * new.experiment.reweighting.weights)
    assert new.settings["effective share of frames"] == round(
        new.experiment.reweighting.effective_share, 4
    )


def test_an_ensemble_without_the_experiment_is_refused(mixed):
    with pytest.raises(SLMError, match="does not contain the experiment"):
        openmm_slm.compare(mixed, experiment=lengths(rg=1.8), reweight=True)


def test_an_ensemble_object_is_taken_for_its_frames(mixed):
    class Holder:
        trajectory = mixed

    found = openmm_slm.compare(Holder(), experiment=lengths(rg=1.3))
    assert found.table.empty and found.settings["samples"] == 60


@pytest.mark.parametrize(
    ("record", "named"),
    [
        (coupling("B:5"), "names chain 'B'; the samples have A"),
        (
            coupling("A:17"),
            "names residue 17, which its chain has 0 times; the residues are 1 to 16",
        ),
        (coupling("A:5C"), "names residue 5C"),
        (coupling("A:1"), "no residue bonded before it"),
        (coupling("A:8"), "is a proline, which has no HN"),
        (coupling("A:5", observable="3J_HN_HA2"), "which has one HA; give 3J_HN_HA"),
        ({**lengths(end_to_end=1.0)[0], "residue": "A:5-5"}, "of a residue from itself"),
        ({**lengths(end_to_end=1.0)[0], "residue": "A:5-99"}, "names residue 99"),
        (lengths(end_to_end=9.0)[0], "16 residues have 0 to 6.3 nm: check the unit"),
        (lengths(rg=13.0)[0], "rg is 13 nm; 16 residues have .* check the unit .nm."),
        ({**lengths(rg=1.3)[0], "unit": "A"}, "rg is 0.13 nm"),
    ],
)
def test_what_the_chain_does_not_have(mixed, record, named):
    with pytest.raises(StructureError, match=named):
        openmm_slm.compare(mixed, experiment=[record])


def test_two_chains_need_a_name():
    two = ensemble("GSDKIE:APLWTRHN")
    assert predicted(two, coupling("B:5")).shape == (12, 1)
    for record in (coupling("5"), lengths(end_to_end=2.0)[0]):
        with pytest.raises(StructureError, match="names no chain of A, B"):
            openmm_slm.compare(two, experiment=[record])


def test_frames_of_ca_have_no_couplings_but_lengths(mixed, caplog):
    trace = mixed.atom_slice(mixed.topology.select("name CA"))
    assert predicted(trace, *lengths(rg=1.3, end_to_end=4.0)).shape == (60, 2)
    assert "no side chains" in caplog.text
    with pytest.raises(StructureError, match="needs the atom N"):
        predicted(trace, coupling("A:5"))


def test_frames_that_are_not_finite_are_named(mixed):
    broken = mixed[:]
    broken.xyz[7] = np.nan
    for record in (lengths(rg=1.3)[0], coupling("A:5")):
        with pytest.raises(StructureError, match="frame 7 has coordinates that are not finite"):
            openmm_slm.compare(broken, experiment=[record])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "nothing to compare with"),
        ({"reweight": True, "reference": True}, "reweight needs an experiment"),
        ({"theta": 2.0, "experiment": True}, "theta is for reweighting"),
        ({"theta": 0.0, "experiment": True, "reweight": True}, "theta is 0"),
        ({"lengths": [30, 30], "experiment": True}, "belong to a reference"),
        ({"weights": np.ones(3), "experiment": True}, "weights has shape"),
    ],
)
def test_arguments_that_do_not_belong_together(mixed, arguments, named):
    given = dict(arguments)
    if given.pop("experiment", False):
        given["experiment"] = lengths(rg=1.3)
    if given.pop("reference", False):
        given["reference"] = mixed
    with pytest.raises(StructureError, match=named):
        openmm_slm.compare(mixed, **given)
