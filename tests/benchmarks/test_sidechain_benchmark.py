"""The benchmark of side chains finds the errors that were put in, and scores nothing else."""

from __future__ import annotations

import dataclasses
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from openmm_slm.allatom.rotamers import chi_difference, chi_torsions
from openmm_slm.benchmarks.other_packers import pack_with_faspr, pack_with_pdbfixer
from openmm_slm.benchmarks.sidechains import benchmark_sidechains, choose_chains, score_residues
from openmm_slm.data.shards import Entry, ShardDataset, ShardWriter
from openmm_slm.errors import MissingDependencyError, StructureError
from openmm_slm.protein.loading import read_structure
from openmm_slm.protein.sequence import encode_sequence

SHIPPED = Path(find_spec("pdbfixer").origin).parent / "tests" / "data"
pytestmark = pytest.mark.skipif(
    not (SHIPPED / "1BHL.pdb").is_file(), reason="pdbfixer's test files are not there"
)


@pytest.fixture(scope="module")
def villin():
    """The villin headpiece as (sequence, atom14)."""
    structure = read_structure(SHIPPED / "test.pdb")
    assert np.isfinite(structure.backbone).all()
    return structure.sequence, structure.atom14[0]


def turn_chi1(atom14, degrees):
    """Everything beyond CB of [L, 14, 3] turned about CA-CB."""
    axis = atom14[:, 4] - atom14[:, 1]
    axis = (axis / np.linalg.norm(axis, axis=-1, keepdims=True))[:, None]
    x = atom14[:, 5:] - atom14[:, 4:5]
    angle = np.radians(degrees)
    along = (x * axis).sum(-1, keepdims=True) * axis
    turned = along + np.cos(angle) * (x - along) + np.sin(angle) * np.cross(axis, x)
    return np.concatenate([atom14[:, :5], turned + atom14[:, 4:5]], 1)


def write(directory, rows, **columns):
    """Shards of (id, cluster, sequence, atom14)."""
    writer = ShardWriter(directory, atoms=14, prefix="heavy")
    for number, (name, cluster, sequence, atoms) in enumerate(rows):
        broken = np.arange(len(sequence)) == 0
        extra = {key: values[number] for key, values in columns.items()}
        writer.add(
            name, sequence, atoms, broken, np.arange(len(sequence)) + 1,
            split="test", cluster=cluster, **extra,
        )  # fmt: skip
    writer.close()
    return directory


def three_chains(villin):
    """Two of one cluster, one of another."""
    sequence, atoms = villin
    return [
        ("a", "one", sequence, atoms),
        ("b", "one", sequence[:20], atoms[:20]),
        ("c", "two", sequence[10:], atoms[10:]),
    ]


def remembers(rows, degrees):
    """A packer that knows the natives and turns chi1 by `degrees` of each chain."""
    known = {sequence: turn_chi1(atoms, degrees[name]) for name, _, sequence, atoms in rows}

    def pack(backbone, sequence, chain_break, residue_index):
        assert backbone.shape[1:] == (len(sequence), 4, 3)
        assert chain_break.shape == residue_index.shape == (len(sequence),)
        return known[sequence][None]

    return pack


def figures(table):
    """Numbers of each row by the text before them."""
    out = {}
    for line in table.splitlines()[3:]:
        label = line[:40].strip()
        out[label] = [float(word) for word in line[40:].split()]
    return out


def test_known_errors_come_out(tmp_path, villin):
    rows = three_chains(villin)
    write(tmp_path, rows)
    methods = {
        "right": remembers(rows, {"a": 0, "b": 0, "c": 0}),
        "near": remembers(rows, {"a": 30, "b": 30, "c": -30}),
        "half": remembers(rows, {"a": 0, "b": 0, "c": 90}),
    }
    table = benchmark_sidechains(tmp_path, None, against=(), methods=methods, progress=False)
    assert "3 chains" in table
    assert "2 clusters" in table
    found = figures(table)
    assert found["chi1 within 40 degrees, %"][:4] == [100, 100, 100, 100]
    over_residues, over_clusters = found["chi1 within 40 degrees, %"][4:]
    assert over_clusters == 50
    chi1 = {name: np.isfinite(chi_torsions(x, encode_sequence(s))[:, 0]).sum()
            for name, _, s, x in rows}  # fmt: skip
    expected = 100 * (chi1["a"] + chi1["b"]) / sum(chi1.values())
    assert over_residues == pytest.approx(expected, abs=0.06)
    assert found["chi1 error (mean), degrees"] == pytest.approx(
        [0, 0, 30, 30, 90 * (1 - expected / 100), 45], abs=0.06
    )
    for further in ("chi2", "chi3", "chi4"):
        np.testing.assert_allclose(found[further], 0, atol=0.06)
    assert found["side-chain RMSD (mean) without CB, A"][:2] == [0, 0]
    assert 0.3 < found["side-chain RMSD (mean) without CB, A"][2] < 1.5
    assert found["D residues"] == [0, 0, 0, 0]
    assert found["wrong CB (Ile, Thr)"] == [0, 0, 0, 0]
    native, right = found["pairs under 2.5 A per 1,000 residues"][:2]
    assert native == right


