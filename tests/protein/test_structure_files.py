"""Files as programs really write them: nothing is lost, mixed or made up in silence."""

from __future__ import annotations

import dataclasses
import io
import logging
from importlib.util import find_spec
from pathlib import Path

import gemmi
import mdtraj as md
import numpy as np
import openmm.app as app
import pytest
from builders import helix, ideal_backbone
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from openmm_slm.errors import StructureError
from openmm_slm.protein import geometry
from openmm_slm.protein.atoms import residue_letter
from openmm_slm.protein.loading import read_structure
from openmm_slm.protein.sequence import AMINO_ACIDS
from openmm_slm.protein.structure import chain_names
from openmm_slm.protein.structure_files import parse
from openmm_slm.protein.trajectory import backbone_trajectory, from_trajectory

SHIPPED = [
    Path(find_spec(package).origin).parent / name
    for package, name in (
        ("openmm", "app/data/test.pdb"),
        ("pdbfixer", "tests/data/1BHL.pdb"),
        ("pdbfixer", "tests/data/test.pdb"),
        ("pdbfixer", "tests/data/4JSV.pdb"),
    )
    if find_spec(package)
]
SHIPPED = [path for path in SHIPPED if path.is_file()]
# OpenMM's test.pdb is a frame of MD: its peptides bend by 0.013 nm about the ideal.
EXPERIMENTAL = [path for path in SHIPPED if path.parts[-4] != "openmm"]


def line(name, residue, chain, number, xyz, alt="", occupancy=1.0, record="ATOM"):
    x, y, z = 10 * np.asarray(xyz, float)
    return (
        f"{record:<6}    1  {name:<3}{alt:1}{residue:>3} {chain:1}{number:4d}    "
        f"{x:8.3f}{y:8.3f}{z:8.3f}{occupancy:6.2f}  0.00          {name[0]:>2}\n"
    )


def chain_text(names, chain="A", start=1, shift=0.0, **options):
    return "".join(
        line(atom, name, chain, start + i, xyz, **options)
        for i, (name, backbone) in enumerate(zip(names, helix(len(names)) + shift, strict=True))
        for atom, xyz in zip(("N", "CA", "C", "O"), backbone, strict=True)
    )


@pytest.fixture
def read(tmp_path):
    def inner(text, **options):
        path = tmp_path / "file.pdb"
        path.write_text(text)
        return read_structure(path, **options)

    return inner


ALA = ["ALA"] * 4


def test_chains_without_names_end_at_ter(read):
    """As AMBER and GROMACS write them, numbers running on or not."""
    for start in (1, 5):
        s = read(chain_text(ALA, " ") + "TER\n" + chain_text(["GLY"] * 3, " ", start, 3.0))
        assert s.chain_sequences == "AAAA:GGG" and s.chain_ids == ("A", "B")


def test_a_ter_at_a_gap_does_not_end_a_named_chain(read):
    s = read(chain_text(ALA) + "TER\n" + chain_text(ALA, "A", 9, 3.0))
    assert s.chain_ids == ("A",) and np.flatnonzero(s.chain_break).tolist() == [0, 4]


def test_two_chains_under_one_name_stay_two(read):
    s = read(chain_text(ALA) + "TER\n" + chain_text(ALA, "A", 1, 3.0))
    assert s.chain_sequences == "AAAA:AAAA" and s.chain_ids == ("A", "B")


def test_chain_names_are_unique_and_given_ones_stay():
    assert chain_names(["B", "", " ", "B", "Heavy"]) == ("B", "A", "C", "D", "Heavy")
    assert len(set(chain_names([""] * 200))) == 200


def test_chains_are_selected_in_the_order_asked_for(read):
    text = chain_text(ALA, "H") + "TER\n" + chain_text(["GLY"] * 3, "L", 1, 3.0)
    assert read(text, chains=("L", "H")).chain_sequences == "GGG:AAAA"
    assert read(text, chains="H").chain_ids == ("H",)
    with pytest.raises(StructureError, match="no protein chain 'Q'; it has 'H', 'L'"):
        read(text, chains=["H", "Q"])


def test_a_residue_number_given_twice_is_two_residues(read):
    s = read(chain_text(ALA) + chain_text(["ALA"], "A", 4, 3.0))
    assert s.residue_number.tolist() == [1, 2, 3, 4, 4] and s.chain_break[4]


def test_an_unlabelled_alternative_is_no_residue(read):
    s = read(chain_text(ALA[:1]) + chain_text(ALA[:1], shift=0.02) + chain_text(ALA[:1], "A", 2, 1))
    assert s.n_residues == 2
    np.testing.assert_allclose(s.backbone[0, 0], helix(1)[0], atol=1e-4)


