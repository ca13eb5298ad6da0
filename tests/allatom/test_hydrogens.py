"""Hydrogens and OXT of many frames: where chemistry wants them, whatever the torsions."""

from __future__ import annotations

from dataclasses import replace

import mdtraj as md
import numpy as np
import openmm
import openmm.app as app
import openmm.unit as unit
import pytest
from all_atoms import template_chain, villin, villin_path
from builders import ideal_backbone
from force_fields import load

from openmm_slm.allatom import hydrogens
from openmm_slm.allatom.topology import define_topology, placed_atoms
from openmm_slm.protein.sequence import AMINO_ACIDS
from openmm_slm.protein.structure import ProteinStructure
from openmm_slm.protein.superposition import superpose

ALL = AMINO_ACIDS + "AHG"


@pytest.fixture(scope="module")
def amber():
    return load("amber14-all.xml")


def structure(atom14: np.ndarray, sequence: str) -> ProteinStructure:
    length = len(sequence)
    return ProteinStructure(
        sequence, atom14, np.zeros(length, np.int32), ("A",), np.arange(length, dtype=np.int32),
        np.full(length, "", "<U1"), np.arange(length) == 0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def extended():
    s = structure(template_chain(ALL)[None], ALL)
    found = define_topology(s)
    return s, found, placed_atoms(found)


def folded(frames: int) -> np.ndarray:
    """The same chain with other backbone torsions, and chi1 turned at random."""
    rng = np.random.default_rng(0)
    x = np.repeat(template_chain(ALL)[None], frames, 0).astype(np.float64)
    for frame in range(frames):
        torsions = rng.uniform(-np.pi, np.pi, (2, len(ALL)))
        backbone = ideal_backbone(*torsions, np.full(len(ALL), np.pi))
        for i, letter in enumerate(ALL):
            x[frame, i], _, _ = superpose(
                x[frame, i], np.pad(backbone[i, :3], ((0, 11), (0, 0))), np.arange(14) < 3
            )
            x[frame, i, :4] = backbone[i]
            if letter not in "PAG":
                axis = x[frame, i, 4] - x[frame, i, 1]
                axis /= np.linalg.norm(axis)
                turn, side = rng.uniform(0, 2 * np.pi), x[frame, i, 5:] - x[frame, i, 4]
                x[frame, i, 5:] = (
                    x[frame, i, 4]
                    + np.cos(turn) * side
                    + np.sin(turn) * np.cross(axis, side)
                    + (1 - np.cos(turn)) * (side @ axis)[:, None] * axis
                )
    return x.astype(np.float32)


def angle(a, b, c):
    u, v = a - b, c - b
    cosine = (u * v).sum(-1) / np.linalg.norm(u, axis=-1) / np.linalg.norm(v, axis=-1)
    return np.degrees(np.arccos(cosine))


def atoms_by_name(topology) -> dict[tuple[int, str], int]:
    return {(a.residue.index, a.name): a.index for a in topology.atoms}


def test_reference_is_reproduced(extended):
    s, found, recipe = extended
    np.testing.assert_allclose(recipe.place(s.atom14)[0], found.positions, atol=1e-6)
    assert recipe.place(s.atom14).dtype == np.float32
    assert len(recipe.placed) + len(recipe.heavy) == found.topology.n_atoms
    assert recipe.place(s.atom14[:0]).shape == (0, found.topology.n_atoms, 3)


def test_bonds_and_angles_are_those_of_the_force_field_in_every_frame(extended, amber):
    """Other torsions than those of the reference change nothing of the local geometry."""
    s, found, recipe = extended
    x = recipe.place(np.concatenate([s.atom14, folded(5)])).astype(np.float64)
    made = amber.createSystem(found.topology.to_openmm())
    forces = {type(f): f for f in made.getForces()}
    light = np.array([atom.element.symbol == "H" for atom in found.topology.atoms])
    oxt = np.array([atom.name == "OXT" for atom in found.topology.atoms])
    bonds, angles = forces[openmm.HarmonicBondForce], forces[openmm.HarmonicAngleForce]
    checked = 0
    for number in range(bonds.getNumBonds()):
        i, j, length, _ = bonds.getBondParameters(number)
        if (light | oxt)[[i, j]].any():
            found_length = np.linalg.norm(x[:, i] - x[:, j], axis=-1)
            np.testing.assert_allclose(found_length, length._value, atol=0.002)
            checked += 1
    assert checked == len(recipe.placed)
    worst = []
    for number in range(angles.getNumAngles()):
        i, j, k, wanted, _ = angles.getAngleParameters(number)
        if (light | oxt)[[i, j, k]].any():
            worst.append(np.abs(angle(x[:, i], x[:, j], x[:, k]) - np.degrees(wanted._value)))
    # Templates bend their heavy atoms by some degrees, and ring centres are not 120 degrees each.
    assert np.max(worst) < 9 and np.mean(worst) < 1.5


def test_amide_hydrogens_lie_in_the_peptide_plane(extended):
    _, found, recipe = extended
    x = recipe.place(folded(5))
    at = atoms_by_name(found.topology)
    rows = [row for row in range(1, len(ALL)) if ALL[row] != "P"]
    h, n, ca = (x[:, [at[row, name] for row in rows]] for name in ("H", "N", "CA"))
    c, o = (x[:, [at[row - 1, name] for row in rows]] for name in ("C", "O"))
    normal = np.cross(ca - n, c - n)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    assert np.abs(((h - n) * normal).sum(-1)).max() < 1e-4
    # trans to O, as omega is 180 degrees
    assert (((h - n) * (o - c)).sum(-1) < 0).all()


def test_alpha_hydrogens_are_those_of_l_residues(extended):
    _, found, recipe = extended
    x = recipe.place(folded(5))
    at = atoms_by_name(found.topology)
    rows = [row for row, letter in enumerate(ALL) if letter != "G"]
    n, ca, c, ha = (x[:, [at[row, name] for row in rows]] for name in ("N", "CA", "C", "HA"))
    volume = (np.cross(n - ca, c - ca) * (ha - ca)).sum(-1)
    assert (volume < -5e-4).all()  # CB is on the other side


def test_names_of_hydrogens_are_iupac():
    """pro-R and pro-S of methylenes, E and Z of NH2, against a frame that Amber's tools named."""
    s, pdb = villin(), md.load(villin_path())
    pdb = pdb.atom_slice(pdb.topology.select("protein"))
    found = define_topology(s)
    theirs = atoms_by_name(pdb.topology)
    twos = {"HB2", "HB3", "HG2", "HG3", "HD2", "HD3", "HE2", "HE3", "HA2", "HA3", "HG12", "HG13",
            "HD21", "HD22", "HE21", "HE22", "HH11", "HH12", "HH21", "HH22"}  # fmt: skip
    off = []
    for atom in found.topology.atoms:
        key = atom.residue.index, atom.name
        # Proline's have each other's names in that file.
        methyl = (atom.residue.name, atom.name[:-1]) in (
            ("ALA", "HB"),
            ("MET", "HE"),
            ("LEU", "HD2"),
        )
        if atom.name in twos and atom.residue.name != "PRO" and not methyl:
            off.append(np.linalg.norm(found.positions[atom.index] - pdb.xyz[0, theirs[key]]))
    assert len(off) > 80 and max(off) < 0.06  # exchanged ones are 0.17 nm apart


def test_glycine_and_proline_are_named_by_the_same_rule(extended):
    """HA3 of Gly is where CB of an L residue is; so is the ring's HB3, seen from CA along CB-CG."""
    _, found, _ = extended
    at = atoms_by_name(found.topology)
    gly, pro = ALL.index("G"), ALL.index("P")

    def side(row, a, p, b, h):
        a, p, b, h = (found.positions[at[row, name]] for name in (a, p, b, h))
        return np.dot(np.cross(a - p, b - p), h - p)

    assert side(gly, "N", "CA", "C", "HA3") > 0 > side(gly, "N", "CA", "C", "HA2")
    for around in (("CA", "CB", "CG"), ("CB", "CG", "CD"), ("CG", "CD", "N")):
        letter = around[1][1]
        assert side(pro, *around, f"H{letter}3") > 0 > side(pro, *around, f"H{letter}2")


def test_energy_is_near_the_minimum_over_hydrogens(amber):
    """Modeller alone leaves X-H bonds of 0.119 nm; with a force field it is where we are near."""
    s = villin()
    found = define_topology(s)
    topology = found.topology.to_openmm()
    made = amber.createSystem(topology)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(made, openmm.VerletIntegrator(0.001), platform)

    def energy(positions) -> float:
        context.setPositions(positions)
        return context.getState(energy=True).getPotentialEnergy()._value

    def modelled(force_field) -> float:
        heavy = app.Modeller(topology, found.positions.astype(float) * unit.nanometer)
        heavy.delete([a for a in topology.atoms() if a.element.symbol == "H"])
        variants = [v if v in ("HID", "HIE") else None for v in found.variants]
        heavy.addHydrogens(force_field, variants=variants, platform=platform)
        return energy(heavy.positions)

    ours, best, plain = energy(found.positions), modelled(amber), modelled(None)
    assert ours - best < 10 * s.n_residues  # kJ/mol; what turning hydroxyls and methyls gains
    assert plain - ours > 100 * s.n_residues


def test_rigid_motion_moves_hydrogens_rigidly(extended):
    s, found, recipe = extended
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    moved = (s.atom14 @ rotation.T + [1.0, -2.0, 0.5]).astype(np.float32)
    expected = found.positions @ rotation.T + [1.0, -2.0, 0.5]
    np.testing.assert_allclose(recipe.place(moved)[0], expected, atol=2e-6)


def test_failed_frames_disturb_no_other_and_blocks_change_nothing(extended, monkeypatch):
    s, _, recipe = extended
    x = folded(4)
    clean = recipe.place(x)
    broken = x.copy()
    broken[1] = np.nan
    broken[2, 4, 7] = np.nan  # one atom of a side chain
    out = recipe.place(broken)
    np.testing.assert_array_equal(out[[0, 3]], clean[[0, 3]])
    assert np.isnan(out[1]).all()
    lost = np.isnan(out[2]).all(-1).sum()
    assert 1 <= lost < 10
    monkeypatch.setattr(hydrogens, "CHUNK", 0)  # one frame at a time
    np.testing.assert_array_equal(recipe.place(x), clean)


def test_a_distorted_reference_spoils_no_other_frame(extended):
    """Bonds and angles come from chemistry, and torsions from each frame itself."""
    s, _, recipe = extended
    noise = np.random.default_rng(0).normal(0, 0.02, s.atom14.shape)
    bent = define_topology(replace(s, atom14=(s.atom14 + noise).astype(np.float32)))
    x = folded(2)
    np.testing.assert_array_equal(placed_atoms(bent).place(x), recipe.place(x))


def test_each_frame_turns_its_hydroxyl_to_its_acceptor():
    """A carbonyl oxygen is 0.28 nm from OG, in two directions in two frames."""
    s = structure(template_chain("ASAGG")[None], "ASAGG")
    found = define_topology(s)
    at = atoms_by_name(found.topology)
    x = np.repeat(s.atom14, 2, 0)
    x[:, 3:] += 5.0  # out of the way
    cb, og = (s.atom14[0, 1, slot].astype(float) for slot in (4, 5))
    along = (og - cb) / np.linalg.norm(og - cb)
    away = np.cross(along, s.atom14[0, 1, 1] - cb)
    away /= np.linalg.norm(away)
    for frame, sign in enumerate((1, -1)):
        x[frame, 3, 3] = og + 0.28 * (0.33 * along + 0.94 * sign * away)
    placed = placed_atoms(found).place(x)
    oxygen, hydrogen, acceptor = (
        placed[:, at[row, name]] for row, name in ((1, "OG"), (1, "HG"), (3, "O"))
    )
    assert (angle(oxygen, hydrogen, acceptor) > 150).all()
    assert (np.linalg.norm(hydrogen - acceptor, axis=-1) < 0.21).all()


def test_two_hydroxyls_do_not_point_at_each_other():
    s = structure(template_chain("ASASA")[None], "ASASA")
    rotation = superpose(s.atom14[0, 3, 3:6], s.atom14[0, 1, 3:6][::-1])[1]
    x = s.atom14.copy()
    cb, og = s.atom14[0, 1, 4:6]
    turned = (x[0, 3:] - x[0, 3, 5]) @ rotation.T
    x[0, 3:] = turned + og + 0.27 * (og - cb) / np.linalg.norm(og - cb)
    found = define_topology(structure(x, "ASASA"))
    at = atoms_by_name(found.topology)
    one, other = (found.positions[at[row, "HG"]] for row in (1, 3))
    assert np.linalg.norm(one - other) > 0.18


def test_the_hydrogen_of_an_acid_is_syn_and_that_of_a_phenol_in_the_ring_plane():
    s = structure(template_chain("ADEYA")[None], "ADEYA")
    found = define_topology(s, ph=3.0)
    traj = md.Trajectory(found.positions[None], found.topology)
    at = atoms_by_name(found.topology)
    quads = [[at[row, name] for name in names] for row, *names in (
        (1, "HD2", "OD2", "CG", "OD1"), (2, "HE2", "OE2", "CD", "OE1"), (3, "HH", "OH", "CZ", "CE1")
    )]  # fmt: skip
    torsions = np.degrees(md.compute_dihedrals(traj, quads)[0])
    np.testing.assert_allclose(torsions[:2], 0, atol=8)  # as planar as the template's carboxylate
    assert min(abs(torsions[2]), 180 - abs(torsions[2])) < 1e-2