def as_entry(villin, tmp_path):
    return ShardDataset(write(tmp_path, three_chains(villin)[:1]))[0]


def test_mirror_images_are_counted(tmp_path, villin):
    entry = as_entry(villin, tmp_path)
    score = score_residues(entry.atoms * np.float32([1, 1, -1]), entry)
    assert score["d"].sum() == len(entry.sequence) - entry.sequence.count("G")
    packed = entry.atoms.copy()
    rows = [i for i, letter in enumerate(entry.sequence) if letter in "IT"]
    packed[rows, 5], packed[rows, 6] = entry.atoms[rows, 6], entry.atoms[rows, 5]
    assert score_residues(packed, entry)["wrong_cb"].sum() == len(rows) > 0


def test_atoms_that_the_native_lacks_are_not_scored(tmp_path, villin):
    entry = as_entry(villin, tmp_path)
    row = entry.sequence.index("K")
    lacking = entry.atoms.copy()
    lacking[row, 7:] = np.nan
    score = score_residues(entry.atoms, dataclasses.replace(entry, atoms=lacking))
    assert score["chi1"][row] == 100
    assert np.isnan(score["error3"][row])
    assert np.isnan(score["rmsd"][row])
    assert np.isfinite(score["rmsd"]).sum() == np.isfinite(score["chi1"]).sum() - 1


def test_buried_residues_are_those_with_many_neighbours():
    structure = read_structure(SHIPPED / "1BHL.pdb")
    kept = [i for i, letter in enumerate(structure.sequence) if letter != "X"]
    letters, broken = "".join(structure.sequence[i] for i in kept), np.diff(kept, prepend=-9) != 1
    entry = Entry("x", "", "", letters, structure.atom14[0, kept], broken, broken, broken)
    score = score_residues(entry.atoms, entry)
    near = np.linalg.norm(entry.atoms[:, None, 1] - entry.atoms[None, :, 1], axis=-1) < 1
    buried, exposed = (np.isfinite(score[f"chi1_{name}"]) for name in ("buried", "exposed"))
    assert not (buried & exposed).any()
    assert buried.sum() > 20 and exposed.sum() > 20
    assert near.sum(1)[buried].mean() > near.sum(1)[exposed].mean() + 5


def test_only_chains_with_true_side_chains_are_chosen(tmp_path, villin):
    sequence, atoms = villin
    headless, bare, gap = atoms.copy(), atoms.copy(), atoms.copy()
    headless[4, 3] = np.nan
    bare[:, 5:] = np.nan
    gap[:7, 5:] = np.nan
    rows = [
        ("good", "1", sequence, atoms), ("no oxygen", "2", sequence, headless),
        ("no side chains", "3", sequence, bare), ("seven short", "4", sequence, gap),
        ("unknown", "5", "X" + sequence[1:], atoms), ("modelled", "6", sequence, atoms),
        ("by column", "7", sequence, atoms), ("short", "8", sequence[:12], atoms[:12]),
    ]  # fmt: skip
    columns = {
        "source": ["a/b"] * 5 + ["phbradley/TCRdock"] + ["a/b"] * 2,
        "complete": ["1.0"] * 6 + ["0.9", ""],
    }
    dataset = ShardDataset(write(tmp_path, rows, **columns))

    def names(**options):
        return [entry.id for entry in choose_chains(dataset, **options)]

    assert names() == ["short", "good"]
    assert names(longest=12) == ["short"]
    assert names(chains=1) == ["short"]
    assert names(complete=0.85) == ["short", "by column", "good", "seven short"]
    assert names(excluded_sources=()) == ["short", "good", "modelled"]
    with pytest.raises(StructureError, match="ask for 1 to 2 chains, not 3"):
        names(chains=3)
    with pytest.raises(StructureError, match="prepare such structures"):
        names(excluded_sources=("a/",), complete=1.0, longest=11)


def test_columns_may_be_absent(tmp_path, villin):
    sequence, atoms = villin
    bare = atoms.copy()
    bare[:, 5:] = np.nan
    dataset = ShardDataset(
        write(tmp_path, [("a", "1", sequence, atoms), ("b", "2", sequence, bare)])
    )
    assert [entry.id for entry in choose_chains(dataset)] == ["a"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x[:, :, :4], r"expected \(1, "),
        (lambda x: np.where(np.arange(14)[:, None] == 5, np.nan, x), "must place every heavy atom"),
        (lambda x: x + 0.01, "moved the backbone"),
    ],
)
def test_methods_must_keep_to_the_rules(tmp_path, villin, spoil, message):
    rows = three_chains(villin)
    write(tmp_path, rows)
    native = remembers(rows, {"a": 0, "b": 0, "c": 0})
    with pytest.raises(StructureError, match=message):
        benchmark_sidechains(
            tmp_path, None, against=(), methods={"bad": lambda *a: spoil(native(*a))},
            progress=False,
        )  # fmt: skip


