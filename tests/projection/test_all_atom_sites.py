"""Side chains that clash: finer turns, then room made by the backbone; tangled segments part."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from builders import helix
from scipy.spatial.transform import Rotation

from openmm_slm.allatom import clashes
from openmm_slm.allatom.packer import SideChainPacker
from openmm_slm.allatom.side_chain_fitting import fit_side_chains
from openmm_slm.models.registry import load_packer
from openmm_slm.projection import close_peptides
from openmm_slm.projection.all_atom_sites import separate_clashing_residues
from openmm_slm.projection.close_peptides import close_peptide_bonds
from openmm_slm.protein.protein import Protein
from openmm_slm.protein.sequence import encode_sequence
from openmm_slm.validity.report import all_atom_report

LENGTH = 13
SEQUENCE = "ALKELFEQLLKRA" * 2
START = np.arange(2 * LENGTH) % LENGTH == 0
INDEX = np.arange(2 * LENGTH) + 65 * (np.arange(2 * LENGTH) >= LENGTH)


@pytest.fixture(scope="module")
def packer() -> SideChainPacker:
    return load_packer("default", "cpu")


def helices(apart: float) -> np.ndarray:
    """Two antiparallel helices side by side: [26, 4, 3]."""
    one = helix(LENGTH)
    middle = one[:, 1].mean(0)
    away = np.linalg.svd(one[:, 1] - middle)[2][1]
    two = (one - middle) @ Rotation.from_rotvec(np.pi * away).as_matrix().T + middle + apart * away
    return np.concatenate([one, two]).astype(np.float32)


def packed(packer: SideChainPacker, backbone: np.ndarray, passes: int = 3) -> np.ndarray:
    return packer.pack(backbone, encode_sequence(SEQUENCE), INDEX, passes=passes)


def report(atom14: np.ndarray) -> dict:
    return all_atom_report(atom14, Protein(SEQUENCE, START))


@pytest.fixture(scope="module")
def crowded(packer) -> np.ndarray:
    """Side chains of helices too near, a little nearer, and far enough apart."""
    frames = packed(packer, np.stack([helices(apart) for apart in (0.76, 0.72, 2.0)]))
    assert (report(frames)["clashes"][:2] > 0).all() and report(frames)["clashes"][2] == 0
    return frames


def test_residues_make_room_for_their_side_chains(crowded):
    parted, moved = separate_clashing_residues(crowded, Protein(SEQUENCE, START))
    made = report(parted)
    assert made["clashes"].sum() < 0.3 * report(crowded)["clashes"].sum()
    assert (made["c_n_deviation_nm"] < 5e-3).all() and (made["wrong_omega"] == 0).all()
    assert 0 < moved[:2].max() < 0.3
    # Side chains go with their residues: no distance within a residue changes.
    for row in (1, 5, 17):
        atoms = [x[0, row, [0, 1, 2, 4, 5, 6]] for x in (crowded, parted)]
        spans = [np.linalg.norm(x[:, None] - x, axis=-1) for x in atoms]
        np.testing.assert_allclose(*spans, atol=2e-3)
    # What does not clash stays.
    np.testing.assert_array_equal(parted[2], crowded[2])
    assert not moved[2].any()


def test_room_is_made_by_residues_that_may_move_and_frame_by_frame(crowded):
    weight = np.ones(2 * LENGTH)
    weight[:LENGTH] = 0
    parted, moved = separate_clashing_residues(crowded, Protein(SEQUENCE, START), weight)
    np.testing.assert_array_equal(parted[:, :LENGTH], crowded[:, :LENGTH])
    assert not moved[:, :LENGTH].any() and moved[:2, LENGTH:].max() > 0
    for frame in range(3):
        alone, _ = separate_clashing_residues(
            crowded[frame : frame + 1], Protein(SEQUENCE, START), weight
        )
        np.testing.assert_array_equal(alone[0], parted[frame])


def test_sampled_frames_are_fitted_until_nothing_clashes(packer):
    frame = np.full((1, 2 * LENGTH, 14, 3), np.nan, np.float32)
    frame[0, :, :4] = helices(0.72)
    kept = packed(packer, frame[:, :, :4])[0, 15]  # a side chain that is known
    frame[0, 15] = kept
    weight = np.ones(2 * LENGTH)
    weight[15] = 0

    def pack(x, passes=3):
        return packed(packer, x, passes=passes)

    made, moved = fit_side_chains(pack, frame, Protein(SEQUENCE, START), weight)
    assert report(made)["valid"][0] and 0 < moved[0] < 0.2
    but_o = np.arange(14) != 3  # O is in the plane of the peptide, whose other residue moved
    np.testing.assert_array_equal(made[0, 15, but_o], kept[but_o])
    still, unmoved = fit_side_chains(pack, frame, Protein(SEQUENCE, START), np.zeros(2 * LENGTH))
    np.testing.assert_array_equal(still[:, :, :4], frame[:, :, :4])
    assert unmoved[0] == 0


def test_a_clash_that_no_rotamer_solves_is_solved_by_a_small_turn(packer, monkeypatch):
    """A network with one rotamer for everything: only turns are left."""
    network = copy.deepcopy(packer.network)
    with torch.no_grad():
        for head in network.heads:
            head[-1].weight.zero_()
            head[-1].bias.zero_()
            head[-1].bias[11] = 50
    single = SideChainPacker(network)
    frames = np.stack([helices(apart) for apart in (1.0, 1.1, 1.2)])
    finer = packed(single, frames)
    np.testing.assert_array_equal(finer[:, :, :4], frames)
    monkeypatch.setattr(clashes, "_ROTATION_PASSES", 0)
    without = report(packed(single, frames))["clashes"]
    assert (without > 5).all() and (report(finer)["clashes"] < 0.6 * without).all()


def test_helices_in_one_place_are_drawn_apart(monkeypatch):
    """Pushes of residues cancel along two helices with one axis; those of their traces do not."""
    x = np.concatenate([helix(24), helix(24) + np.float32(0.02)])[None]
    start = np.arange(48) % 24 == 0

    def closed() -> dict:
        made = np.full((1, 48, 14, 3), np.nan, np.float32)
        made[:, :, :4], moved = close_peptide_bonds(x, Protein("L" * 48, start))
        assert moved.max() < 0.8
        return all_atom_report(made, Protein("L" * 48, start))

    made = closed()
    assert made["clashes"][0] == 0 and made["c_n_deviation_nm"][0] < 5e-3
    monkeypatch.setattr(close_peptides, "separate_segments", lambda *_: None)
    assert closed()["clashes"][0] > 20
