"""Reading structures: what is kept, what is set aside, what is refused."""

from __future__ import annotations

import gzip
import logging

import gemmi
import mdtraj as md
import numpy as np
import pytest
from builders import helix, ideal_backbone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openmm_slm.errors import StructureError
from openmm_slm.protein.atoms import ATOM14
from openmm_slm.protein.loading import load_structure, read_structure
from openmm_slm.protein.sequence import AMINO_ACIDS, THREE_LETTER
from openmm_slm.protein.structure import ProteinStructure, residue_index
from openmm_slm.protein.trajectory import backbone_trajectory, from_trajectory

LINE = (
    "{record:6}{serial:5d} {name:^4}{alt:1}{residue:>3} {chain:1}{number:4d}{code:1}   "
    "{x:8.3f}{y:8.3f}{z:8.3f}{occupancy:6.2f}{b:6.2f}          {element:>2}\n"
)


def atom(name, residue, number, xyz, *, record="ATOM", alt="", chain="A", code="", occupancy=1.0,
         element=None, serial=1):  # fmt: skip
    """One PDB line; xyz in nm."""
    x, y, z = 10 * np.asarray(xyz, float)
    return LINE.format(
        record=record, serial=serial, name=name if len(name) == 4 else f" {name:<3}", alt=alt,
        residue=residue, chain=chain, number=number, code=code, x=x, y=y, z=z,
        occupancy=occupancy, b=0.0, element=element or name[0],
    )  # fmt: skip


def residue(number, xyz, name="ALA", **options):
    return "".join(
        atom(a, name, number, p, **options) for a, p in zip(["N", "CA", "C", "O"], xyz, strict=True)
    )


def write(path, text):
    path.write_text(text + "END\n")
    return path


@pytest.fixture
def plain(tmp_path):
    x = helix(6)
    return write(tmp_path / "p.pdb", "".join(residue(i + 1, x[i]) for i in range(6)))


def test_backbone_comes_back_in_nm(plain):
    s = read_structure(plain)
    assert s.sequence == "AAAAAA" and s.n_frames == 1 and s.chain_ids == ("A",)
    np.testing.assert_allclose(s.backbone[0], helix(6), atol=1e-4)
    assert s.backbone.dtype == np.float32 and s.backbone_mask.all()
    assert s.chain_break.tolist() == [True] + 5 * [False]
    assert np.isnan(s.atom14[0, :, 4:]).all()


def test_waters_ligands_ions_nucleotides_and_hydrogens_are_set_aside(tmp_path):
    x = helix(4)
    text = "".join(residue(i + 1, x[i]) for i in range(4))
    text += atom("H", "ALA", 4, [1, 1, 1])
    text += "TER\n"
    text += atom("O", "HOH", 101, [3, 3, 3], record="HETATM")
    text += atom("CA", "CA", 102, [4, 4, 4], record="HETATM", element="CA")
    text += atom("C1", "ATP", 103, [5, 5, 5], record="HETATM")
    text += atom("P", "DA", 1, [6, 6, 6], chain="B") + atom("C1'", "DA", 1, [6, 6, 7], chain="B")
    s = read_structure(write(tmp_path / "h.pdb", text))
    assert s.sequence == "AAAA" and s.chain_ids == ("A",)
    assert s.atom_mask.sum() == 16


def test_selenomethionine_is_methionine_and_other_modified_residues_are_x(tmp_path):
    x = helix(4)
    names = ["ALA", "MSE", "SEP", "ALA"]
    text = "".join(
        residue(i + 1, x[i], n, record="ATOM" if n == "ALA" else "HETATM")
        for i, n in enumerate(names)
    )
    lines = text.splitlines(keepends=True)
    lines.insert(8, atom("SE", "MSE", 2, [1.0, 2.0, 3.0], record="HETATM", element="SE"))
    s = read_structure(write(tmp_path / "m.pdb", "".join(lines)))
    assert s.sequence == "AMXA"
    sd = ATOM14["M"].index("SD")
    np.testing.assert_allclose(s.atom14[0, 1, sd], [1.0, 2.0, 3.0], atol=1e-4)
    assert s.chain_break.sum() == 1


def test_force_field_names_are_their_parents(tmp_path):
    x = helix(6)
    names = ["HID", "HIE", "CYX", "ASH", "GLH", "LYN"]
    text = "".join(residue(i + 1, x[i], n) for i, n in enumerate(names))
    assert read_structure(write(tmp_path / "f.pdb", text)).sequence == "HHCDEK"


