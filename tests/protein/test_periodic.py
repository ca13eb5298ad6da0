"""Molecules cut by a periodic box come out as they were before, whatever the box."""

from __future__ import annotations

import mdtraj as md
import numpy as np
import pytest
from builders import helix, ideal_backbone

from openmm_slm.comparison.comparing import compare
from openmm_slm.data.prepare import prepare
from openmm_slm.data.shards import ShardDataset
from openmm_slm.files.frame_reader import FrameReader, StructureReader
from openmm_slm.protein.box import box_of, usable
from openmm_slm.protein.loading import read_structure
from openmm_slm.protein.periodic import cut_frames, made_whole
from openmm_slm.protein.trajectory import backbone_trajectory
from openmm_slm.sampling.template import Template

CUBE = np.diag([6.0, 6.0, 6.0])
#: GROMACS' boxes of a rhombic dodecahedron and a truncated octahedron, and a skewed one.
DODECAHEDRON = 6 * np.array([[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0.7071068]])
OCTAHEDRON = 6 * np.array([[1, 0, 0], [1 / 3, 0.942809, 0], [-1 / 3, 0.471405, 0.816497]])
SKEWED = np.array([[5.0, 0, 0], [2.4, 6.0, 0], [-2.4, 2.9, 7.0]])
BOXES = {"cube": CUBE, "dodecahedron": DODECAHEDRON, "octahedron": OCTAHEDRON, "skewed": SKEWED}
ONE, TWO = "ACDEFGHIKLMNPQRS", "GSTVWYACDE"
QUIET = {"progress": False, "processes": 1}


def strand(length: int) -> np.ndarray:
    angles = np.full((3, length), np.pi)
    return ideal_backbone(*angles)


def protein(frames: int = 4, sequence: str = f"{ONE}:{TWO}") -> md.Trajectory:
    """Helices that touch each other; they drift and turn a little from frame to frame."""
    chains = [helix(len(part)) + [0.9 * k, 0, 0] for k, part in enumerate(sequence.split(":"))]
    rng = np.random.default_rng(0)
    x = np.concatenate(chains) + rng.normal(0, 0.004, (frames, 1, 1, 3))
    x = x + rng.normal(0, 0.003, x.shape)
    return backbone_trajectory(x.astype(np.float32), sequence)


def in_box(traj: md.Trajectory, box: np.ndarray) -> md.Trajectory:
    out = md.Trajectory(traj.xyz.copy(), traj.topology)
    out.unitcell_vectors = np.repeat(box[None], traj.n_frames, 0).astype(np.float32)
    return out


def wrapped(traj: md.Trajectory, box: np.ndarray, shift=(0.0, 0.0, 0.0)) -> md.Trajectory:
    """Moved by a share of the box, then every atom alone brought back into the box."""
    out = in_box(traj, box)
    first = [a.index for a in traj.topology.atoms if a.residue.chain.index == 0]
    places = (out.xyz - out.xyz[0, first].mean(0)) @ np.linalg.inv(box) + shift
    out.xyz = ((places - np.floor(places)) @ box).astype(np.float32)
    return out


def distances(traj: md.Trajectory) -> np.ndarray:
    """All distances of CA, in every frame."""
    ca = traj.xyz[:, [a.index for a in traj.topology.atoms if a.name == "CA"]]
    return np.linalg.norm(ca[:, :, None] - ca[:, None], axis=-1)


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
@pytest.mark.parametrize("shift", [(0, 0, 0), (0.5, 0.1, 0), (0.02, 0.95, 0.5)])
def test_what_the_box_cut_is_as_before(box, shift):
    whole = protein()
    torn = wrapped(whole, box, shift)
    assert len(cut_frames(torn))
    np.testing.assert_allclose(distances(made_whole(torn, "x")), distances(whole), atol=2e-5)


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
@pytest.mark.parametrize("step", [(1, 0, 0), (0, -1, 0), (-1, 2, 1)])
def test_a_chain_in_another_image_comes_back(box, step):
    """No bond is cut, so that MDTraj's make_molecules_whole changes nothing."""
    whole = protein()
    apart = in_box(whole, box)
    second = [a.index for a in whole.topology.atoms if a.residue.chain.index == 1]
    apart.xyz[1:, second] += (np.array(step) @ box).astype(np.float32)
    assert not len(cut_frames(apart))
    mended = made_whole(apart, "x")
    np.testing.assert_allclose(distances(mended), distances(whole), atol=2e-5)
    np.testing.assert_array_equal(mended.xyz[0], apart.xyz[0])  # this one was right


