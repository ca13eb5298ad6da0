"""Interactions of beads, wished sizes, and the prediction of disorder."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmm_slm.disorder.bead_energy import BeadEnergy, Compactness
from openmm_slm.disorder.prediction import THRESHOLD, disorder_score
from openmm_slm.disorder.wished_size import (
    WishedSize,
    check_rg,
    possible_sizes,
    radius_of_gyration,
)
from openmm_slm.errors import StructureError

UPRIGHT = np.broadcast_to(np.eye(3), (1, 4, 3, 3))
FAR = np.array([[[0, 0, 0], [50, 0, 0], [100, 0, 0], [0, 0, 0]]], float)
LOOSE = np.full(4, -1)
FREE = Compactness(0.0, 0.0)


def energy(sequence: str, apart: float, compactness=FREE, body=LOOSE) -> float:
    """Energy of residues 0 and 3 at a distance, the others far away."""
    origin = FAR.copy()
    origin[0, 3, 0] = apart
    return float(BeadEnergy(sequence, np.arange(4), body, compactness)(UPRIGHT, origin)[0])


def test_charges_interact_by_a_screened_coulomb_potential():
    """0.71 nm / r * exp(-r / 0.785 nm) at 0.15 mol/l, in kT."""
    expected = 0.71 / 1.2 * np.exp(-1.2 / 0.785)
    assert energy("DGGD", 1.2) == pytest.approx(expected, rel=1e-2)
    # K and D reach out differently far along CB, so the distance of the beads is a little larger.
    assert energy("DGGK", 1.2) == pytest.approx(-expected, rel=8e-2)
    assert energy("SGGS", 1.2) == 0


def test_side_chains_in_contact_attract_by_their_hydropathy():
    strong = Compactness(1.0, 0.0)
    assert energy("WGGW", 0.5, strong) < energy("AGGA", 0.5, strong) < 0
    assert energy("WGGW", 0.5, Compactness(1.0, 1.2)) > 0  # all are below `neutral`
    assert energy("WGGW", 2.0, strong) == pytest.approx(0, abs=1e-4)


def test_overlaps_cost_energy_and_pairs_of_a_rigid_body_none():
    assert energy("SGGS", 0.2) > 30
    assert energy("SGGS", 0.2, body=np.zeros(4, int)) == 0


@given(st.integers(0, 1000))
def test_energy_does_not_change_with_rotation(seed):
    rng = np.random.default_rng(seed)
    origin = rng.normal(size=(1, 8, 3))
    turn = np.linalg.qr(rng.normal(size=(8, 3, 3)))[0][None]
    whole = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    made = BeadEnergy("ACDEKWGF", np.arange(8), np.full(8, -1))
    moved = made(whole @ turn, origin @ whole.T + 3.0)
    assert moved == pytest.approx(made(turn, origin), rel=1e-3, abs=1e-3)


def test_the_wish_is_a_harmonic_energy_of_the_size():
    ca = np.random.default_rng(0).normal(size=(3, 40, 3))
    size = radius_of_gyration(ca)
    assert WishedSize(float(size[1]))(ca)[1] == pytest.approx(0)
    assert WishedSize(2.0)(ca) == pytest.approx(((size - 2) / 0.06) ** 2 / 2)


def test_sizes_that_no_chain_has_are_refused():
    low, high = possible_sizes(100)
    assert low < 1.27 < 2.8 < high < 11  # folded, disordered and extended chains of 100 residues
    check_rg(2.8, 100)
    for rg in (0.5, 12.0):
        with pytest.raises(StructureError, match=f"rg is {rg:g} nm.*100 residues"):
            check_rg(rg, 100)


@pytest.mark.parametrize(
    ("name", "sequence", "disordered"),
    [
        ("ubiquitin", "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLR"
         "LRGG", False),
        ("BPTI", "RPDFCLEPPYTGPCKARIIRYFYNAKAGLCQTFVYGGCRAKRNNFKSAEDCMRTCGGA", False),
        ("villin", "LSDEDFKAVFGMTRSAFANLPLWKQQNLKKEKGLF", False),
        ("prothymosin", "MSDAAVDTSSEITTKDLKEKKEVVEEAENGRDAPANGNAENEENGEQEADNEVDEEEEEGGEEEEEEEEGDGEE"
         "EDGDEDEEAESATGKRAAEDDEDDDVDTKKQKTDEDD", True),
        ("histatin 5", "DSHAKRHHGYKRKFHEKHHSHRGY", True),
    ],
)  # fmt: skip
def test_known_proteins_are_told_apart(name, sequence, disordered):
    assert (disorder_score(sequence).mean() > THRESHOLD) == disordered