@pytest.mark.parametrize("ter", ["", "TER\n"])
def test_a_free_amino_acid_is_a_ligand(read, ter):
    glu = chain_text(["GLU"], "A", 301, 3.0, record="HETATM")
    assert read(chain_text(ALA) + ter + glu).sequence == "AAAA"


def test_selenomethionine_beyond_a_gap_stays(read):
    s = read(chain_text(ALA) + chain_text(["MSE"], "A", 9, 3.0, record="HETATM"))
    assert s.sequence == "AAAAM" and s.chain_break[4]


def test_conformers_are_never_mixed(read):
    """B has atoms that the likelier A lacks: they are absent, not borrowed."""
    text = chain_text(ALA[:1])
    x = helix(2)[1]
    for atom, xyz in zip(("N", "CA", "C", "O"), x, strict=True):
        text += line(atom, "SER", "A", 2, xyz, "A", 0.6) + line(atom, "SER", "A", 2, xyz, "B", 0.4)
    text += line("CB", "SER", "A", 2, x[1] + 0.1, "B", 0.4)
    assert not read(text).atom_mask[0, 1, 4:].any()


@pytest.mark.parametrize("field", ["********", "  12.x45", "        "])
def test_coordinates_that_are_no_numbers_are_refused_with_their_line(read, field):
    """gemmi reads them as 0.0: an atom at the origin that nobody placed."""
    lines = chain_text(ALA).splitlines(keepends=True)
    lines[5] = lines[5][:30] + field + lines[5][38:]
    with pytest.raises(StructureError, match=r"file\.pdb, line 6"):
        read("".join(lines))


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_foreign_letters_in_remarks_do_no_harm(tmp_path, encoding):
    text = "REMARK   3  RESOLUTION 1.5 Å, 90°\n" + chain_text(ALA)
    (tmp_path / "remark.pdb").write_bytes(text.encode(encoding))
    found = read_structure(tmp_path / "remark.pdb").backbone[0]
    np.testing.assert_allclose(found, helix(4), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "letter"),
    [("NALA", "A"), ("CHIE", "H"), ("HISE", "H"), ("CYS2", "C"), ("MSE", "M"), ("SEC", "X"),
     ("DAL", "X"), ("CASP", "D"), ("NALX", "X"), ("ASX", "X")],
)  # fmt: skip
def test_names_of_residues(name, letter):
    assert residue_letter(name) == letter


def trajectory(names, atoms, chain_id="A"):
    topology = md.Topology()
    chain = topology.add_chain(chain_id)
    for name in names:
        residue = topology.add_residue(name, chain)
        for atom in atoms:
            topology.add_atom(atom, md.element.Element.getBySymbol(atom[0]), residue)
    xyz = np.random.default_rng(0).normal(size=(1, len(names) * len(atoms), 3))
    return md.Trajectory(xyz, topology)


def test_gromacs_isoleucine_and_amber_ends_in_a_trajectory():
    t = trajectory(["NILE", "CILE"], ["N", "CA", "C", "O1", "CB", "CG1", "CG2", "CD"])
    s = from_trajectory(t)
    assert s.sequence == "II" and s.atom_mask[0, :, :8].all()


def test_an_alias_never_takes_the_place_of_the_atom_itself():
    t = trajectory(["UNK", "UNK"], ["N", "CA", "C", "O1", "O"])
    np.testing.assert_array_equal(from_trajectory(t).atom14[0, 0, 3], t.xyz[0, 4])


def test_ca_only_trajectories_have_no_backbone_but_residues():
    s = from_trajectory(trajectory(["ALA", "GLY", "SER"], ["CA"]))
    assert s.sequence == "AGS" and not s.backbone_mask.any() and s.chain_break.all()


def test_blank_chain_ids_of_a_trajectory_become_letters():
    assert from_trajectory(trajectory(ALA, ["N", "CA", "C"], " ")).chain_ids == ("A",)


def test_something_else_than_a_structure_or_no_frame_is_refused():
    with pytest.raises(StructureError, match="ndarray is not a structure"):
        from_trajectory(np.zeros(3))
    with pytest.raises(StructureError, match="0 frames"):
        from_trajectory(backbone_trajectory(helix(4)[None][:0], "AAAA"))


def test_a_residue_without_atoms_is_left_out_of_a_trajectory():
    s = from_trajectory(backbone_trajectory(helix(5)[None], "AAAAA"))
    atom14 = s.atom14.copy()
    atom14[:, 2] = np.nan
    t = dataclasses.replace(s, atom14=atom14).to_trajectory()
    assert [r.resSeq for r in t.topology.residues] == [1, 2, 4, 5]
    peptide = [b for b in t.topology.bonds if {b[0].name, b[1].name} == {"C", "N"}]
    assert sorted(b[1].residue.resSeq for b in peptide) == [2, 5]