def test_three_chains_follow_their_neighbours():
    """The third touches the second only."""
    whole = protein(2, f"{ONE}:{TWO}:{TWO}")
    torn = in_box(whole, np.diag([3.0, 4.0, 4.0]))
    third = [a.index for a in whole.topology.atoms if a.residue.chain.index == 2]
    first = [a.index for a in whole.topology.atoms if a.residue.chain.index == 0]
    torn.xyz[:, third] -= np.float32([0, 8, 0])
    torn.xyz[:, first] += np.float32([3, 0, 0])
    np.testing.assert_allclose(distances(made_whole(torn, "x")), distances(whole), atol=2e-5)


@pytest.mark.parametrize("box", [CUBE, SKEWED], ids=["cube", "skewed"])
def test_what_is_whole_is_the_same_object(box, caplog):
    for traj in (protein(), protein(3, ONE)):
        boxed = in_box(traj, box)
        assert made_whole(boxed, "x") is boxed
    assert not caplog.text


@pytest.mark.parametrize("side", [3.0, 4.5, 30.0])
def test_a_molecule_larger_than_half_the_box_or_the_box_is_not_mangled(side):
    chain = strand(len(ONE))  # 5.5 nm
    whole = backbone_trajectory(np.stack([chain, chain + 0.1]), ONE)
    assert distances(whole).max() > 5
    boxed = in_box(whole, np.diag([side] * 3))
    assert made_whole(boxed, "x") is boxed
    torn = wrapped(whole, np.diag([side] * 3), (0.5, 0, 0))
    np.testing.assert_allclose(distances(made_whole(torn, "x")), distances(whole), atol=2e-5)


def test_two_long_chains_that_touch_at_their_ends_stay_together():
    """Their centres are more than half a box apart, yet they are in contact."""
    chain = strand(len(TWO))
    length = np.ptp(chain[:, 1], 0)
    second = chain + np.sign(chain[-1, 1] - chain[0, 1]) * (length + 0.3)
    whole = backbone_trajectory(np.concatenate([chain, second])[None], f"{TWO}:{TWO}")
    boxed = in_box(whole, np.diag([5.0] * 3))
    assert made_whole(boxed, "x") is boxed


def test_the_pieces_on_both_sides_of_a_gap_come_together():
    x = protein(2, ONE).xyz
    whole = backbone_trajectory(x.reshape(2, len(ONE), 4, 3), ONE)
    kept = [a.index for a in whole.topology.atoms if not 6 <= a.residue.index < 9]
    whole = whole.atom_slice(kept)
    torn = wrapped(whole, CUBE, (0.5, 0.5, 0.5))
    second = [a.index for a in whole.topology.atoms if a.residue.resSeq > 8]
    torn.xyz[:, second] += np.float32([6, 0, -6])
    np.testing.assert_allclose(distances(made_whole(torn, "x")), distances(whole), atol=2e-5)


def solvated(whole: md.Trajectory, box: np.ndarray) -> md.Trajectory:
    """With 50 waters and 5 ions anywhere in the box, every atom in the box."""
    topology = whole.topology.copy()
    chain, rng = topology.add_chain("W"), np.random.default_rng(1)
    places = rng.random((whole.n_frames, 55, 3))
    extra = []
    for number in range(55):
        name = "HOH" if number < 50 else "NA"
        residue = topology.add_residue(name, chain)
        first = topology.add_atom("O" if number < 50 else "NA", md.element.oxygen, residue)
        place = places[:, number] @ box
        extra.append(place)
        for k in range(2 if number < 50 else 0):
            topology.add_bond(first, topology.add_atom(f"H{k + 1}", md.element.hydrogen, residue))
            extra.append(place + [0.09, 0.03 - 0.06 * k, 0])
    xyz = np.concatenate([whole.xyz, np.stack(extra, 1)], 1).astype(np.float32)
    return wrapped(md.Trajectory(xyz, topology), box)


def test_solvent_and_ions_follow_the_protein():
    whole = protein()
    wet = solvated(whole, OCTAHEDRON)
    assert len(cut_frames(wet)) == 4
    mended = made_whole(wet, "x")
    inside = [a.index for a in wet.topology.atoms if a.index < whole.n_atoms]
    mine = mended.atom_slice(inside)
    np.testing.assert_allclose(distances(mine), distances(whole), atol=2e-5)
    oxygen = mended.xyz[:, whole.n_atoms : whole.n_atoms + 150 : 3]
    for k in (1, 2):  # waters are whole, and around the protein
        hydrogen = mended.xyz[:, whole.n_atoms + k : whole.n_atoms + 150 : 3]
        assert np.linalg.norm(hydrogen - oxygen, axis=-1).max() < 0.1
    places = (oxygen - mine.xyz.mean(1, keepdims=True)) @ np.linalg.inv(OCTAHEDRON)
    assert np.abs(places).max() < 0.55
    moved = (mended.xyz - wet.xyz) @ np.linalg.inv(OCTAHEDRON)
    np.testing.assert_allclose(moved, np.rint(moved), atol=1e-4)  # lattice vectors, no other


