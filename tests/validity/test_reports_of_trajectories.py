"""Reports of anybody's frames: files, trajectories and structures."""

from __future__ import annotations

import mdtraj as md
import numpy as np
import pytest
from all_atoms import template_chain, villin, villin_path
from builders import helix
from test_report import cystine, differing, report

from openmm_slm.errors import StructureError
from openmm_slm.protein.protein import Protein
from openmm_slm.protein.sequence import AMINO_ACIDS
from openmm_slm.protein.structure import ProteinStructure
from openmm_slm.protein.trajectory import backbone_trajectory
from openmm_slm.validity.report import all_atom_report, backbone_report, geometry_report

START = np.arange(len(AMINO_ACIDS)) == 0
SOUND = template_chain()


def test_file_trajectory_and_structure_give_one_report():
    reports = [geometry_report(x) for x in (villin_path(), md.load_pdb(villin_path()), villin())]
    assert list(reports[0])[:2] == ["frame", "valid"]
    for one in reports:
        assert one["valid"].tolist() == [True] and one["frame"].tolist() == [0]
        assert set(one) == {"frame", *report(SOUND)}
    assert differing(reports[0], reports[2]) == set()
    assert differing(reports[0], reports[1]) == set()


def test_oxt_of_a_trajectory_counts():
    traj = md.load_pdb(villin_path())
    oxt = traj.topology.select("name OXT")[0]
    carbon = traj.topology.select("resid 10 and name CA")[0]
    traj.xyz[:, oxt] = traj.xyz[:, carbon] + [0, 0, 0.05]
    found = geometry_report(traj)
    assert found["closest_heavy_nm"][0] == pytest.approx(0.05, abs=1e-6)
    assert not found["valid"][0]


def test_backbones_are_judged_as_backbones():
    traj = backbone_trajectory(np.stack([helix(12)] * 2), "ACDEFGHIKLMN")
    found = geometry_report(traj)
    assert found["valid"].tolist() == [True, True]
    assert set(found) == {"frame", *backbone_report(helix(12)[None], Protein("A" * 12, START[:12]))}
    glycines = geometry_report(backbone_trajectory(helix(12)[None], "G" * 12))
    assert "closest_heavy_nm" in glycines and glycines["missing_heavy_atoms"][0] == 0


def test_a_frame_of_nan_stays_in_place():
    traj = md.join([md.load_pdb(villin_path())] * 3)
    traj.xyz[0] = np.nan
    found = geometry_report(traj)
    assert found["finite"].tolist() == found["valid"].tolist() == [False, True, True]


def test_disulfides_of_the_topology_or_of_the_frames():
    ends = np.array([True, True])
    structure = ProteinStructure(
        "CC", cystine(0.205)[None], np.array([0, 0]), ("A",), np.array([1, 9]),
        np.array(["", ""]), ends,
    )  # fmt: skip
    assert geometry_report(structure)["valid"][0]
    assert geometry_report(structure, disulfides="none")["clashes"][0] == 1
    traj = structure.to_trajectory()
    assert geometry_report(traj)["valid"][0]
    first, second = traj.topology.select("name SG")
    traj.topology.add_bond(traj.topology.atom(first), traj.topology.atom(second))
    traj.xyz[:, traj.topology.select("resid 1")] += np.float32([3, 0, 0])
    assert geometry_report(traj)["disulfides_open"][0] == 1
    assert geometry_report(traj, disulfides=())["disulfides_open"][0] == 0


def test_an_sg_with_two_bonds_in_the_topology_gets_the_one_that_is_closed():
    ends = np.array([True, True, True])
    pair = cystine(0.205)
    atoms = np.concatenate([pair, pair[1:] + np.float32([3, 0, 0])])
    structure = ProteinStructure(
        "CCC", atoms[None], np.array([0, 0, 0]), ("A",), np.array([1, 9, 20]),
        np.array(["", "", ""]), ends,
    )  # fmt: skip
    traj = structure.to_trajectory()
    first, second, third = map(traj.topology.atom, traj.topology.select("name SG"))
    for other in (second, third):
        traj.topology.add_bond(first, other)
    found = geometry_report(traj)
    assert found["valid"][0] and found["disulfides_open"][0] == 0


def test_what_is_no_structure_is_refused():
    with pytest.raises(StructureError, match="not a structure"):
        geometry_report(np.zeros((3, 3)))


def test_backbones_without_side_chains_are_searched_for_close_atoms():
    """Two helices 0.33 nm apart by CA whose N, C and O meet."""
    x = np.concatenate([helix(8), helix(8) + [0.0, 0.0, 0.0]]).astype(np.float32)
    broken = np.isin(np.arange(16), (0, 8))
    for shift in np.linspace(0.3, 2.0, 60):
        x[8:] = helix(8)[::-1] + np.float32([shift, 0.1, 0.05])
        found = {k: v[0] for k, v in backbone_report(x[None], Protein("A" * 16, broken)).items()}
        if found["closest_ca_nm"] >= 0.3 and found["clashes"]:
            assert found["closest_heavy_nm"] < 0.25
            assert not found["valid"]
            return
    pytest.fail("no arrangement has apart CA and close atoms")


def test_faults_inside_a_rigid_part_do_not_count():
    atoms = SOUND.copy()
    atoms[0, 1:] += 0.012 - 0.024  # residue 0 off its bonds
    atoms[4, 4] = atoms[9, 4] + 0.01  # CB of residue 4 beside that of residue 9
    protein = Protein(AMINO_ACIDS, START)
    whole = np.zeros(len(AMINO_ACIDS), int)
    found = all_atom_report(atoms[None], protein)
    held = all_atom_report(atoms[None], protein, rigid=whole)
    assert found["clashes"][0] > 0
    assert held["clashes"][0] == 0
    assert held["c_n_deviation_nm"][0] == held["bond_deviation_nm"][0] == 0
    two = np.where(np.arange(len(AMINO_ACIDS)) < 7, 0, 1)  # these two are in different parts
    assert all_atom_report(atoms[None], protein, rigid=two)["clashes"][0] > 0