def test_insertion_codes_survive_to_trajectory():
    s = from_trajectory(backbone_trajectory(helix(3)[None], "AAA"))
    s = dataclasses.replace(s, insertion_code=np.array(["", "A", "B"]))
    assert from_trajectory(s.to_trajectory()).insertion_code.tolist() == ["", "A", "B"]


@pytest.mark.parametrize(
    ("options", "named"),
    [({"sequence": "AJA"}, "'J'"), ({"sequence": "AAA", "chain_ids": ("A", "B")}, "2 chain ids")],
)
def test_backbone_trajectory_refuses_what_it_cannot_name(options, named):
    with pytest.raises(StructureError, match=named):
        backbone_trajectory(helix(3)[None], **options)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: f"{p.parts[-4]}-{p.stem}")
def test_real_files_read_as_mdtraj_reads_them(path):
    mine, theirs = read_structure(path), from_trajectory(md.load(str(path)))
    assert mine.sequence == theirs.sequence
    np.testing.assert_array_equal(mine.residue_number, theirs.residue_number)
    np.testing.assert_array_equal(mine.chain_break, theirs.chain_break)
    both = mine.atom_mask[0] & theirs.atom_mask[0]
    assert both.sum() > 0.99 * mine.atom_mask[0].sum()
    np.testing.assert_allclose(mine.atom14[0][both], theirs.atom14[0][both], atol=2e-4)


@pytest.mark.parametrize("path", EXPERIMENTAL, ids=lambda p: p.stem)
def test_built_oxygens_and_cb_are_where_experiment_has_them(path):
    s = read_structure(path)
    x = s.backbone[0].astype(np.float64)
    inside = ~np.append(s.chain_break[1:], True)
    error = np.linalg.norm(geometry.place_oxygen(x, s.chain_break) - x[:, 3], axis=-1)[inside]
    assert np.nanmedian(error) < 0.01 and np.nanmean(error < 0.02) > 0.9
    cb, built = s.atom14[0, :, 4].astype(np.float64), geometry.cb_position(x)
    error = np.linalg.norm(built - cb, axis=-1)
    assert np.nanmedian(error) < 0.01 and np.nanmean(error[np.isfinite(error)] < 0.03) > 0.95
    volume = geometry.chirality(x[:, 0], x[:, 1], x[:, 2], cb)
    assert (volume[np.isfinite(volume)] > 0).all()


WRITERS = ("mdtraj.pdb", "mdtraj.cif", "openmm.pdb", "openmm.cif", "gemmi.pdb", "gemmi.cif",
           "archive.cif")  # fmt: skip
SLOW_FIXTURE = [HealthCheck.function_scoped_fixture]


def written(folder: Path, writer: str, traj: md.Trajectory) -> str:
    """The text that a program makes of a trajectory (OpenMM: of its first frame)."""
    program, _, kind = writer.partition(".")
    path = folder / f"written.{kind}"
    if program == "mdtraj":
        traj.save(str(path))
        return path.read_text()
    if program == "openmm":
        handle = io.StringIO()
        form = app.PDBFile if kind == "pdb" else app.PDBxFile
        form.writeFile(traj.topology.to_openmm(), traj.openmm_positions(0), handle)
        return handle.getvalue()
    traj.save(str(folder / "source.pdb"))
    structure = gemmi.read_structure(str(folder / "source.pdb"))
    structure.setup_entities()
    if kind == "pdb":
        return structure.make_pdb_string()
    # As the archive does, "#" after every table.
    style = gemmi.cif.Style.Pdbx if program == "archive" else gemmi.cif.Style.Simple
    return structure.make_mmcif_document().as_string(style)


def random_frames(seed: int, sequence: str, frames: int = 2) -> md.Trajectory:
    rng = np.random.default_rng(seed)
    length = len(sequence.replace(":", ""))
    x = np.stack([ideal_backbone(*rng.uniform(-3, 3, (3, length))) for _ in range(frames)])
    return backbone_trajectory(x, sequence)


