"""Closing peptide bonds: what is mended, what stays."""

from __future__ import annotations

import numpy as np
import pytest
from builders import helix, ideal_backbone

from openmm_slm.projection.backbone_sites import BackboneSites
from openmm_slm.projection.close_peptides import close_peptide_bonds
from openmm_slm.projection.verlet_list import VerletList
from openmm_slm.protein import geometry
from openmm_slm.protein.protein import Protein
from openmm_slm.protein.superposition import rmsd
from openmm_slm.validity.report import all_atom_report, backbone_report

L = 30
START = np.arange(L) == 0
ALA = "A" * L


def strand(omega=np.pi, at=12):
    torsion = np.full(L, np.pi)
    torsion[at] = omega
    return ideal_backbone(np.full(L, np.radians(-120)), np.full(L, np.radians(130)), torsion)


def shaken(x: np.ndarray, size: float, frames: int = 6, seed: int = 0) -> np.ndarray:
    """Residues moved as rigid bodies by `size` nm, as a decoder misplaces them."""
    rng = np.random.default_rng(seed)
    return (x[None] + rng.normal(0, size, (frames, len(x), 1, 3))).astype(np.float32)


@pytest.mark.parametrize("x", [helix(L), strand()], ids=["helix", "strand"])
def test_shaken_residues_are_joined_again(x):
    broken = shaken(x, 0.02)
    closed, moved = close_peptide_bonds(broken, Protein(ALA, START))
    before, after = (backbone_report(y, Protein(ALA, START)) for y in (broken, closed))
    assert not before["valid"].any() and after["valid"].all()
    assert after["c_n_deviation_nm"].max() < 3e-3 and after["bond_deviation_nm"].max() < 3e-3
    # It moves atoms no farther than they had been moved, and towards where they came from.
    assert np.median(moved) < 0.03
    off = [rmsd(y[:, :, 1], x[:, 1]).mean() for y in (broken, closed)]
    assert off[1] < off[0]
    np.testing.assert_allclose(
        np.linalg.norm(closed[:, :, :3] - broken[:, :, :3], axis=-1).max(-1), moved, atol=1e-6
    )


def test_a_good_chain_hardly_moves():
    closed, moved = close_peptide_bonds(helix(L)[None], Protein(ALA, START))
    assert moved.max() < 2e-3
    assert np.abs(closed - helix(L)).max() < 4e-3  # O too


def test_residues_of_weight_zero_stay_exactly():
    broken = shaken(helix(L), 0.01)
    broken[:, :10] = helix(L)[:10]
    broken[:, 20:] = helix(L)[20:]
    weight = np.zeros(L)
    weight[10:20] = 1
    closed, moved = close_peptide_bonds(broken, Protein(ALA, START), weight)
    kept = np.r_[0:9, 20:30]
    np.testing.assert_array_equal(closed[:, kept], broken[:, kept])
    np.testing.assert_array_equal(closed[:, 9, :3], broken[:, 9, :3])  # its O may turn
    assert moved[:, 10:20].max() > 0 and not moved[:, kept].any()
    assert backbone_report(closed, Protein(ALA, START))["c_n_deviation_nm"].max() < 5e-3


def test_cis_stays_before_proline_and_turns_trans_elsewhere():
    proline = ALA[:12] + "P" + ALA[13:]
    for sequence, expected in ((proline, 1), (ALA, 0)):
        closed, _ = close_peptide_bonds(strand(0.3)[None], Protein(sequence, START))
        report = backbone_report(closed, Protein(sequence, START))
        assert report["cis"][0] == expected and report["twisted_omega"][0] == 0


def test_twisted_peptides_become_planar():
    for twist in (100, 130, -110):
        closed, _ = close_peptide_bonds(strand(np.radians(twist))[None], Protein(ALA, START))
        omega = geometry.backbone_torsions(closed, START)[2][0, 1:]
        assert np.abs(omega).min() > np.radians(155)


def test_chain_breaks_are_not_bridged():
    x = helix(L).copy()
    x[15:] += 1.0
    broken = START | (np.arange(L) == 15)
    closed, moved = close_peptide_bonds(x[None], Protein(ALA, broken))
    assert moved.max() < 2e-3
    assert np.linalg.norm(closed[0, 15, 0] - closed[0, 14, 2]) > 1
    np.testing.assert_allclose(closed[0, 14, 3], x[14, 3], atol=4e-3)  # O at the end is carried