@pytest.mark.parametrize(("share", "taken"), [(0.4, "B"), (0.5, "A"), (0.7, "A")])
def test_the_likeliest_location_of_a_residue_is_taken_whole(tmp_path, share, taken):
    x = helix(3)
    places = {"A": x[1] + 0.02, "B": x[1] - 0.02}
    text = residue(1, x[0])
    for a, p, q in zip(["N", "CA", "C", "O"], *places.values(), strict=True):
        text += atom(a, "ALA", 2, p, alt="A", occupancy=share)
        text += atom(a, "ALA", 2, q, alt="B", occupancy=1 - share)
    s = read_structure(write(tmp_path / "a.pdb", text + residue(3, x[2])))
    np.testing.assert_allclose(s.backbone[0, 1], places[taken], atol=1e-4)


def test_of_two_residues_at_one_place_one_stays(tmp_path):
    x = helix(3)
    text = residue(1, x[0])
    text += residue(2, x[1], "SER", alt="A", occupancy=0.3)
    text += residue(2, x[1], "THR", alt="B", occupancy=0.7)
    text += residue(3, x[2])
    assert read_structure(write(tmp_path / "mh.pdb", text)).sequence == "ATA"


def test_insertion_codes_and_negative_numbers_are_kept(tmp_path):
    x = helix(5)
    places = [(-1, ""), (0, ""), (100, ""), (100, "A"), (100, "B")]
    text = "".join(residue(n, x[i], code=c) for i, (n, c) in enumerate(places))
    s = read_structure(write(tmp_path / "i.pdb", text))
    assert s.residue_number.tolist() == [-1, 0, 100, 100, 100]
    assert s.insertion_code.tolist() == ["", "", "", "A", "B"]
    assert np.diff(s.residue_index).tolist() == [1, 1, 1, 1]  # bonded: numbers do not matter


def test_gaps_chains_and_missing_atoms(tmp_path):
    x = np.concatenate([helix(3), helix(3) + 2.0, helix(3) + 4.0])
    text = "".join(residue(i + 1, x[i]) for i in range(3))
    text += "".join(residue(i + 11, x[i + 3]) for i in range(3)) + "TER\n"
    text += "".join(residue(i + 1, x[i + 6], chain="B") for i in range(3))
    text = "".join(line for line in text.splitlines(keepends=True)
                   if not (line[12:16].strip() == "C" and line[21:26] == "A  12"))  # fmt: skip
    s = read_structure(write(tmp_path / "g.pdb", text))
    assert s.chain_sequences == "AAAAAA:AAA" and s.chain_ids == ("A", "B")
    assert np.flatnonzero(s.chain_break).tolist() == [0, 3, 5, 6]
    assert s.backbone_mask[0].tolist() == [True] * 4 + [False] + [True] * 4
    assert np.diff(s.residue_index).tolist() == [1, 1, 8, 1, 33, 65, 1, 1]


def test_models_are_frames_and_odd_ones_are_left_out(tmp_path, caplog):
    x = helix(4)
    text = ""
    for number, shift in enumerate((0.0, 0.5, 1.0), 1):
        kept = 3 if number == 3 else 4
        body = "".join(residue(i + 1, x[i] + shift) for i in range(kept))
        text += f"MODEL {number:8d}\n{body}ENDMDL\n"
    with caplog.at_level(logging.WARNING):
        s = read_structure(write(tmp_path / "n.pdb", text))
    assert s.n_frames == 2 and "1 of 3 models" in caplog.text
    np.testing.assert_allclose(s.backbone[1] - s.backbone[0], 0.5, atol=2e-4)


def test_mmcif_and_gz_give_the_same(plain, tmp_path):
    structure = gemmi.read_structure(str(plain))
    structure.setup_entities()
    structure.make_mmcif_document().write_file(str(tmp_path / "p.cif"))
    expected = read_structure(plain)
    for name in ("p.cif", "p.pdb"):
        path = tmp_path / f"{name}.gz"
        path.write_bytes(gzip.compress((tmp_path / name).read_bytes()))
        for found in (read_structure(tmp_path / name), read_structure(path)):
            np.testing.assert_allclose(found.atom14, expected.atom14, atol=1e-6)
            assert found.sequence == expected.sequence and found.chain_ids == ("A",)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture],
          deadline=None)  # fmt: skip
@given(st.lists(st.text(AMINO_ACIDS, min_size=2, max_size=12), min_size=1, max_size=3))
def test_round_trip_through_mdtraj_and_pdb(tmp_path, chains):
    length = sum(map(len, chains))
    rng = np.random.default_rng(length)
    x = np.stack([ideal_backbone(*rng.uniform(-3, 3, (3, length))) for _ in range(2)])
    traj = backbone_trajectory(x, ":".join(chains))
    for s in (from_trajectory(traj), load_structure(traj)):
        np.testing.assert_array_equal(s.backbone, x)
        assert s.chain_sequences == ":".join(chains)
    traj.save_pdb(str(tmp_path / "r.pdb"))
    again = read_structure(tmp_path / "r.pdb")
    assert again.chain_sequences == ":".join(chains) and again.n_frames == 2
    np.testing.assert_allclose(again.backbone, x, atol=1e-4)
    np.testing.assert_allclose(again.to_trajectory("backbone").xyz, traj.xyz, atol=1e-4)


