"""A chain of a topology with several proteins is split; a chain with one protein is not."""

from __future__ import annotations

import mdtraj as md
import numpy as np
import pytest
from builders import helix
from two_proteins import BOTH, ONE, TWO, two_proteins, welded, write_all

import openmm_slm
from openmm_slm.files.frame_reader import FrameReader
from openmm_slm.protein.chains import divided
from openmm_slm.protein.trajectory import backbone_trajectory, from_trajectory
from openmm_slm.sampling.template import Template

#: Frames, and their topology if they have none.
FILES = {
    "prmtop and rst7": ("two.rst7", "two.prmtop"),
    "prmtop and DCD": ("two.dcd", "two.prmtop"),
    "GRO, numbers restart": ("two.gro", None),
    "GRO, numbers go on": ("merged.gro", None),
    "PSF, two segments": ("two.xtc", "two.psf"),
    "PSF, one segment": ("two.xtc", "joined.psf"),
}


@pytest.fixture(scope="module")
def both() -> md.Trajectory:
    return two_proteins()


@pytest.fixture(scope="module")
def folder(both, tmp_path_factory):
    path = tmp_path_factory.mktemp("two")
    write_all(both, path)
    return path


def gap(traj: md.Trajectory) -> float:
    """Distance from the last C of the first protein to the first N of the second, nm."""
    residues = list(traj.topology.residues)
    c = next(a.index for a in residues[len(ONE) - 1].atoms if a.name == "C")
    n = next(a.index for a in residues[len(ONE)].atoms if a.name == "N")
    return float(np.linalg.norm(traj.xyz[0, c] - traj.xyz[0, n]))


def chains(topology: md.Topology) -> list[int]:
    return [chain.n_residues for chain in topology.chains]


@pytest.mark.parametrize("files", FILES.values(), ids=FILES)
def test_two_proteins_are_two_chains(folder, both, files):
    name, top = (part and folder / part for part in files)
    plain = md.load(str(name), **({} if top is None else {"top": str(top)}))
    assert top == folder / "two.psf" or plain.n_chains == 1  # MDTraj has one chain
    for source, of in ((name, top), (plain, None)):
        read = FrameReader(source, of)
        assert chains(read.topology) == [len(ONE), len(TWO)] and not welded(read.topology)
        assert read.topology.n_bonds == both.topology.n_bonds
    found = from_trajectory(plain)
    assert found.chain_sequences == BOTH and len(set(found.chain_ids)) == 2
    assert np.flatnonzero(found.chain_break).tolist() == [0, len(ONE)]
    template = Template.of(plain, BOTH)
    assert template.known.all()


@pytest.mark.parametrize("files", FILES.values(), ids=FILES)
def test_they_stay_apart_in_all_that_comes_out(folder, both, files, tmp_path):
    name, top = (part and folder / part for part in files)
    before = gap(both)
    completed = openmm_slm.complete(name, top=top, progress=False, device="cpu")
    assert chains(completed.topology) == [len(ONE), len(TWO)] and not welded(completed.topology)
    assert completed.n_atoms == both.n_atoms and gap(completed) == pytest.approx(before, abs=0.02)
    relaxed = openmm_slm.relax(name, top=top, iterations=5, progress=False, processes=1).trajectory
    assert chains(relaxed.topology) == [len(ONE), len(TWO)] and not welded(relaxed.topology)
    assert gap(relaxed) == pytest.approx(before, abs=0.1)


@pytest.mark.parametrize("name", ["two.rst7", "merged.gro"])
def test_seeds_of_two_proteins_have_two_chains(folder, both, name):
    top = folder / "two.prmtop" if name == "two.rst7" else None
    (seed,) = openmm_slm.seed_simulations(
        folder / name, 1, top=top, solvent="implicit", equilibration=0, report="md"
    )
    topology = seed.topology
    assert [len(list(chain.residues())) for chain in topology.chains()] == [len(ONE), len(TWO)]
    assert topology.getNumBonds() == both.topology.n_bonds


def test_a_stripped_amber_topology_still_has_its_bonds(folder):
    """N, CA, C and O only: no OXT and no hydrogens, and the numbers go on."""
    traj = md.load(str(folder / "two.rst7"), top=str(folder / "two.prmtop"))
    kept = [a.index for a in traj.topology.atoms if a.name in ("N", "CA", "C", "O")]
    found = from_trajectory(traj.atom_slice(kept))
    assert found.chain_sequences == BOTH


