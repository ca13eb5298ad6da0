"""Files as programs write them: nothing is welded, lost or turned without a word."""

from __future__ import annotations

import os
import subprocess
import sys

import mdtraj as md
import numpy as np
import pytest
from all_atoms import template_chain
from builders import helix

import openmm_slm
from openmm_slm.errors import StructureError
from openmm_slm.files.frame_reader import FrameReader, StructureReader
from openmm_slm.protein.atoms import ATOM14
from openmm_slm.protein.loading import read_structure
from openmm_slm.protein.periodic import cut_frames
from openmm_slm.protein.sequence import THREE_LETTER
from openmm_slm.protein.structure import split_at_breaks
from openmm_slm.protein.unmodelled import d_residues, refuse_cyclic
from openmm_slm.sampling.template import Template

SEQUENCE = "ACDEFGHIKL"
LONG = "ACDEFGHIKLMNPQRSTVWY"


def atom_line(number, name, residue, chain, index, xyz, segment="", record="ATOM  "):
    """A PDB record; residue names of four letters reach into column 21."""
    x, y, z = 10 * np.asarray(xyz)
    return (
        f"{record}{number:5d}  {name:<3} {residue:<4}{chain or ' '}{index:4d}    "
        f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00      {segment:<4}{name[0]:>2}"
    )


def records(atom14, sequence, chain="A", first=1, names=None, segment="", skip=()):
    """Records of a chain; `names` replaces residue names by row, rows of `skip` are left out."""
    lines = []
    for row, letter in enumerate(sequence):
        residue = (names or {}).get(row, THREE_LETTER[letter])
        for name, xyz in zip(ATOM14[letter], atom14[row], strict=False):
            if row not in skip:
                arguments = (len(lines) + 1, name, residue, chain, first + row, xyz, segment)
                lines.append(atom_line(*arguments))
    return lines


@pytest.fixture(scope="module")
def chain() -> np.ndarray:
    """All heavy atoms [10, 14, 3] of a chain (nm)."""
    return template_chain(LONG)[:10]


def write(path, *lines):
    path.write_text("\n".join([*lines, "END", ""]))
    return path


def test_frames_separated_by_end_are_all_read(tmp_path, chain):
    frames = [line for k in range(3) for line in [*records(chain + k, SEQUENCE), "END"]]
    found = read_structure(write(tmp_path / "vmd.pdb", *frames))
    assert found.n_frames == 3
    moved = found.atom14[2] - found.atom14[0]
    np.testing.assert_allclose(moved[np.isfinite(moved)], 2, atol=1e-3)


def test_a_single_end_in_the_middle_of_nothing_changes_nothing(tmp_path, chain):
    assert read_structure(write(tmp_path / "x.pdb", *records(chain, SEQUENCE))).n_frames == 1


@pytest.mark.parametrize("name", ["HISE", "HISD", "HISH", "NHIE", "CHID"])
def test_residue_names_of_four_letters_are_one_residue_of_one_chain(tmp_path, chain, name):
    found = read_structure(
        write(tmp_path / "x.pdb", *records(chain, SEQUENCE, chain="", names={6: name}))
    )
    assert found.sequence == SEQUENCE and len(found.chain_ids) == 1
    assert not found.chain_break[1:].any()


def test_two_segments_without_chain_names_are_two_chains(tmp_path, chain):
    far = chain + 3
    path = write(
        tmp_path / "psfgen.pdb",
        *records(chain, SEQUENCE, "", segment="PROA"),
        *records(far, SEQUENCE, "", segment="PROB"),
    )
    found = read_structure(path)
    assert found.chain_sequences == f"{SEQUENCE}:{SEQUENCE}"
    assert len(set(found.chain_ids)) == 2


def test_numbers_that_restart_begin_a_chain_unless_there_is_a_bond(tmp_path, chain):
    apart = read_structure(
        write(tmp_path / "a.pdb", *records(chain, SEQUENCE), *records(chain + 3, SEQUENCE))
    )
    assert apart.chain_sequences == f"{SEQUENCE}:{SEQUENCE}"
    bonded = read_structure(
        write(
            tmp_path / "b.pdb",
            *records(chain[:5], SEQUENCE[:5], first=100),
            *records(chain[5:], SEQUENCE[5:], first=6),
        )
    )
    assert bonded.chain_sequences == SEQUENCE and not bonded.chain_break[1:].any()


def test_a_modified_residue_behind_the_end_of_its_chain_goes_to_its_place(tmp_path):
    chain = template_chain(LONG)
    met = LONG.index("M")
    lines = records(chain, LONG, names={met: "MSE"})
    moved = [line.replace("ATOM  ", "HETATM") for line in lines if "MSE" in line]
    kept = [line for line in lines if "MSE" not in line]
    found = read_structure(write(tmp_path / "mse.pdb", *kept, "TER", *moved))
    assert found.sequence == LONG
    assert found.residue_number.tolist() == list(range(1, 21))
    assert not found.chain_break[1:].any()