@settings(max_examples=25, deadline=None, suppress_health_check=SLOW_FIXTURE)
@given(
    writer=st.sampled_from(WRITERS),
    chains=st.lists(st.text(AMINO_ACIDS, min_size=2, max_size=9), min_size=1, max_size=3),
    seed=st.integers(0, 99),
)
def test_what_programs_write_is_read_back(tmp_path, caplog, writer, chains, seed):
    traj = random_frames(seed, ":".join(chains))
    path = tmp_path / f"again.{writer[-3:]}"
    text = written(tmp_path, writer, traj)
    for content in (text, text.strip()):  # an editor may take the last end of line away
        path.write_text(content)
        caplog.clear()
        s = read_structure(path)
        assert not caplog.records, "a good file is not doubted"
        assert s.chain_sequences == ":".join(chains)
        assert s.chain_ids == tuple("ABC"[: len(chains)])
        assert s.residue_number.tolist() == [i + 1 for c in chains for i in range(len(c))]
        expected = traj.xyz[: s.n_frames].reshape(s.backbone.shape)
        assert s.n_frames == (1 if "openmm" in writer else 2)
        np.testing.assert_allclose(s.backbone, expected, atol=1e-4)


def residues(s) -> dict:
    keys = zip(s.chain_index, s.residue_number, s.insertion_code, s.sequence, strict=True)
    return {
        (s.chain_ids[chain], number, code, letter): s.atom14[:, i]
        for i, (chain, number, code, letter) in enumerate(keys)
    }


@settings(max_examples=200, deadline=None, suppress_health_check=SLOW_FIXTURE)
@given(writer=st.sampled_from(WRITERS), share=st.floats(0, 1), seed=st.integers(0, 9))
@example("gemmi.pdb", 0.5, 1)
def test_a_cut_file_is_refused_or_what_is_read_of_it_is_right(tmp_path, writer, share, seed):
    text = written(tmp_path, writer, random_frames(seed, "ACDE:FGH"))
    path = tmp_path / f"cut.{writer[-3:]}"
    path.write_text(text)
    whole = residues(read_structure(path))
    path.write_text(text[: int(share * len(text))])
    try:
        found = residues(read_structure(path))
    except StructureError as error:
        assert "cut." in str(error)
        return
    for key, atoms in found.items():
        present = np.isfinite(atoms)
        np.testing.assert_array_equal(atoms[present], whole[key][: len(atoms)][present])


@pytest.mark.parametrize("writer", ["mdtraj.pdb", "gemmi.cif", "archive.cif"])
@pytest.mark.parametrize("lost", [1, 3, 9, 20])
def test_half_an_atom_is_an_error(tmp_path, writer, lost):
    """A coordinate without its last digits is another one: nothing else in the file says so."""
    lines = written(tmp_path, writer, random_frames(0, "ACDEFGHIKL", 1)).splitlines()
    last = max(i for i, line in enumerate(lines) if line.startswith("ATOM"))
    path = tmp_path / f"half.{writer[-3:]}"
    path.write_text("\n".join(lines[: last + 1]).rstrip()[:-lost])
    with pytest.raises(StructureError, match="half"):
        read_structure(path)


@pytest.mark.parametrize(
    ("writer", "named"),
    [
        ("headed.pdb", "a title section but no END"),
        ("mdtraj.pdb", "a MODEL has no ENDMDL"),
        ("archive.cif", "does not end with #"),
        ("grep.pdb", None),
        ("gemmi.cif", None),
    ],
)
def test_a_file_cut_between_atoms_gives_one_warning_where_it_can_be_told(
    tmp_path, caplog, writer, named
):
    source = {"headed.pdb": "openmm.pdb", "grep.pdb": "openmm.pdb"}.get(writer, writer)
    text = written(tmp_path, source, random_frames(0, "ACDEFGHIKL"))
    if writer == "headed.pdb":
        text = "HEADER    HYDROLASE                               01-JAN-00   1ABC\n" + text
    path = tmp_path / f"cut.{writer[-3:]}"
    path.write_text(text[: text.rindex("ATOM")])
    with caplog.at_level(logging.WARNING):
        assert read_structure(path).n_residues == 10
    assert [named in record.getMessage() for record in caplog.records] == [True] * bool(named)


@pytest.mark.parametrize(
    "text",
    [
        "REMARK   2\nREMARK   2 RESOLUTION.    1.85 ANGSTROMS.\n{atoms}END\n",
        "data_x\n_refine.pdbx_refine_id X-RAY\n_refine.ls_d_res_high 1.85\n{rows}",
        "data_x\n_em_3d_reconstruction.resolution 1.85\n{rows}",
    ],
)
def test_the_resolution_comes_with_the_models(tmp_path, text):
    cif = written(tmp_path, "gemmi.cif", random_frames(0, "ACDE", 1))
    path = tmp_path / "resolution.txt"
    rows = cif[cif.index("loop_\n_atom_site.") :]
    path.write_text(text.format(atoms=chain_text(ALA), rows=rows))
    assert parse(path).resolution == pytest.approx(1.85)
    path.write_text(chain_text(ALA))
    assert parse(path).resolution is None and parse(path).doubt == ""