def test_bad_input_says_what_to_do(tmp_path, villin):
    write(tmp_path, three_chains(villin))
    with pytest.raises(StructureError, match="use faspr, pdbfixer"):
        benchmark_sidechains(tmp_path, None, against=("scwrl",))
    with pytest.raises(StructureError, match="nothing to measure"):
        benchmark_sidechains(tmp_path, None, against=())
    with pytest.raises(StructureError, match="no entries of split 'val'"):
        benchmark_sidechains(tmp_path, None, "val", against=("pdbfixer",))


def test_faspr_gives_what_it_gives_by_itself(tmp_path):
    pyfaspr = pytest.importorskip("pyfaspr")
    example = Path(pyfaspr.__file__).parent / "FASPR" / "example" / "1mol.pdb"
    (tmp_path / "direct.pdb").write_text(pyfaspr.run_FASPR(str(example)))
    native, direct = read_structure(example), read_structure(tmp_path / "direct.pdb")
    far = native.backbone[0] + np.float32([300.0, -200.0, 0.0])  # beyond the columns of PDB files
    packed = pack_with_faspr(far, native.sequence)
    np.testing.assert_array_equal(packed[:, :4], far)
    amino_acids = encode_sequence(native.sequence)
    chi, wanted, true = (
        chi_torsions(x, amino_acids) for x in (packed, direct.atom14[0], native.atom14[0])
    )
    assert np.degrees(np.nanmax(chi_difference(chi, wanted, amino_acids))) < 1
    error = chi_difference(chi, true, amino_acids)[:, 0]
    assert (error[np.isfinite(error)] < np.radians(40)).mean() > 0.7


def test_faspr_across_a_gap(villin):
    pytest.importorskip("pyfaspr")
    sequence, atoms = villin
    kept = np.r_[0:12, 18 : len(sequence)]
    packed = pack_with_faspr(atoms[kept, :4], "".join(sequence[i] for i in kept))
    expected = np.isfinite(atoms[kept]).all(-1)
    np.testing.assert_array_equal(np.isfinite(packed).all(-1), expected)


def test_pdbfixer_takes_gaps(villin):
    sequence, atoms = villin
    kept = np.r_[0:6, 10:14]
    letters = "".join(sequence[i] for i in kept)
    broken = np.arange(10) % 6 == 0
    once, again = (pack_with_pdbfixer(atoms[kept, :4], letters, gaps) for gaps in (broken, None))
    np.testing.assert_array_equal(np.isfinite(once), np.isfinite(atoms[kept]))
    np.testing.assert_allclose(once, again, atol=1e-4)
    np.testing.assert_array_equal(once[:, :4], atoms[kept, :4])


def test_pdbfixer_is_seeded(villin, monkeypatch):
    """Also by 0, which to OpenMM means another seed each time."""
    pdbfixer = pytest.importorskip("pdbfixer")
    seeds = []

    def add(self, seed):
        seeds.append(seed)
        return plain(self, seed=seed)

    plain = pdbfixer.PDBFixer.addMissingAtoms
    monkeypatch.setattr(pdbfixer.PDBFixer, "addMissingAtoms", add)
    for seed in (0, 0, 1):
        pack_with_pdbfixer(villin[1][:3, :4], villin[0][:3], seed=seed)
    assert seeds[0] == seeds[1] != seeds[2]
    assert 0 not in seeds


def test_other_programs_refuse_what_they_cannot_pack(villin, monkeypatch):
    sequence, atoms = villin
    backbone = atoms[:, :4].copy()
    for pack in (pack_with_faspr, pack_with_pdbfixer):
        if pack is pack_with_faspr and find_spec("pyfaspr") is None:
            continue
        with pytest.raises(StructureError, match="'X' at position 3"):
            pack(backbone, sequence[:2] + "X" + sequence[3:])
        with pytest.raises(StructureError, match="expected .*N, CA, C, O"):
            pack(backbone[:-1], sequence)
        lacking = backbone.copy()
        lacking[6, 3] = np.nan
        with pytest.raises(StructureError, match="residue 7 lacks"):
            pack(lacking, sequence)
    monkeypatch.setitem(sys.modules, "pyfaspr", None)
    with pytest.raises(MissingDependencyError, match="pip install pyfaspr"):
        pack_with_faspr(backbone, sequence)