def test_caps_are_named_when_they_are_left_out(tmp_path, chain, caplog):
    cap = atom_line(1, "CH3", "ACE", "A", 0, chain[0, 0] + 0.2)
    carbonyl = atom_line(2, "C", "ACE", "A", 0, chain[0, 0] + [0.13, 0, 0])
    path = write(tmp_path / "caps.pdb", cap, carbonyl, *records(chain, SEQUENCE))
    assert read_structure(path).sequence == SEQUENCE
    for source in (path, md.load(str(path))):
        caplog.clear()
        Template.of(source, SEQUENCE)
        assert "ACE 0 is left out" in caplog.text and "charged" in caplog.text


def test_a_template_with_a_gap_is_not_closed(tmp_path):
    chain = template_chain(LONG)
    gap = records(chain, LONG, skip=range(8, 12))
    path = write(tmp_path / "gap.pdb", *gap)
    short = LONG[:8] + LONG[12:]
    with pytest.raises(StructureError, match="ILE 8 of chain A and PRO 13 of chain A.*not bonded"):
        Template.of(path, short)
    assert Template.of(path, LONG).known.sum() == 16  # the missing residues are sampled
    split = Template.of(path, f"{LONG[:8]}:{LONG[12:]}")
    assert len(set(split.chain_ids)) == 2 and split.known.all()


def test_split_at_breaks_leaves_other_numbers_of_chains_alone(tmp_path, chain):
    found = read_structure(write(tmp_path / "x.pdb", *records(chain, SEQUENCE)))
    assert split_at_breaks(found, 2) is found


def test_a_cyclic_peptide_is_refused_with_the_distance():
    turn = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    backbone = np.zeros((1, 8, 4, 3), np.float32)
    backbone[0, :, 1, 0], backbone[0, :, 1, 1] = np.cos(turn), np.sin(turn)
    backbone[0, -1, 2] = backbone[0, 0, 0] + [0.134, 0, 0]
    found = openmm_slm.load_structure(md_backbone(backbone, "GAKAGDAV"))
    with pytest.raises(StructureError, match=r"VAL 8 .* GLY 1 .* 0\.134 nm"):
        refuse_cyclic(found)


def test_beads_with_other_names_are_told_what_to_be_called():
    frames = md_backbone(helix(6)[None], "ACDEFG")
    beads = frames.atom_slice(frames.topology.select("name CA"))
    assert openmm_slm.load_structure(beads).sequence == "ACDEFG"
    for atom in beads.topology.atoms:
        atom.name = "BB"
    with pytest.raises(StructureError, match=r"BB of ALA\): name each bead CA"):
        openmm_slm.load_structure(beads)


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_coordinates_in_other_units_are_refused(tmp_path, factor):
    frames = md_backbone(factor * helix(12)[None], "GAKAGDAVLIMS")
    for call in (
        openmm_slm.flexibility,
        openmm_slm.complete,
        openmm_slm.relax,
        lambda given: Template.of(given, "GAKAGDAVLIMS"),
    ):
        with pytest.raises(StructureError, match="check the units"):
            call(frames)


def md_backbone(backbone, sequence):
    from openmm_slm.protein.trajectory import backbone_trajectory

    return backbone_trajectory(backbone, sequence)


def test_d_residues_are_seen_by_their_geometry_and_named(tmp_path, chain, caplog):
    mirrored = chain.copy()
    ca, normal = chain[3, 1], np.cross(chain[3, 0] - chain[3, 1], chain[3, 2] - chain[3, 1])
    normal /= np.linalg.norm(normal)
    side = chain[3, 4:] - ca
    mirrored[3, 4:] = ca + side - 2 * (side @ normal)[:, None] * normal
    path = write(tmp_path / "d.pdb", *records(mirrored, SEQUENCE))
    assert d_residues(read_structure(path)) == [3]
    assert d_residues(read_structure(write(tmp_path / "l.pdb", *records(chain, SEQUENCE)))) == []
    Template.of(path, SEQUENCE)
    assert "GLU 4 of chain A" in caplog.text and "D residues" in caplog.text


def test_paths_and_names_beyond_ascii_are_read(tmp_path):
    traj = md_backbone(np.stack([helix(6), helix(6) + 1]).astype(np.float32), "ACDEFG")
    folder = tmp_path / "Müller"
    folder.mkdir()
    traj[0].save_pdb(str(folder / "top.pdb"))
    traj.save_xtc(str(tmp_path / "x.xtc"))
    (tmp_path / "x.xtc").rename(folder / "x.xtc")
    read = FrameReader(folder / "x.xtc", folder / "top.pdb")
    assert read.n_frames == 2 and len(list(read.blocks(0, 1))) == 2