def test_frames_do_not_influence_each_other_and_bad_ones_pass_through():
    broken = shaken(helix(L), 0.02)
    together, _ = close_peptide_bonds(broken, Protein(ALA, START))
    alone, _ = close_peptide_bonds(broken[2:3], Protein(ALA, START))
    np.testing.assert_array_equal(together[2], alone[0])
    broken[1, 3] = np.nan
    with_bad, _ = close_peptide_bonds(broken, Protein(ALA, START))
    np.testing.assert_array_equal(with_bad[2], together[2])
    np.testing.assert_array_equal(with_bad[1, :, :3], broken[1, :, :3])


def test_mirror_images_are_not_made():
    """Handedness of the fold is the decoder's: the helix stays right-handed."""
    closed, _ = close_peptide_bonds(shaken(helix(L), 0.02), Protein(ALA, START))
    phi, psi, _ = geometry.backbone_torsions(closed, START)
    assert np.nanmax(phi[:, 2:-2]) < 0 and np.nanmax(psi[:, 2:-2]) < np.radians(30)


def crossing_strands(shift: float) -> np.ndarray:
    """Two chains of 24 residues in the same place but for `shift` nm along each axis."""
    strand = ideal_backbone(np.full(24, -2.1), np.full(24, 2.3), np.full(24, np.pi))
    return np.concatenate([strand, strand + np.float32(shift)])


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.15])
def test_residues_that_lie_on_each_other_are_parted(shift):
    x = crossing_strands(shift)[None]
    broken = np.zeros(48, bool)
    broken[[0, 24]] = True
    assert backbone_report(x, Protein("A" * 48, broken))["closest_ca_nm"][0] < 0.3
    closed, moved = close_peptide_bonds(x, Protein("A" * 48, broken))
    report = backbone_report(closed, Protein("A" * 48, broken))
    assert report["closest_ca_nm"][0] >= 0.3 and report["c_n_deviation_nm"][0] < 0.015
    assert 0 < moved.max() < 0.4
    left, _ = close_peptide_bonds(x, Protein("A" * 48, broken), separation=0)
    assert backbone_report(left, Protein("A" * 48, broken))["closest_ca_nm"][0] < 0.3


def test_a_fixed_residue_is_not_pushed():
    x = crossing_strands(0.05)[None]
    broken, weight = np.zeros(48, bool), np.ones(48)
    broken[[0, 24]] = True
    weight[:24] = 0
    closed, _ = close_peptide_bonds(x, Protein("A" * 48, broken), weight)
    np.testing.assert_array_equal(closed[:, :24], x[:, :24])
    assert backbone_report(closed, Protein("A" * 48, broken))["closest_ca_nm"][0] >= 0.3


def test_a_frame_without_clashes_is_not_touched_by_the_separation():
    x = helix(30)[None]
    broken = np.arange(30) == 0
    with_it, _ = close_peptide_bonds(x, Protein("A" * 30, broken))
    without, _ = close_peptide_bonds(x, Protein("A" * 30, broken), separation=0)
    np.testing.assert_array_equal(with_it, without)


def test_frames_are_projected_independently():
    rng = np.random.default_rng(3)
    noisy = [crossing_strands(0.1), crossing_strands(0.2), np.concatenate([helix(24)] * 2)]
    x = np.stack(noisy) + rng.normal(0, 0.02, (3, 48, 4, 3)).astype(np.float32)
    broken = np.zeros(48, bool)
    broken[[0, 24]] = True
    together, _ = close_peptide_bonds(x, Protein("A" * 48, broken))
    for frame in range(3):
        alone, _ = close_peptide_bonds(x[frame][None], Protein("A" * 48, broken))
        np.testing.assert_allclose(alone[0], together[frame], atol=1e-4)


TWO = np.arange(48) % 24 == 0


def strands(offset: tuple[float, float, float]) -> np.ndarray:
    """Two strands of 24 residues, the second moved by `offset` nm: [1, 48, 4, 3]."""
    one = ideal_backbone(np.full(24, -2.1), np.full(24, 2.3), np.full(24, np.pi))
    return np.concatenate([one, one + np.float32(offset)])[None]