def test_all_heavy_atoms_survive_a_round_trip(tmp_path):
    """Every residue with every atom, through MDTraj's own PDB writer."""
    atom14 = np.full((1, 20, 14, 3), np.nan, np.float32)
    for row, letter in enumerate(AMINO_ACIDS):
        count = len(ATOM14[letter])
        atom14[0, row, :count] = np.random.default_rng(row).normal(row, 0.1, (count, 3))
    s = ProteinStructure(
        AMINO_ACIDS, atom14, np.zeros(20, np.int32), ("A",), np.arange(20, dtype=np.int32),
        np.full(20, "", "<U1"), np.arange(20) == 0,
    )  # fmt: skip
    traj = s.to_trajectory()
    assert traj.n_atoms == sum(map(len, ATOM14.values())) - len(ATOM14["X"])
    np.testing.assert_array_equal(from_trajectory(traj).atom14, atom14)
    reference = md.Topology.from_openmm(traj.topology.to_openmm())
    reference.create_standard_bonds()
    # Our bonds are those of MDTraj's table (made twice there: ours and its own).
    pairs = {tuple(sorted((a.index, b.index))) for a, b in traj.topology.bonds}
    assert pairs == {tuple(sorted((a.index, b.index))) for a, b in reference.bonds}


def test_openmm_accepts_the_topology():
    traj = backbone_trajectory(helix(5)[None], "ACDEF")
    names = [r.name for r in traj.topology.to_openmm().residues()]
    assert names == [THREE_LETTER[c] for c in "ACDEF"]


def test_residue_index_over_unknown_gaps():
    index = residue_index(
        np.array([0, 0, 0, 0, 1]), np.array([5, 6, 6, 20, 1]), np.array([1, 0, 1, 1, 1], bool)
    )
    assert index.tolist() == [0, 1, 34, 48, 113]


def test_trajectory_without_protein_or_with_nan_is_refused():
    top = md.Topology()
    water = top.add_residue("HOH", top.add_chain())
    top.add_atom("O", md.element.oxygen, water)
    with pytest.raises(StructureError, match="0 protein residues"):
        from_trajectory(md.Trajectory(np.zeros((1, 1, 3)), top))
    traj = backbone_trajectory(np.stack([helix(4)] * 3), "ACDE")
    traj.xyz[1, 3] = np.nan
    with pytest.raises(StructureError, match="frame 1"):
        from_trajectory(traj)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "empty"), (b"HEADER\nEND\n", "0 protein residues"),
        (bytes(range(256)) * 20, "bad.pdb"), (b"\x1f\x8b\x08\x00junk", "bad.pdb"),
    ],
)  # fmt: skip
def test_bad_files_are_named(tmp_path, content, named):
    path = tmp_path / "bad.pdb"
    path.write_bytes(content)
    with pytest.raises(StructureError, match=named):
        read_structure(path)


def test_missing_truncated_nan_and_huge(plain, tmp_path):
    with pytest.raises(StructureError, match="no such file"):
        read_structure(tmp_path / "none.pdb")
    structure = gemmi.read_structure(str(plain))
    structure.setup_entities()
    cif = structure.make_mmcif_document().as_string()
    (tmp_path / "cut.cif").write_text(cif[: cif.index("_atom_site.") + 200])
    with pytest.raises(StructureError, match="cut.cif"):
        read_structure(tmp_path / "cut.cif")
    line = plain.read_text().splitlines(keepends=True)
    for text, named in (("     nan", "not finite"), ("9999999.", "beyond 1")):
        bad = line.copy()
        bad[5] = bad[5][:30] + text + bad[5][38:]
        with pytest.raises(StructureError, match=f"x.pdb.*{named}"):
            read_structure(write(tmp_path / "x.pdb", "".join(bad)))


@settings(max_examples=60, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(st.data())
def test_a_damaged_file_is_read_or_refused_but_never_crashes(plain, tmp_path, data):
    content = bytearray(plain.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.pdb"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        s = read_structure(path)
    except StructureError as error:
        assert "damaged.pdb" in str(error)
    else:
        assert s.n_residues >= 2 and s.atom14.shape[1:] == (s.n_residues, 14, 3)
