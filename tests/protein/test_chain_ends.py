"""Where chains end in structure files, boxes of their models, and names of residues."""

from __future__ import annotations

import mdtraj as md
import numpy as np
import pytest
from all_atoms import template_chain
from builders import regular
from odd_files import build, plain

from openmm_slm.files.frame_reader import FrameReader, StructureReader
from openmm_slm.protein.atoms import ATOM14, four_letter_name, residue_letter
from openmm_slm.protein.loading import read_structure
from openmm_slm.protein.sequence import THREE_LETTER
from openmm_slm.protein.structure import from_backbone
from openmm_slm.protein.trajectory import structure_of

FIRST, SECOND = "PHCMSDEK", "ACDEFGHIKL"


def line(name, residue, chain, number, xyz, record="ATOM"):
    x, y, z = 10 * np.asarray(xyz)
    return (
        f"{record:<6}{1:5d}  {name:<3} {residue:<4}{chain or ' '}{number:4d}    "
        f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {name[0]:>2}"
    )


def protein(sequence, chain, first=1, shift=0.0, ends=True):
    """Heavy atoms, and OXT if `ends`."""
    xyz = template_chain(sequence) + np.float32(shift)
    out = [
        line(name, THREE_LETTER[letter], chain, first + row, xyz[row, k])
        for row, letter in enumerate(sequence)
        for k, name in enumerate(ATOM14[letter])
    ]
    last = first + len(sequence) - 1
    oxygen = line("OXT", THREE_LETTER[sequence[-1]], chain, last, xyz[-1, 2] + [0, 0, 0.125])
    return [*out, oxygen] if ends else out


def both(path):
    """What the readers of complete and of relax find; they have to agree."""
    ours, theirs = read_structure(path), structure_of(FrameReader(path).load())
    assert ours.chain_sequences == theirs.chain_sequences and ours.chain_ids == theirs.chain_ids
    assert ours.residue_number.tolist() == theirs.residue_number.tolist()
    assert (ours.chain_break == theirs.chain_break).all()
    np.testing.assert_allclose(ours.atom14, theirs.atom14, atol=1e-5)
    return ours


def write(tmp_path, *lines):
    path = tmp_path / "x.pdb"
    path.write_text("\n".join([*lines, "END", ""]))
    return path


@pytest.mark.parametrize("chain", ["", "A"])
@pytest.mark.parametrize("ter", [(), ("TER",)])
def test_numbers_that_run_on_do_not_join_proteins_with_ends(tmp_path, chain, ter):
    """AMBER and GROMACS number the residues of all proteins on, often under one letter."""
    lines = [*protein(FIRST, chain), *ter, *protein(SECOND, chain, len(FIRST) + 1, 3.0), *ter]
    found = both(write(tmp_path, *lines))
    assert found.chain_sequences == f"{FIRST}:{SECOND}" and len(set(found.chain_ids)) == 2


def test_a_cap_between_proteins_ends_a_chain(tmp_path):
    n = template_chain(SECOND)[0, 0] + 3
    cap = [line(a, "ACE", "", 9, n + [0.133 + 0.1 * k, 0, 0]) for k, a in enumerate(("C", "CH3"))]
    cap.append(line("O", "ACE", "", 9, n + [0.2, 0.1, 0]))
    lines = [*protein(FIRST, "", ends=False), *cap, *protein(SECOND, "", 10, 3.0, ends=False)]
    assert both(write(tmp_path, *lines)).chain_sequences == f"{FIRST}:{SECOND}"


def test_a_gap_of_a_named_chain_stays_a_gap(tmp_path):
    """Some programs write TER, or OXT, at each gap."""
    lines = [*protein(FIRST, "A"), "TER", *protein(SECOND, "A", 20, 3.0), "TER"]
    found = both(write(tmp_path, *lines))
    assert found.chain_ids == ("A",) and np.flatnonzero(found.chain_break).tolist() == [0, 8]


def test_mmcif_polymers_of_one_author_chain_with_the_same_numbers_are_two_chains(tmp_path):
    odd = build(plain(kind="cif", sequences=(FIRST, SECOND), second="restarts"))
    rows = [r.split() for r in odd.text.splitlines()]
    for row in rows:
        if row and row[0] == "ATOM":
            row[17] = "A"  # auth_asym_id; label_asym_id stays A or B
    path = tmp_path / "x.cif"
    path.write_text("\n".join(map(" ".join, rows)) + "\n")
    found = both(path)
    assert found.chain_sequences == f"{FIRST}:{SECOND}" and found.chain_ids == ("A", "B")


