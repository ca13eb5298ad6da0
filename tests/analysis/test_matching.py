"""Which residues two ensembles have in common, and what is said when they do not fit."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from helices import ensemble

import openmm_slm
from openmm_slm.analysis.matching import match
from openmm_slm.errors import SLMError, StructureError
from openmm_slm.protein.alignment import align

pytest.importorskip("pandas")
pytest.importorskip("deeptime")


def without(traj, rows):
    """The trajectory without the residues `rows`."""
    kept = [a.index for a in traj.topology.atoms if a.residue.index not in rows]
    return traj.atom_slice(kept)


def quick(samples, reference, **options):
    return openmm_slm.compare(samples, reference, **{"tica_lag": None, "n_bootstrap": 2} | options)


def test_atom_order_names_of_oxygen_and_numbers_do_not_matter():
    samples, reference = ensemble(), ensemble(seed=1, first=101)
    before = quick(samples, reference).table
    atoms = list(reversed(range(samples.n_atoms)))
    kept = samples.topology.to_dataframe()[0]
    residue_order = sorted(atoms, key=lambda i: (kept.resSeq[i], -i))
    shuffled = samples.atom_slice(range(samples.n_atoms))
    shuffled.xyz = samples.xyz[:, residue_order]
    names = [samples.topology.atom(i).name for i in residue_order]
    for atom, name in zip(shuffled.topology.atoms, names, strict=True):
        atom.name = "OT1" if name == "O" and atom.residue.index == 15 else name
    assert np.allclose(quick(shuffled, reference).table.value, before.value, atol=1e-6)


def test_ca_alone_gives_what_needs_ca_alone():
    samples, reference = ensemble(), ensemble(seed=1)
    traced = reference.atom_slice(reference.topology.select("name CA"))
    full, less = quick(samples, reference), quick(samples, traced)
    gone = set(full.table.index) - set(less.table.index)
    assert gone == {"DSSP difference", "JS-phi/psi", "3J(HN,HA)", "3J(HN,C)", "3J(HN,CB)"}
    assert np.allclose(full.table.value.drop(list(gone)), less.table.value, atol=1e-6)
    less.plot()


@pytest.mark.parametrize("renumbered", [False, True])
def test_missing_residues_are_left_out_and_nothing_is_computed_across_them(renumbered, caplog):
    samples = ensemble()
    reference = without(ensemble(seed=1), {0, 6, 7, 15})
    if renumbered:
        for number, residue in enumerate(reference.topology.residues, 40):
            residue.resSeq = number
    with caplog.at_level(logging.WARNING):
        matched = match(samples, reference)
    assert "12 residues in common of 16 and 12" in caplog.text
    assert matched.sequence == "SDKIELWTRHNV"
    assert np.diff(matched.position).tolist() == [1] * 4 + [3] + [1] * 6
    assert np.flatnonzero(matched.chain_break).tolist() == [0, 5]
    torsions = quick(samples, reference).profiles["torsions"]
    assert np.isnan(torsions[:, 4, 1]).all() and np.isnan(torsions[:, 5, 0]).all()


def test_residues_both_lack_are_known_by_their_numbers():
    pair = [without(ensemble(seed=seed), {8}) for seed in (0, 1)]
    assert np.diff(match(*pair).position).tolist() == [1] * 7 + [2] + [1] * 6


def test_repeats_are_told_apart_by_number():
    sequence = "GAAAAAAAAAAAAAAF"
    matched = match(ensemble(sequence), without(ensemble(sequence, seed=1), {5}))
    assert matched.labels[5] == "ALA7"


def test_two_chains_in_one_and_in_two():
    two, other = ensemble("GSDKIEAP:LWTRHNVF"), ensemble("GSDKIEAP:LWTRHNVF", seed=1)
    matched = match(two, other)
    assert matched.chain.tolist() == [0] * 8 + [1] * 8
    assert matched.position[8] - matched.position[7] >= 1000
    table = quick(two, other).table
    # Two chains: end-to-end is a mean over chains, and no bond joins them.
    ends = np.mean([np.linalg.norm(two.xyz[:, 29] - two.xyz[:, 1], axis=1),
                    np.linalg.norm(two.xyz[:, 61] - two.xyz[:, 33], axis=1)])  # fmt: skip
    assert table.value["end-to-end"] == pytest.approx(10 * ends, abs=1e-5)


def test_unknown_residues_go_with_any():
    assert align("GSXKIE", "GSDKXE") == [(i, i) for i in range(6)]


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        ("GSDKIEAPLW", "GSDKVEAPLW", "residue 5 of the samples is I, residue 5 .* is V"),
        ("GSDKIEAPLW", "MNQFYCHVTR", "0 residues in common of 10"),
    ],
)
def test_other_sequences_are_an_error(ours, theirs, message):
    with pytest.raises(StructureError, match=message):
        quick(ensemble(ours), ensemble(theirs))


def test_a_stretch_that_stands_for_another_is_an_error():
    with pytest.raises(StructureError, match="sequences differ"):
        align("GSDKIEAPLWTRHNVFMM", "GSDKIEAPYYYYLWTRHNVF".replace("AP", "AA"))


def nan_frame(traj):
    traj.xyz[3, 5] = np.nan
    return traj


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda s, r: (s[0], r), {}, "samples have 1 frame; .* at least 2"),
        (lambda s, r: (s, r[0]), {}, "reference have 1 frame"),
        (lambda s, r: (nan_frame(s), r), {}, r"frame 3 of the samples .*SER2-CA.* remove"),
        (lambda s, r: (s, r[np.zeros(5, int)]), {}, "every frame of the reference"),
        (lambda s, r: (s, r), {"tica_lag": 12}, "tica_lag is 12 .* longest .* has 12.* shorter"),
        (lambda s, r: (s, r), {"tica_lag": 4, "lengths": [4, 4, 4]}, "longest trajectory .* has 4"),
        (lambda s, r: (s, r), {"tica_lag": 0}, "tica_lag is 0"),
        (lambda s, r: (s, r), {"lengths": [5, 6], "tica_lag": 1}, "sum to 11, .* 12 frames"),
        (lambda s, r: (s, r), {"weights": [1, 2]}, "weights has shape .* 12 frames"),
        (lambda s, r: (s, r), {"weights": [-1] + 11 * [1]}, "-1.0 at frame 0"),
        (lambda s, r: (s, r), {"reference_weights": np.zeros(12)}, "only zeros"),
        (lambda s, r: (s, r), {"n_bootstrap": -1}, "n_bootstrap is -1"),
        (lambda s, r: ("traj.xtc", r), {}, "of type str; pass an mdtraj.Trajectory"),
        (lambda s, r: (s, r), {"clusters": without(ensemble(), {3})}, "clusters have 15"),
    ],
)
def test_bad_input_says_what_to_change(change, options, message):
    with pytest.raises(SLMError, match=message) as error:
        quick(*change(ensemble(), ensemble(seed=1)), **options)
    assert isinstance(error.value, ValueError)


def test_one_still_pair_is_named():
    reference = ensemble(seed=1)
    reference.xyz[:, :16] = reference.xyz[0, :16]  # four residues held fixed
    with pytest.raises(StructureError, match="distance GLY1-LYS4 is .* slice"):
        quick(ensemble(), reference)


def test_clusters_are_the_targets():
    samples, reference = ensemble(), ensemble(seed=1)
    found = quick(samples, reference, clusters=samples[7])
    assert found.table.value["TM-ens"] == pytest.approx(1, abs=1e-6)
    assert found.table.value["RMSD-ens"] == pytest.approx(0, abs=1e-5)
    assert found.profiles["best_rmsd_of_target"].shape == (1,)
