"""Contacts with ligands and ions: what is a clash, a bond, or the coordination of a metal."""

from __future__ import annotations

from dataclasses import replace

import mdtraj as md
import numpy as np
import pytest
from all_atoms import template_chain

import openmm_slm
from openmm_slm.protein.atoms import ATOM14
from openmm_slm.protein.bonding import SLOTS
from openmm_slm.protein.obstacles import Obstacles
from openmm_slm.protein.structure import from_backbone
from openmm_slm.validity.kept_contacts import kept_report, residues_at_obstacles

SEQUENCE = "GCHDEKG"
CHAIN = template_chain(SEQUENCE)


def beside(row: int, name: str, away: float) -> np.ndarray:
    """A point at `away` (nm) from an atom, where no other atom is closer."""
    x = CHAIN[row, ATOM14[SEQUENCE[row]].index(name)]
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(2000, 3))
    points = x + away * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    heavy = CHAIN[np.isfinite(CHAIN).all(-1)]
    far = np.sort(np.linalg.norm(points[:, None] - heavy, axis=-1), 1)[:, 1]
    return points[int(far.argmax())]


def clashes(point: np.ndarray, element: str, bonded=(), part=None, rigid=None) -> int:
    pairs = np.array(bonded, int).reshape(-1, 2)
    obstacles = Obstacles(point[None, None].astype(np.float32), (element,), pairs, part)
    found = kept_report(CHAIN[None], SEQUENCE, obstacles, rigid)
    assert found["closest_kept_nm"][0] <= 0.5
    return int(found["kept_clashes"][0])


@pytest.mark.parametrize(("row", "name"), [(1, "SG"), (2, "NE2"), (3, "OD1"), (4, "OE2")])
@pytest.mark.parametrize("away", [0.2, 0.23, 0.245])
def test_metals_bind_sulfur_nitrogen_and_oxygen(row, name, away):
    point = beside(row, name, away)
    assert clashes(point, "Zn") == 0
    assert clashes(point, "C") > 0


def test_a_metal_in_an_atom_or_at_carbon_clashes():
    assert clashes(beside(2, "NE2", 0.14), "Zn") > 0
    assert clashes(beside(5, "CE", 0.22), "Zn") > 0
    assert clashes(beside(5, "CE", 0.26), "Zn") == 0


def test_bonds_and_groups_of_one_rigid_part_do_not_count():
    point = beside(1, "SG", 0.18)
    slots = [ATOM14["C"].index(name) for name in ("SG", "CB")]
    assert clashes(point, "C") > 0
    assert clashes(point, "C", bonded=[(0, SLOTS * 1 + slot) for slot in slots]) == 0
    rigid = np.zeros(len(SEQUENCE), int)
    assert clashes(point, "C", part=np.array([0]), rigid=rigid) == 0
    assert clashes(point, "C", part=np.array([1]), rigid=rigid) > 0
    rigid[1] = -1
    assert clashes(point, "C", part=np.array([0]), rigid=rigid) > 0


def test_the_residue_that_clashes_is_named():
    obstacles = Obstacles(beside(5, "NZ", 0.2)[None, None], ("C",), np.zeros((0, 2), int))
    found = residues_at_obstacles(CHAIN[None], SEQUENCE, obstacles)
    assert np.flatnonzero(found[0]).tolist() == [5]


@pytest.mark.parametrize(
    ("residue", "symbol", "away", "clash"),
    [("LIG", "C", 0.2, True), ("LIG", "C", 0.3, False), ("ZN", "Zn", 0.2, False),
     ("HOH", "O", 0.2, None), ("NA", "Na", 0.1, None)],
)  # fmt: skip
def test_geometry_report_counts_ligands_and_metals_of_a_trajectory(residue, symbol, away, clash):
    chain = replace(from_backbone(CHAIN[None, :, :4], SEQUENCE), atom14=CHAIN[None])
    protein = chain.to_trajectory()
    topology = protein.topology.copy()
    added = topology.add_residue(residue, topology.add_chain("Z"), 1)
    topology.add_atom("X1", md.element.get_by_symbol(symbol), added)
    point = beside(2, "NE2", away).astype(np.float32)
    both = md.Trajectory(np.append(protein.xyz, point[None, None], 1), topology)
    report, alone = (openmm_slm.geometry_report(each) for each in (both, protein))
    others = set(alone) - {"valid"}
    assert {k: report[k].tolist() for k in others} == {k: alone[k].tolist() for k in others}
    assert alone["valid"].all() and report["valid"].tolist() == [not clash]
    if clash is None:  # waters and ions of the buffer
        assert "kept_clashes" not in report
    else:
        assert (report["kept_clashes"] > 0).tolist() == [clash]