def laid_out(x: np.ndarray) -> np.ndarray:
    """N, CA, C of [F, L, 4, 3] as [3, 3, L, F]."""
    return np.ascontiguousarray(x[:, :, :3].transpose(2, 3, 1, 0))


def atoms_report(x: np.ndarray, sequence: str, broken: np.ndarray) -> dict:
    """The all-atom report of N, CA, C, O, and CB where the backbone puts it."""
    atoms = np.full((*x.shape[:2], 14, 3), np.nan, np.float32)
    atoms[:, :, :4], atoms[:, :, 4] = x, geometry.cb_position(x)
    atoms[:, [letter == "G" for letter in sequence], 4] = np.nan
    return all_atom_report(atoms, Protein(sequence, broken))


def helices(apart: float) -> np.ndarray:
    """Two parallel helices of 24 residues: [1, 48, 4, 3]."""
    one = helix(24)
    axis = np.linalg.svd(one[:, 1] - one[:, 1].mean(0))[2][0]
    across = np.cross(axis, [0, 0, 1])
    return np.concatenate([one, one + np.float32(apart * across / np.linalg.norm(across))])[None]


# Between the CA of one strand lie the peptides of the other.
CLASHING = [(-0.2, 0.25, 0.2), (0.2, -0.3, 0.1), (0.1, -0.3, 0.3)]


@pytest.mark.parametrize("offset", CLASHING)
def test_strands_are_parted_whose_atoms_clash_while_their_ca_do_not(offset):
    x = strands(offset)
    before = atoms_report(x, "A" * 48, TWO)
    assert before["closest_ca_nm"][0] > 0.34 and before["clashes"][0] >= 10
    closed, moved = close_peptide_bonds(x, Protein("A" * 48, TWO))
    after = atoms_report(closed, "A" * 48, TWO)
    assert after["clashes"][0] == 0 and after["valid"][0]
    assert after["c_n_deviation_nm"][0] < 3e-3
    assert moved.max() < 0.3
    # No farther than it takes: the strands are still in contact, on the same sides.
    assert after["closest_heavy_nm"][0] < 0.33
    way = (closed[0, 24:, :3] - closed[0, :24, :3]).mean((0, 1))
    assert way @ np.array(offset) > 0.8 * np.linalg.norm(way) * np.linalg.norm(offset)
    only_ca, _ = close_peptide_bonds(x, Protein("A" * 48, TWO), atoms=False)
    assert atoms_report(only_ca, "A" * 48, TWO)["clashes"][0] >= 10


def test_side_chains_get_room():
    x = strands(CLASHING[1])
    small, _ = close_peptide_bonds(x, Protein("A" * 48, TWO))
    large, _ = close_peptide_bonds(x, Protein("L" * 48, TWO))
    apart = [np.linalg.norm((y[0, 24:, 1] - y[0, :24, 1]).mean(0)) for y in (small, large)]
    assert apart[1] > apart[0] + 0.02


def test_frames_without_a_clash_are_only_closed():
    x = helices(0.8)
    assert atoms_report(x, "A" * 48, TWO)["clashes"][0] == 0
    finder = BackboneSites("L" * 48, TWO, np.ones(48), 0.34)
    near = VerletList(finder, np.arange(1), np.arange(48), np.ones(1, bool))
    assert len(near.contacts(laid_out(x)).distance)  # close enough to be pushed
    with_atoms, _ = close_peptide_bonds(x, Protein("L" * 48, TWO))
    without, _ = close_peptide_bonds(x, Protein("L" * 48, TWO), atoms=False)
    np.testing.assert_array_equal(with_atoms, without)


def test_residues_of_weight_zero_stay_when_others_are_parted_from_them():
    x, weight = strands(CLASHING[0]), np.ones(48)
    weight[:24] = 0
    closed, moved = close_peptide_bonds(x, Protein("A" * 48, TWO), weight)
    np.testing.assert_array_equal(closed[:, :24], x[:, :24])
    assert not moved[:, :24].any() and moved[:, 24:].max() > 0.03
    assert atoms_report(closed, "A" * 48, TWO)["clashes"][0] == 0
    fixed, _ = close_peptide_bonds(x, Protein("A" * 48, TWO), np.zeros(48))
    np.testing.assert_array_equal(fixed[:, :, :3], x[:, :, :3])