def unnamed(traj: md.Trajectory) -> md.Trajectory:
    """One chain without a name, bonded by residue names alone, as in a GRO file."""
    made = md.Topology()
    chain = made.add_chain()
    for residue in traj.topology.residues:
        new = made.add_residue(residue.name, chain, residue.resSeq)
        for atom in residue.atoms:
            made.add_atom(atom.name, atom.element, new)
    made.create_standard_bonds()
    return md.Trajectory(traj.xyz, made)


def test_caps_between_two_proteins_part_them_and_stay_with_their_own():
    traj = unnamed(backbone_trajectory((np.concatenate([helix(5), helix(5) + 3]))[None], "A" * 10))
    made = md.Topology()
    chain, atoms = made.add_chain(), []
    for residue in traj.topology.residues:
        before, after = residue.index in (0, 5), residue.index in (4, 9)
        if before:
            made.add_atom("CH3", md.element.carbon, made.add_residue("ACE", chain, 1))
            atoms.append(traj.xyz[0, residue.atom(0).index] + 0.1)
        new = made.add_residue("ALA", chain, residue.index + 1)
        for atom in residue.atoms:
            made.add_atom(atom.name, atom.element, new)
            atoms.append(traj.xyz[0, atom.index])
        if after:
            made.add_atom("N", md.element.nitrogen, made.add_residue("NME", chain, 1))
            atoms.append(traj.xyz[0, residue.atom(2).index] + 0.1)
    found = divided(md.Trajectory(np.array(atoms)[None], made)).topology
    names = [[residue.name for residue in chain.residues] for chain in found.chains]
    assert names == [["ACE", *["ALA"] * 5, "NME"]] * 2


@pytest.mark.parametrize("jump", [100, -3, -90])
def test_numbers_that_jump_over_a_bond_do_not_cut(jump):
    """Antibody schemes, engineered loops: the bond is there, whatever the numbers."""
    numbers = np.arange(1, 11) + 100 + np.where(np.arange(10) < 5, 0, jump)
    traj = backbone_trajectory(helix(10)[None], "A" * 10, residue_number=numbers)
    for one in (traj, unnamed(traj)):
        assert divided(one) is one
        assert from_trajectory(one).chain_break.sum() == 1


def test_an_unresolved_loop_is_a_break_in_one_chain_and_not_bonded():
    whole = unnamed(backbone_trajectory(helix(14)[None], "A" * 14))
    kept = [a.index for a in whole.topology.atoms if not 5 <= a.residue.index < 9]
    traj = whole.atom_slice(kept)
    traj.topology.create_standard_bonds()
    made = divided(traj)
    assert made.n_chains == 1
    joined = [(a.residue.index, b.residue.index) for a, b in made.topology.bonds]
    assert (4, 5) not in joined and (3, 4) in joined
    assert np.flatnonzero(from_trajectory(traj).chain_break).tolist() == [0, 5]


def test_termini_in_contact_are_not_bonded_but_a_bond_beats_the_names():
    """OXT in the middle of a chain, as some programs leave it, does not cut a bond of 0.133 nm."""
    traj = unnamed(backbone_trajectory(helix(8)[None], "A" * 8))
    made = md.Topology()
    chain, rows = made.add_chain(), []
    for residue in traj.topology.residues:
        new = made.add_residue("ALA", chain, residue.resSeq)
        for atom in residue.atoms:
            made.add_atom(atom.name, atom.element, new)
            rows.append(traj.xyz[0, atom.index])
        if residue.index == 3:
            made.add_atom("OXT", md.element.oxygen, new)
            rows.append(rows[-1] + 0.1)
    with_oxt = md.Trajectory(np.array(rows)[None], made)
    assert divided(with_oxt) is with_oxt
    apart = md.Trajectory(with_oxt.xyz.copy(), made)
    apart.xyz[:, 17:] += 0.3  # as far as in a salt bridge of the two ends
    assert chains(divided(apart).topology) == [4, 4]


def test_alpha_carbons_alone_are_parted_where_the_numbers_restart():
    x = np.concatenate([helix(6), helix(6) + 2])[None]
    numbers = np.tile(np.arange(1, 7), 2)
    traj = unnamed(backbone_trajectory(x, "A" * 12, residue_number=numbers))
    ca = traj.atom_slice([a.index for a in traj.topology.atoms if a.name == "CA"])
    assert chains(divided(ca).topology) == [6, 6]


def test_a_frame_that_is_not_finite_changes_no_topology():
    traj = unnamed(backbone_trajectory(np.full((1, 8, 4, 3), np.nan, np.float32), "A" * 8))
    assert divided(traj) is traj