def test_atoms_written_twice_are_read_once(tmp_path):
    lines = protein(SECOND, "A")
    twice = [copy for text in lines for copy in (text, text)]
    assert both(write(tmp_path, *twice)).atom_mask.sum() == len(lines) - 1


@pytest.mark.parametrize("separator", ["MODEL", "END"])
def test_each_model_is_made_whole_with_its_own_box(tmp_path, separator):
    """GROMACS and VMD write CRYST1 before each frame; the box changes at constant pressure."""
    lines, whole = [], template_chain(SECOND)
    for size in (60.0, 61.5):
        cell = f"CRYST1{size:9.3f}{size:9.3f}{size:9.3f}{90:7.2f}{90:7.2f}{90:7.2f} P 1           1"
        atoms = [
            f"{text[:30]}{float(text[30:38]) + size * (int(text[22:26]) > 5):8.3f}{text[38:]}"
            for text in protein(SECOND, "A")
        ]
        frame = [cell, *atoms]
        lines += ["MODEL", *frame, "ENDMDL"] if separator == "MODEL" else [*frame, "END"]
    found = both(write(tmp_path, *lines))
    for frame in found.atom14:
        moved = (frame - whole)[np.isfinite(frame)].reshape(-1, 3)
        np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=2e-3)


def test_a_box_that_holds_no_such_molecule_is_no_box(tmp_path):
    """A placeholder of 12 Å about 600 atoms would bring the chains into each other."""
    cell = f"CRYST1{12:9.3f}{12:9.3f}{12:9.3f}{90:7.2f}{90:7.2f}{90:7.2f} P 1           1"
    chains = [t for k in range(25) for t in protein(SECOND, "ABCDEFGHIJKLMNOPQRSTUVWXY"[k], 1, k)]
    path = write(tmp_path, cell, *chains)
    found = StructureReader(path).load()
    np.testing.assert_allclose(found.atom14[0, 240, 1] - found.atom14[0, 0, 1], 24, atol=1e-2)
    assert FrameReader(path).load().unitcell_lengths is None


@pytest.mark.parametrize(
    ("name", "letter", "short"),
    [
        ("CYSH", "C", "CYS"), ("ARGN", "R", "ARG"), ("HIS1", "H", "HIS"), ("LYS+", "K", "LYS"),
        ("NASP", "D", "ASP"), ("CHIE", "H", "HIE"), ("HISE", "H", "HIE"), ("CYS2", "C", "CYX"),
        ("HSH", "H", None), ("HIH", "H", None), ("LSN", "K", None), ("TIP3", "X", None),
    ],
)  # fmt: skip
def test_names_of_other_programs(name, letter, short):
    assert (residue_letter(name), four_letter_name(name)) == (letter, short)


def test_a_residue_behind_its_chain_is_named_if_a_trajectory_has_it(tmp_path, caplog):
    """MDTraj makes a chain of it; files are read with the residue in its place."""
    odd = build(plain(sequences=("PHCMSDEK",), modified="MSE after", ter=True))
    (tmp_path / "x.pdb").write_text(odd.text)
    assert both(tmp_path / "x.pdb").sequence == "PHCMSDEK" and not caplog.text
    assert StructureReader(md.load(str(tmp_path / "x.pdb"))).load().sequence == "PHCSDEK"
    assert "bonded to no chain and left out: MSE 4 of chain A" in caplog.text


@pytest.mark.parametrize("lost", ["N", "CA", "C"])
def test_residues_without_part_of_the_backbone_are_named(tmp_path, caplog, lost):
    peptide = from_backbone(regular(6, -60, -45)[None], "AGSDEK").to_trajectory("backbone")
    atoms = [a.index for a in peptide.topology.atoms if (a.residue.index, a.name) != (3, lost)]
    peptide.atom_slice(atoms).save_pdb(str(tmp_path / "x.pdb"))
    FrameReader(tmp_path / "x.pdb").load()
    assert "N, CA or C is missing in ASP 4" in caplog.text