def test_frames_are_parted_independently():
    rng = np.random.default_rng(5)
    x = np.concatenate([strands(offset) for offset in (*CLASHING, (0, 0, 2.0))])
    x[:3] += rng.normal(0, 0.02, (3, 48, 1, 3)).astype(np.float32)
    x = np.concatenate([x, np.full_like(x[:1], np.nan)])
    together, _ = close_peptide_bonds(x, Protein("L" * 48, TWO))
    for frame in range(5):
        alone, _ = close_peptide_bonds(x[frame][None], Protein("L" * 48, TWO))
        np.testing.assert_array_equal(alone[0, :, :3], together[frame, :, :3])
    assert np.isnan(together[4, :, :3]).all()


def test_helices_laid_through_each_other_stay_right_handed():
    x = helices(0.6)
    assert atoms_report(x, "A" * 48, TWO)["clashes"][0] > 20
    closed, _ = close_peptide_bonds(x, Protein("A" * 48, TWO))
    after = atoms_report(closed, "A" * 48, TWO)
    assert after["clashes"][0] == 0 and after["c_n_deviation_nm"][0] < 0.005
    assert after["d_residues"][0] == 0
    ca = closed[0, :, 1].reshape(2, 24, 3)
    turn = geometry.dihedral(ca[:, :-3], ca[:, 1:-2], ca[:, 2:-1], ca[:, 3:])
    assert (turn > 0).mean() > 0.9


@pytest.mark.parametrize(("letter", "phi"), [("A", 150), ("A", 0), ("P", -150)])
def test_neighbours_that_clash_turn(letter, phi):
    """O before CB or C, and CA before CD of a proline whose phi its ring does not allow."""
    angles = np.full(L, np.radians(-65))
    angles[12] = np.radians(phi)
    x = ideal_backbone(angles, np.full(L, np.radians(140)), np.full(L, np.pi))[None]
    sequence = ALA[:12] + letter + ALA[13:]

    def nearest(y):
        finder = BackboneSites(sequence, START, np.ones(L), 0.34)
        sites = finder.positions(laid_out(y), np.arange(1))[:, :, 11:13, 0].T
        pairs = [(1, 6), (3, 6)] if letter == "P" else [(3, 2), (3, 4)]
        return min(np.linalg.norm(sites[0, a] - sites[1, b]) for a, b in pairs)

    assert nearest(x) < 0.25
    closed, moved = close_peptide_bonds(x, Protein(sequence, START))
    assert nearest(closed) > 0.25 and moved.max() < 0.15
    assert backbone_report(closed, Protein(sequence, START))["valid"][0]


def test_peptides_come_first_where_there_is_no_way_out():
    """Frames that parting leaves open, here by a tolerance out of reach, are closed without it."""
    x = strands(CLASHING[0])
    x[:, 24:] += np.random.default_rng(0).normal(0, 0.03, (1, 24, 1, 3)).astype(np.float32)
    strict = {"sweeps": 60, "tolerance": 1e-6}
    without, _ = close_peptide_bonds(x, Protein("A" * 48, TWO), atoms=False, **strict)
    given_up, _ = close_peptide_bonds(x, Protein("A" * 48, TWO), **strict)
    parted, _ = close_peptide_bonds(x, Protein("A" * 48, TWO))
    np.testing.assert_array_equal(given_up[:, :, :3], without[:, :, :3])  # end O turn
    assert np.abs(parted - without).max() > 0.01


@pytest.mark.parametrize("x", [helix(L), strand()], ids=["helix", "strand"])
def test_sites_lie_where_the_atoms_do(x):
    finder = BackboneSites(ALA, START, np.ones(L), 0.34)
    sites = finder.positions(laid_out(x[None]), np.arange(1))[..., 0].T
    np.testing.assert_allclose(sites[:, 4], geometry.cb_position(x), atol=1e-5)
    np.testing.assert_allclose(sites[:-1, 3], x[:-1, 3], atol=1e-3)  # none without a peptide
