"""Backbones built from CA traces."""

from __future__ import annotations

import csv
import logging
from dataclasses import replace

import mdtraj as md
import numpy as np
import pytest

import openmm_slm
from openmm_slm.errors import StructureError
from openmm_slm.models.registry import load_backmapper
from openmm_slm.protein.ca_trace import lone_ca, trace_breaks
from openmm_slm.protein.structure import from_backbone
from openmm_slm.protein.trajectory import from_trajectory
from openmm_slm.sampling.template import Template

SEQUENCE = "GYDPETGTWGKLVEPAAKQLAEEL"


@pytest.fixture(scope="module")
def whole():
    """Three frames of all heavy atoms, with helix and coil."""
    return openmm_slm.generate_ensemble(SEQUENCE, n=3, seed=5, hydrogens=False, progress=False)


@pytest.fixture(scope="module")
def trace(whole):
    return whole.atom_slice(whole.topology.select("name CA"))


def test_backbones_are_near_the_true_ones(whole, trace):
    """N and C are within 0.4 A and O within 0.9 A of a sampled backbone; CA do not move."""
    structure = from_trajectory(whole)
    index = structure.residue_index
    built = load_backmapper(device="cpu").backbones(structure.backbone[:, :, 1], SEQUENCE, index)
    off = np.sqrt(((built - structure.backbone)[:, 1:-1] ** 2).sum(-1).mean((0, 1)))
    assert np.abs(built[:, :, 1] - structure.backbone[:, :, 1]).max() < 1e-6
    assert off[[0, 2]].max() < 0.04 and off[3] < 0.09


def test_backbones_turn_with_the_trace_and_ignore_other_frames(whole):
    structure, mapper = from_trajectory(whole), load_backmapper(device="cpu")
    ca, index = structure.backbone[:, :, 1], structure.residue_index
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    built = mapper.backbones(ca, SEQUENCE, index)
    moved = mapper.backbones((ca @ turn.T + 3).astype(np.float32), SEQUENCE, index)
    np.testing.assert_allclose(moved, built @ turn.T + 3, atol=2e-4)
    np.testing.assert_allclose(mapper.backbones(ca[1:2], SEQUENCE, index)[0], built[1], atol=1e-5)


def test_complete_takes_a_trace(trace, tmp_path):
    """All atoms, L residues, trans peptides, closed bonds, and how far CA moved."""
    folder = openmm_slm.complete(trace, output=tmp_path / "out", progress=False)
    made = md.load(folder / "samples.xtc", top=folder / "topology.pdb")
    structure = from_trajectory(made)
    assert structure.sequence == SEQUENCE and not structure.chain_break[1:].any()
    report = read_columns(folder / "report.csv")
    moved = np.array(report["ca_moved_nm"], float)
    ca = structure.backbone[:, :, 1]
    np.testing.assert_allclose(moved, np.sqrt(((ca - trace.xyz) ** 2).sum(-1).mean(1)), atol=2e-3)
    assert moved.max() < 0.05
    assert set(report["cis"]) == set(report["d_residues"]) == {"0"}


def read_columns(path) -> dict[str, list[str]]:
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    return {name: [row[name] for row in rows] for name in rows[0]}


def test_template_takes_a_trace(trace):
    laid = Template.of(trace, SEQUENCE)
    assert laid.known.all()
    assert np.abs(laid.backbone[:, :, 1] - trace.xyz).max() < 0.08
    again = Template.of(trace, SEQUENCE)
    assert laid.identity(None) == again.identity(None)


def test_kept_atoms_of_whole_residues_do_not_move(whole):
    """Only residues with a CA alone are built."""
    structure = from_trajectory(whole)
    holed = structure.atom14.copy()
    holed[:, 6:9, [0, 2, 3]] = np.nan
    holed[:, 6:9, 4:] = np.nan
    holed = replace(structure, atom14=holed)
    made = load_backmapper(device="cpu").complete(holed)
    kept = np.r_[0:6, 9 : len(SEQUENCE)]
    np.testing.assert_array_equal(made.atom14[:, kept], structure.atom14[:, kept])
    off = (made.backbone - structure.backbone)[:, 6:9, :3]
    assert np.sqrt((off**2).sum(-1).mean()) < 0.05
    assert not made.chain_break[1:].any()


def lone(steps: np.ndarray, numbers: list[int]):
    ca = np.zeros((1, len(numbers), 4, 3), np.float32)
    ca[:, 1:, :, 0] = np.cumsum(steps)[None, :, None]
    ca[:, :, [0, 2, 3]] = np.nan
    return from_backbone(ca, "A" * len(numbers), ("B",), np.array(numbers))


def test_impossible_steps_are_refused_by_name():
    structure = lone(np.array([0.38, 0.5, 0.38]), [7, 8, 9, 10])
    with pytest.raises(StructureError, match=r"ALA 8 of chain B and ALA 9 .* 0\.500 nm .* frame 0"):
        trace_breaks(structure, lone_ca(structure))


def test_numbers_show_gaps_and_distances_bonds():
    gap = lone(np.array([0.38, 1.5, 0.38]), [7, 8, 12, 13])
    assert trace_breaks(gap, lone_ca(gap)).tolist() == [True, False, True, False]
    jump = lone(np.array([0.38, 0.38, 0.38]), [7, 8, 12, 13])
    assert trace_breaks(jump, lone_ca(jump)).tolist() == [True, False, False, False]


def test_a_lone_residue_without_neighbours_is_refused():
    structure = lone(np.array([0.38, 1.5]), [7, 8, 20])
    with pytest.raises(StructureError, match="ALA 20 of chain B has a CA alone"):
        trace_breaks(structure, lone_ca(structure))


def test_sample_takes_a_trace(trace, caplog):
    with caplog.at_level(logging.INFO, "openmm_slm"):
        made = openmm_slm.generate_ensemble(
            SEQUENCE, n=2, template=trace, deform=0, seed=1, sidechains=None, progress=False
        )
    ca = made.xyz[:, made.topology.select("name CA")]
    off = md.lprmsd(made.atom_slice(made.topology.select("name CA")), trace, 0)
    assert ca.shape == (2, len(SEQUENCE), 3) and off[0] < 0.2
