"""`openmm-slm prepare`: what is kept, and what is reported."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import mdtraj as md
import numpy as np
import pytest
from builders import helix
from click.testing import CliRunner
from structure_folders import backbone, contents, report, sequence, write

from openmm_slm.cli.main import main
from openmm_slm.data.clusters import assign_clusters, split_of
from openmm_slm.data.merge import summarise
from openmm_slm.data.prepare import prepare
from openmm_slm.data.shards import ShardDataset
from openmm_slm.errors import SLMError, StructureError
from openmm_slm.protein.sequence import AMINO_ACIDS
from openmm_slm.protein.trajectory import backbone_trajectory

QUIET = {"progress": False, "processes": 1}


def command(*arguments) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["prepare", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def test_each_chain_is_an_entry(tmp_path):
    a, b = sequence(1), sequence(2, 40)
    two = write(tmp_path / "in" / "deep" / "two.cif.gz", f"{a}:{b}", 1)
    one = write(tmp_path / "in" / "one.pdb", b, 2)
    (tmp_path / "in" / "notes.txt").write_text("not a structure")
    dataset = ShardDataset(prepare(tmp_path / "in", tmp_path / "out", **QUIET))
    assert [row["id"] for row in dataset.rows] == ["two_A", "two_B", "one_A"]
    assert [row["chain"] for row in dataset.rows] == ["A", "B", "A"]
    assert {row["split"] for row in dataset.rows} == {"train"}
    # The same sequence is the same cluster, named by the first to have it.
    assert [row["cluster"] for row in dataset.rows] == ["two_A", "two_B", "two_B"]
    for entry, text, x in zip(dataset, (a, b, b), (two[:30], two[30:], one), strict=True):
        assert entry.sequence == text and entry.chain_break.tolist() == [True] + [False] * (
            len(text) - 1
        )
        assert entry.atoms.shape == (len(text), 14, 3) and np.isnan(entry.atoms[:, 4:]).all()
        np.testing.assert_allclose(entry.backbone, x, atol=1e-4)
    assert sorted(contents(tmp_path / "out")) == [
        "index.csv", "prepare.json", "report.csv", "shard_000.atoms.npy", "shard_000.residues.npy",
    ]  # fmt: skip


def test_all_chains_of_a_file_are_one_entry_of_complexes(tmp_path):
    x = write(tmp_path / "two.pdb", f"{sequence(1)}:{sequence(2)}")
    write(tmp_path / "partner.pdb", f"{sequence(3)}:{sequence(2)}")
    out = prepare([tmp_path / "two.pdb", tmp_path / "partner.pdb"], tmp_path / "out",
                  complexes=True, **QUIET)  # fmt: skip
    dataset = ShardDataset(out)
    entry = dataset[0]
    assert dataset.rows[0]["sequence"] == f"{sequence(1)}:{sequence(2)}"
    assert entry.chain_index.tolist() == [0] * 30 + [1] * 30
    np.testing.assert_allclose(entry.backbone, x, atol=1e-4)
    assert [row["cluster"] for row in dataset.rows] == ["two", "two"]  # they share a chain


def test_only_the_first_model_is_taken(tmp_path):
    x = np.stack([helix(25), helix(25) + 1])
    backbone_trajectory(x, "A" * 25).save_pdb(str(tmp_path / "nmr.pdb"))
    dataset = ShardDataset(prepare(tmp_path / "nmr.pdb", tmp_path / "out", **QUIET))
    assert len(dataset) == 1
    np.testing.assert_allclose(dataset[0].backbone, x[0], atol=1e-4)


def pdb_lines(tmp_path: Path, text: str = "") -> list[str]:
    write(tmp_path / "source.pdb", text or sequence(0, 40))
    return (tmp_path / "source.pdb").read_text().splitlines(keepends=True)


def of_residue(line: str, numbers) -> bool:
    return line.startswith("ATOM") and int(line[22:26]) in numbers


def damaged(lines: list[str], kind: str) -> bytes:
    """A file with one thing wrong with it."""
    text = "".join(lines)
    at = next(i for i, line in enumerate(lines) if of_residue(line, [20]))
    if kind in ("nan", "huge"):
        value = "     nan" if kind == "nan" else "9999999."
        changed = lines[at][:30] + value + lines[at][38:]
        return "".join([*lines[:at], changed, *lines[at + 1 :]]).encode()
    return {
        "resolution": f"REMARK   2 RESOLUTION.    4.10 ANGSTROMS.\n{text}",
        "length": "".join(line for line in lines if of_residue(line, range(1, 20))),
        "missing atoms": "".join(
            x for x in lines if not (of_residue(x, range(1, 9)) and x[12:16] == " C  ")
        ),
        "breaks": "".join(line for line in lines if not of_residue(line, range(3, 40, 3))),
        "unknown residues": "".join(
            line[:17] + "UNK" + line[20:] if of_residue(line, range(1, 9)) else line
            for line in lines
        ),
        "no protein": "HETATM    1  O   HOH A   1       1.000   1.000   1.000  1.00  0.00\nEND\n",
        "cut": text[: text.index(lines[at]) + 50],
        "empty": "",
        "rubbish": "\0\1\2binary" * 99,
        "words": "this is\nno structure\n",
    }[kind].encode()


LIMITS = ("resolution", "length", "missing atoms", "breaks", "unknown residues", "no protein")
WRONG = {
    "cut": "truncated", "empty": "empty", "rubbish": "binary", "words": "0 protein residues",
    "nan": "not finite", "huge": "beyond", "no protein": "0 protein residues",
    "length": "19 residues, not 20 to 1024", "breaks": "13 breaks, over 10",
    "missing atoms": "80% of the residues", "unknown residues": "20% of the residues are X",
    "resolution": "4.1 Å, over 3.5",
}  # fmt: skip


def test_what_is_left_out_of_a_folder_is_reported_and_the_rest_kept(tmp_path):
    lines = pdb_lines(tmp_path)
    folder = tmp_path / "in"
    write(folder / "good.pdb")
    write(folder / "zebra.cif")
    for kind in WRONG:
        (folder / f"{kind}.pdb").write_bytes(damaged(lines, kind))
    cif = (folder / "zebra.cif").read_text()
    (folder / "half.cif").write_text(cif[: cif.rindex("ATOM") + 20])
    out = prepare(folder, tmp_path / "out", **QUIET)
    assert [row["id"] for row in ShardDataset(out).rows] == ["good_A", "zebra_A"]
    rows = {Path(row["file"]).stem: row for row in report(out).values()}
    assert len(rows) == len(WRONG) + 3
    for kind, row in rows.items():
        if kind in ("good", "zebra"):
            assert row["status"] == "kept" and not row["reason"] + row["detail"]
            continue
        expected = "no protein" if kind == "words" else kind if kind in LIMITS else "unreadable"
        assert row["status"] == "skipped" and row["reason"] == expected
        assert WRONG.get(kind, "half.cif") in row["detail"]
    counts = summarise(out)
    assert counts["kept"] == 2 and counts["unreadable"] == 6 and sum(counts.values()) == len(rows)


@pytest.mark.parametrize("kind", WRONG)
def test_of_one_bad_file_the_command_says_why_in_one_line(tmp_path, kind):
    (tmp_path / "bad.pdb").write_bytes(damaged(pdb_lines(tmp_path), kind))
    code, told = command(tmp_path / "bad.pdb", "-o", tmp_path / "out", "--processes", 1)
    line = told.strip().splitlines()[-1]  # the progress bar stands before it
    assert code == 2 and line.startswith("openmm-slm: nothing to keep: ") and "bad.pdb" in line
    assert WRONG[kind] in line and told.count("openmm-slm:") == 1
    assert list(contents(tmp_path / "out")) == ["report.csv"]


def test_after_nothing_was_kept_other_settings_can_be_tried(tmp_path):
    write(tmp_path / "in" / "a.pdb", sequence(0, 12))
    write(tmp_path / "in" / "b.pdb", sequence(1, 14))
    with pytest.raises(StructureError, match=r"nothing to keep of 2 .*2 length.*a\.pdb: 12 resid"):
        prepare(tmp_path / "in", tmp_path / "out", **QUIET)
    prepare(tmp_path / "in", tmp_path / "out", min_length=10, **QUIET)
    assert len(ShardDataset(tmp_path / "out")) == 2


@pytest.mark.parametrize("place", ["file", "below a file"])
def test_an_output_that_cannot_be_written(tmp_path, place):
    write(tmp_path / "a.pdb")
    (tmp_path / "file").write_text("occupied")
    output = tmp_path / "file" if place == "file" else tmp_path / "file" / "out"
    code, told = command(tmp_path / "a.pdb", "-o", output)
    assert code == 2 and len(told.splitlines()) == 1 and "cannot be written" in told


@pytest.mark.parametrize(
    ("names", "options", "named"),
    [
        (["none.pdb"], {}, r"none\.pdb: no such file"),
        (["notes.txt"], {}, r"notes\.txt: unknown extension '\.txt'"),
        (["empty"], {}, r"empty: no structures in this folder"),
        (["t.xtc"], {}, r"t\.xtc: the trajectory has no topology; give one with top \(--top\)"),
        (["t.xtc"], {"top": "gone.pdb"}, r"gone\.pdb: no such file \(top\)"),
        (["t.xtc"], {"top": "notes.txt"}, r"notes\.txt: cannot be read as a topology"),
        (["a.pdb"], {"top": "a.pdb"}, "no input is a trajectory"),
        (["a.pdb", "a.cif"], {}, r"a\.pdb and .*a\.cif would give entries with the same"),
        (["a.pdb"], {"min_length": 1}, "min_length is 1, expected 2 or more"),
        (["a.pdb"], {"max_length": 10}, "max_length is 10, expected min_length or more"),
        (["a.pdb"], {"stride": 0}, "stride is 0"),
        (["a.pdb"], {"validation_share": 0.6, "test_share": 0.6}, "validation_share is 0.6"),
        (["a.pdb"], {"identity": 30}, "identity is 30"),
        (["a.pdb"], {"processes": 0}, "processes is 0"),
    ],
)
def test_mistakes_are_found_before_any_work(tmp_path, names, options, named):
    write(tmp_path / "a.pdb")
    write(tmp_path / "a.cif")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    (tmp_path / "t.xtc").write_bytes(b"")
    if "top" in options:
        options = {**options, "top": tmp_path / options["top"]}
    with pytest.raises(SLMError, match=named):
        prepare([tmp_path / name for name in names], tmp_path / "out", **{**QUIET, **options})
    assert not (tmp_path / "out").exists()


def test_without_mmseqs_clustering_says_how_to_get_it(tmp_path, monkeypatch):
    write(tmp_path / "a.pdb")
    monkeypatch.setenv("PATH", str(tmp_path))
    code, told = command(tmp_path / "a.pdb", "-o", tmp_path / "out", "--cluster")
    assert code == 2 and "conda install -c conda-forge -c bioconda mmseqs2" in told
    assert len(told.splitlines()) == 1 and not (tmp_path / "out").exists()


def test_files_of_one_name_in_two_folders_are_told_apart(tmp_path):
    for folder in ("x", "y"):
        write(tmp_path / folder / "same.pdb")
        write(tmp_path / folder / f"only_{folder}.pdb")
    out = prepare([tmp_path / "x", tmp_path / "y", tmp_path / "x" / "same.pdb"], tmp_path / "out",
                  **QUIET)  # fmt: skip
    names = [row["id"] for row in ShardDataset(out).rows]
    assert names == ["only_x_A", "x-same_A", "only_y_A", "y-same_A"]


@pytest.mark.parametrize("extension", ["xtc", "dcd", "nc", "trr"])
def test_frames_of_a_trajectory_are_entries_of_one_cluster(tmp_path, extension):
    text = f"{sequence(1, 12)}:{sequence(2, 15)}"
    x = np.stack([backbone(i, 27) for i in range(7)])
    x[:, 12:] += 5
    traj = backbone_trajectory(x, text)
    traj.save(str(tmp_path / f"run.{extension}"))
    traj[0].save_pdb(str(tmp_path / "top.pdb"))
    out = prepare(tmp_path / f"run.{extension}", tmp_path / "out", top=tmp_path / "top.pdb",
                  stride=3, **QUIET)  # fmt: skip
    dataset = ShardDataset(out)
    assert [row["id"] for row in dataset.rows] == ["run_0", "run_3", "run_6"]
    assert {(row["cluster"], row["sequence"]) for row in dataset.rows} == {("run_0", text)}
    for entry, frame in zip(dataset, (0, 3, 6), strict=True):
        np.testing.assert_allclose(entry.backbone, x[frame], atol=2e-3)  # XTC keeps 0.001 nm
        assert np.flatnonzero(entry.chain_break).tolist() == [0, 12]


def test_long_trajectories_of_proteins_in_water_keep_the_numbers_of_good_frames(tmp_path):
    """Several blocks; one frame is torn by periodic boundaries, one is not finite."""
    x = np.repeat(helix(20)[None], 1205, 0) + np.arange(1205)[:, None, None, None] / 100
    traj = backbone_trajectory(x.astype(np.float32), "A" * 20)
    x[3, ::2] += 6
    water = traj.topology.add_chain()
    residue = traj.topology.add_residue("HOH", water)
    traj.topology.add_atom("O", md.element.oxygen, residue)
    xyz = np.concatenate([x.reshape(1205, 80, 3), np.zeros((1205, 1, 3))], 1)
    xyz[1202, 7] = np.nan
    whole = md.Trajectory(xyz, traj.topology)
    whole.save(str(tmp_path / "run.dcd"))
    whole[0].save_pdb(str(tmp_path / "top.pdb"))
    out = prepare(tmp_path / "run.dcd", tmp_path / "out", top=tmp_path / "top.pdb", **QUIET)
    dataset = ShardDataset(out)
    kept = [int(row["id"].removeprefix("run_")) for row in dataset.rows]
    assert kept == [i for i in range(1205) if i not in (3, 1202)]
    assert summarise(out) == {"kept": 1203, "breaks": 1, "unreadable": 1}
    assert "not finite" in report(out)["run_1202"]["detail"]
    for number in (0, 999, 1000, -1):
        np.testing.assert_allclose(dataset[number].backbone, x[kept[number]], atol=1e-4)


@pytest.mark.parametrize("extension", ["xtc", "trr"])
def test_a_trajectory_with_half_a_frame_at_its_end_gives_the_whole_ones(tmp_path, extension):
    x = np.stack([backbone(i, 20) for i in range(40)])
    traj = backbone_trajectory(x, "A" * 20)
    path = tmp_path / f"run.{extension}"
    traj.save(str(path))
    traj[0].save_pdb(str(tmp_path / "top.pdb"))
    os.truncate(path, path.stat().st_size - 5)
    out = prepare(path, tmp_path / "out", top=tmp_path / "top.pdb", **QUIET)
    assert summarise(out) == {"kept": 39, "unreadable": 1}
    np.testing.assert_allclose(ShardDataset(out)[38].backbone, x[38], atol=2e-3)
    os.truncate(path, 0)
    with pytest.raises(StructureError, match=rf"nothing to keep: .*run\.{extension}"):
        prepare(path, tmp_path / "none", top=tmp_path / "top.pdb", **QUIET)


def test_splits_are_shares_of_clusters_and_do_not_depend_on_the_others():
    names = [sequence(i, 20) for i in range(3000)]
    drawn = [split_of(name, 0.2, 0.1) for name in names]
    assert abs(drawn.count("val") / 3000 - 0.2) < 0.03
    assert abs(drawn.count("test") / 3000 - 0.1) < 0.02
    assert drawn.count("train") == 3000 - drawn.count("val") - drawn.count("test")
    assert {split_of(name, 0, 0) for name in names[:100]} == {"train"}
    # What is tested on stays so when a validation split is added.
    assert all((split_of(n, 0, 0.1) == "test") == (d == "test")
               for n, d in zip(names, drawn, strict=True))  # fmt: skip


def test_complexes_are_joined_through_the_chains_they_share(tmp_path):
    assert assign_clusters(["A:B", "C", "B:D", "D:C", "E"], None, tmp_path) == [0, 0, 0, 0, 4]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("mmseqs"), reason="MMseqs2 is not installed")
def test_mmseqs_brings_relatives_together_and_no_split_parts_them(tmp_path):
    rng = np.random.default_rng(0)
    for family in range(6):
        parent = sequence(family, 120)
        for member in range(4):
            text = np.array(list(parent))
            changed = rng.choice(120, 30, replace=False)
            text[changed] = rng.choice(list(AMINO_ACIDS), 30)
            write(tmp_path / "in" / f"f{family}m{member}.pdb", "".join(text), family)
    shares = {"validation_share": 0.4, "test_share": 0.3}
    out = prepare(tmp_path / "in", tmp_path / "out", cluster=True, **shares, **QUIET)
    clusters: dict[str, set[str]] = {}
    splits: dict[str, set[str]] = {}
    for row in ShardDataset(out).rows:
        clusters.setdefault(row["cluster"], set()).add(row["id"][:2])
        splits.setdefault(row["cluster"], set()).add(row["split"])
    assert sorted(clusters) == [f"f{i}m0_A" for i in range(6)]
    assert all(len(families) == 1 for families in clusters.values())
    assert all(len(split) == 1 for split in splits.values())
    assert len(set.union(*splits.values())) > 1


def test_a_topology_of_the_same_name_in_another_folder_is_another(tmp_path, monkeypatch):
    """It is read once for all trajectories, and relative paths do not say which file it is."""
    for name, length in (("a", 30), ("b", 24)):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        frames = backbone_trajectory(helix(length)[None], sequence(1, length))
        frames.save_pdb("md.pdb")
        frames.save_dcd("md.dcd")
        prepare(["md.dcd"], "shards", top="md.pdb", **QUIET)
        (row,) = ShardDataset("shards").rows
        assert row["sequence"] == sequence(1, length)