def test_boxes_that_are_none_are_ignored(caplog):
    """CRYST1 of 1 x 1 x 1 A is written where there is no box; GRO files have one of zeros."""
    for box in (np.eye(3) / 10, np.zeros((3, 3)), np.full((3, 3), np.nan)):
        assert usable(box[None]) is None
    traj = in_box(protein(), np.eye(3) / 10)
    assert box_of(traj) is None and made_whole(traj, "x") is traj
    assert not caplog.text


def test_without_a_box_a_warning_names_the_frames(caplog):
    torn = wrapped(protein(), CUBE, (0.5, 0, 0))
    torn.xyz[1] = protein().xyz[1]
    torn.unitcell_vectors = None
    assert made_whole(torn, "md.xtc") is torn
    assert "md.xtc: bonds longer than 0.5 nm in frames 0, 2, 3: molecules broken" in caplog.text


# -- every verb ------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    """A cut trajectory in XTC, PDB, mmCIF and GRO, with its topology; and the whole one."""
    whole = protein(3)
    torn = wrapped(whole, CUBE, (0.5, 0.1, 0.0))
    for name in ("torn.xtc", "torn.pdb", "torn.gro"):
        torn.save(str(tmp_path / name))
    whole[0].save_pdb(str(tmp_path / "top.pdb"))
    return tmp_path, whole, torn


@pytest.mark.parametrize("name", ["torn.xtc", "torn.pdb", "torn.gro"])
def test_readers_give_whole_molecules(files, name):
    folder, whole, _ = files
    top = folder / "top.pdb" if name == "torn.xtc" else None
    path = folder / name
    frames = FrameReader(path, top)
    assert frames.n_frames == 3
    np.testing.assert_allclose(distances(frames.load()), distances(whole), atol=4e-3)
    joined = md.join(list(frames.blocks(0, 2)), check_topology=False)
    np.testing.assert_allclose(distances(joined), distances(whole), atol=4e-3)
    found = StructureReader(path, top).load()
    assert found.chain_sequences == f"{ONE}:{TWO}" and found.chain_break.sum() == 2
    np.testing.assert_allclose(
        distances(found.to_trajectory("backbone")), distances(whole), atol=4e-3
    )


def test_templates_are_whole(files):
    folder, whole, torn = files
    for source in (torn, folder / "torn.pdb", folder / "torn.gro"):
        made = Template.of(source, f"{ONE}:{TWO}")
        ca = made.atom14[:, :, 1]
        found = np.linalg.norm(ca[:, :, None] - ca[:, None], axis=-1)
        np.testing.assert_allclose(found, distances(whole), atol=4e-3)


def test_compare_does_not_see_the_box(files):
    _, whole, torn = files
    table = compare(torn, whole, tica_lag=None, n_bootstrap=0).table["value"]
    assert table["RMSD-ens"] < 1e-3 and table["TM-ens"] > 0.9999
    assert table["MAE-PwD"] < 1e-3 and table["MAE-Rg"] < 1e-3


def test_prepare_does_not_see_the_box(files):
    folder, whole, _ = files
    out = prepare(folder / "torn.xtc", folder / "shards", top=folder / "top.pdb", min_length=5,
                  **QUIET)  # fmt: skip
    entries = list(ShardDataset(out))
    assert len(entries) == 3
    for entry, expected in zip(entries, distances(whole), strict=True):
        ca = entry.backbone[:, 1]
        found = np.linalg.norm(ca[:, None] - ca[None], axis=-1)
        np.testing.assert_allclose(found, expected, atol=4e-3)
        assert entry.chain_break.sum() == 2


def test_molecules_of_a_crystal_stay_where_the_authors_put_them(tmp_path):
    """A dimer whose second chain touches the first in another cell only."""
    whole = in_box(protein(1), CUBE)
    second = [a.index for a in whole.topology.atoms if a.residue.chain.index == 1]
    whole.xyz[:, second] += np.float32([6, 0, 0])
    whole.save_pdb(str(tmp_path / "p1.pdb"))
    text = (tmp_path / "p1.pdb").read_text()
    line = next(line for line in text.splitlines() if line.startswith("CRYST1"))
    crystal = text.replace(line, line[:55] + "P 21 21 21    4")
    (tmp_path / "crystal.pdb").write_text(crystal)
    moved = distances(whole)
    together = distances(protein(1))
    for name, expected in (("p1.pdb", together), ("crystal.pdb", moved)):
        read = read_structure(tmp_path / name).to_trajectory("backbone")
        np.testing.assert_allclose(distances(read), expected, atol=1e-3)
        frames = FrameReader(tmp_path / name).load()
        np.testing.assert_allclose(distances(frames), expected, atol=1e-3)