@pytest.mark.slow
def test_a_forked_child_samples_the_same_with_one_thread(tmp_path):
    code = """
import multiprocessing, torch, openmm_slm
def sample():
    return openmm_slm.generate_ensemble("ACDE", n=1, seed=1, progress=False)
def child(queue):
    queue.put((torch.get_num_threads(), float(sample().xyz.sum())))
torch.set_num_threads(2)
ours = float(sample().xyz.sum())
context = multiprocessing.get_context("fork")
queue = context.Queue()
process = context.Process(target=child, args=(queue,))
process.start()
theirs = queue.get(timeout=100)[1]
process.join()
print("same" if abs(ours - theirs) < 1e-2 else (ours, theirs))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
    )  # fmt: skip
    assert done.stdout.strip() == "same", done.stderr
    assert "spawn" in done.stderr


@pytest.mark.slow
def test_a_folder_with_an_n_terminal_proline_is_relaxed_and_seeded(tmp_path):
    """MDTraj's bond tables have no H2 and H3 of PRO."""
    folder = tmp_path / "pro"
    settings = {"n": 1, "seed": 1, "progress": False}
    openmm_slm.generate_ensemble("PQIPLW:PQAC", **settings, relax=True, output=folder)
    relaxed = openmm_slm.relax(folder, iterations=5, progress=False, processes=1)
    assert np.isfinite(relaxed.report["energy_after_kj_mol"]).all()
    arguments = {"n": 1, "solvent": "implicit", "equilibration": 0, "report": "md"}
    openmm_slm.write_seeds(folder, tmp_path / "seeds", **arguments, progress=False)


@pytest.mark.parametrize("names", [("A", "B"), ("AA", "AB")])
def test_negative_numbers_and_long_chain_names_are_told_apart_in_topology_pdb(
    tmp_path, caplog, names
):
    from openmm_slm.files.topology_file import write_topology
    from openmm_slm.protein.trajectory import backbone_trajectory

    backbone = np.concatenate([helix(4), helix(4) + 3])[None].astype(np.float32)
    numbers = np.array([-5, -4, -3, -2, 1, 2, 3, 4])
    traj = backbone_trajectory(backbone, "ACDE:FGHI", names, numbers)
    write_topology(traj, tmp_path / "topology.pdb")
    found = read_structure(tmp_path / "topology.pdb")
    assert found.residue_number.tolist() == numbers.tolist()
    assert found.chain_ids == ("A", "B") and found.chain_sequences == "ACDE:FGHI"
    assert ("AA is A, AB is B" in caplog.text) == (names[0] == "AA")


def boxed(traj, size):
    """The same frames with a cubic box."""
    traj.unitcell_lengths = np.full((traj.n_frames, 3), size)
    traj.unitcell_angles = np.full((traj.n_frames, 3), 90.0)
    return traj


def test_molecules_cut_by_the_box_are_made_whole(tmp_path, chain, caplog):
    path = write(tmp_path / "x.pdb", *records(chain, SEQUENCE))
    whole = md.load(str(path))
    whole.xyz -= whole.xyz.min((0, 1))
    size = float(whole.xyz.max()) + 0.5
    wrapped = boxed(whole[:], size)
    wrapped.xyz = (wrapped.xyz + size / 2) % size
    assert cut_frames(wrapped).tolist() == [0] and not len(cut_frames(boxed(whole[:], size)))
    mended = FrameReader(wrapped).load()
    assert md.rmsd(mended, whole)[0] < 1e-3
    assert StructureReader(wrapped).load().chain_break.sum() == 1
    assert not caplog.text
    wrapped.unitcell_vectors = None
    FrameReader(wrapped)
    assert "in frames 0" in caplog.text and "box" in caplog.text


def test_insertion_codes_survive_a_folder(tmp_path, chain):
    lines = records(chain, SEQUENCE)
    coded = lines
    for row, number in enumerate((10, 11, 12, 12, 12, 13, 14, 15, 16, 17)):
        code = "AB"[row - 3] if row in (3, 4) else " "
        coded = [
            f"{line[:22]}{number:4d}{code}{line[27:]}" if int(line[22:26]) == row + 1 else old
            for line, old in zip(lines, coded, strict=True)
        ]
    source = write(tmp_path / "icode.pdb", *coded)
    folder = tmp_path / "out"
    options = {"template": source, "n": 1, "seed": 1, "progress": False, "output": folder}
    openmm_slm.generate_ensemble(SEQUENCE, **options)
    found = read_structure(folder / "topology.pdb")
    assert found.sequence == SEQUENCE
    assert "".join(found.insertion_code) == "AB" and found.residue_number.tolist()[2:5] == [12] * 3
    again = FrameReader(folder)
    assert [getattr(r, "insertion_code", "") for r in again.topology.residues][2:5] == [
        "",
        "A",
        "B",
    ]
