"""Lists of chains: `prepare` takes what they name, for the split they say, from a mirror."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from test_prepare import QUIET, command, report, sequence, write

from openmm_slm.data.chain_list import SHIPPED, read_chain_list
from openmm_slm.data.prepare import prepare
from openmm_slm.data.shards import ShardDataset
from openmm_slm.errors import StructureError

A, B, C = sequence(1, 60), sequence(2, 40), sequence(3, 50)


@pytest.fixture(scope="module")
def mirror(tmp_path_factory) -> Path:
    """Flat and divided folders, both formats; one file that no list names."""
    folder = tmp_path_factory.mktemp("mirror")
    write(folder / "ab" / "1abc.cif.gz", f"{A}:{B}:{C}", 1)
    write(folder / "xy" / "pdb2xyz.ent.gz", B, 2)
    write(folder / "3DEF.pdb", f"{C}:{A}", 3)
    write(folder / "9zzz.cif", A, 4)
    (folder / "r1abcsf.ent.gz").write_bytes(b"structure factors")
    return folder


def write_list(path: Path, *rows: str, columns: str = "pdb,chain,split") -> Path:
    text = "\n".join((columns, *rows, ""))
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def test_just_the_listed_chains_are_taken_with_their_splits(mirror, tmp_path):
    path = write_list(
        tmp_path / "chains.csv.gz",
        "1ABC,B,train,7,x-ray",
        "1abc,A C,val,,x-ray",
        "2xyz,A,test,7,",
        "3def,A,train,8,",
        "3def,Q,train,8,",
        "4non,A,train,9,",
        columns="pdb,chain,split,cluster,method",
    )
    code, told = command(mirror, "--chains", path, "-o", tmp_path / "out", "--processes", 1)
    assert code == 0 and "4 kept, 2 not found" in told
    dataset = ShardDataset(tmp_path / "out")
    found = {row["id"]: row for row in dataset.rows}
    assert {name: row["split"] for name, row in found.items()} == {
        "1abc_B": "train", "1abc_A-C": "val", "2xyz_A": "test", "3def_A": "train",
    }  # fmt: skip
    clusters = {name: row["cluster"] for name, row in found.items()}
    assert clusters == {"1abc_B": "7", "1abc_A-C": "1abc_A-C", "2xyz_A": "7", "3def_A": "8"}
    assert found["1abc_A-C"]["sequence"] == f"{A}:{C}" and found["1abc_B"]["method"] == "x-ray"
    both = next(entry for entry in dataset if entry.id == "1abc_A-C")
    assert both.chain_index.tolist() == [0] * 60 + [1] * 50
    missing = {name: row for name, row in report(tmp_path / "out").items() if row["reason"]}
    assert {row["reason"] for row in missing.values()} == {"not found"}
    assert "no chain Q; the file has A, B" in missing["3def_Q"]["detail"]
    assert missing["4non_A"]["detail"] == "no file of 4non in the input"


def test_stretches_are_found_by_their_letters_in_chains_of_another_name(mirror, tmp_path):
    path = write_list(
        tmp_path / "chains.csv",
        f"1abc,A,train,20,{A[10:15]}",  # residues 11 to 30 of chain A
        f"1abc,A,val,20,{A[35:40]}",  # another part of it, in another split
        f"3def,X,test,60,{A[:5]}",  # its chain B
        f"3def,A B,test,50 60,{C[:5]} {A[:5]}",
        f"2xyz,A,train,41,{B[:5]}",  # one residue more than there is
        columns="pdb,chain,split,length,begins",
    )
    dataset = ShardDataset(prepare(mirror, tmp_path / "out", chains=path, **QUIET))
    assert {row["id"]: (row["split"], row["sequence"]) for row in dataset.rows} == {
        "1abc_A": ("train", A[10:30]),
        "1abc_A+": ("val", A[35:55]),
        "3def_X": ("test", A),
        "3def_A-B": ("test", f"{C}:{A}"),
    }
    whole = ShardDataset(prepare(mirror / "ab" / "1abc.cif.gz", tmp_path / "whole", **QUIET))[0]
    (part,) = (entry for entry in dataset if entry.id == "1abc_A")
    np.testing.assert_array_equal(part.atoms, whole.atoms[10:30])
    lost = report(tmp_path / "out")["2xyz_A"]
    assert lost["reason"] == "not found" and "41 residues" in lost["detail"]


@pytest.mark.parametrize(
    ("rows", "columns", "named"),
    [
        (["1abc,A"], "pdb,chain", "no column 'split'"),
        ([], "pdb,chain,split", "no rows"),
        (["1abc,A,train", "1abc,B"], "pdb,chain,split", "line 3: the number of values"),
        (["1abc,,train"], "pdb,chain,split", "line 2: chain is empty"),
        (["protein,A,train"], "pdb,chain,split", "pdb is 'protein'"),
        (["1abc,A,train", "1ABC,A,test"], "pdb,chain,split", "split 'test', but 'train' in line 2"),
        (["1abc,A,train,x,MSTAR"], "pdb,chain,split,length,begins", "length is 'x'"),
        (["1abc,A B,train,9,MSTAR"], "pdb,chain,split,length,begins", "2 chain"),
        (["8abc,A,train"], "pdb,chain,split", "none of the 1 PDB ids"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(mirror, tmp_path, rows, columns, named):
    path = write_list(tmp_path / "chains.csv", *rows, columns=columns)
    code, told = command(mirror, "--chains", path, "-o", tmp_path / "out")
    assert code == 2 and named in told
    assert not (tmp_path / "out").exists()


def test_a_list_is_not_combined_with_splits_of_ones_own(mirror, tmp_path):
    path = write_list(tmp_path / "chains.csv", "1abc,A,train")
    code, told = command(mirror, "--chains", path, "-o", tmp_path / "out", "--test-share", 0.1)
    assert code == 2 and "test_share is 0.1 with a list of chains" in told
    code, told = command(mirror, "--chains", "no.csv", "-o", tmp_path / "out")
    assert code == 2 and "no such list of chains" in told
    path.write_bytes(b"\xff\xfe\x00rubbish")
    with pytest.raises(StructureError, match="not readable"):
        read_chain_list(path)


def test_the_shipped_list_keeps_clusters_and_chains_in_one_split():
    rows = read_chain_list(SHIPPED)
    counts = Counter(row.split for row in rows)
    assert counts["train"] > 28_000 and counts["val"] > 300 and counts["test"] > 400
    splits: dict[str, set[str]] = {}
    for row in rows:
        if row.cluster:
            splits.setdefault(row.cluster, set()).add(row.split)
    assert not any({"train"} < s and s & {"val", "test"} for s in splits.values())
    assert not any(s >= {"val", "test"} for s in splits.values())
    assert all(row.stretches for row in rows)
    assert {dict(row.extra)["kind"] for row in rows} == {"backbone", "heavy", "complex"}


def test_shards_to_a_list_and_back(mirror, tmp_path):
    """What tools/list_chains.py lists of shards gives the same shards."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(
        "list_chains", Path(__file__).parents[2] / "tools" / "list_chains.py"
    )
    tool = module_from_spec(spec)
    spec.loader.exec_module(tool)
    first = write_list(tmp_path / "a.csv", "1abc,A B,train", "2xyz,A,val", "3def,B,test")
    made = prepare(mirror, tmp_path / "first", chains=first, **QUIET)
    with open(made / "index.csv", newline="") as handle:
        rows = [{**row, "pdb": row["id"][:4]} for row in csv.DictReader(handle)]
    for row in rows:
        row["chain"] = row["chain"].replace(" ", "")
    listed = [tool.listed(row) for row in rows]
    second = tmp_path / "b.csv"
    with open(second, "w", newline="") as handle:
        writer = csv.DictWriter(handle, tool.COLUMNS)
        writer.writeheader()
        writer.writerows(listed)
    again = prepare(mirror, tmp_path / "second", chains=second, **QUIET)
    for name in ("shard_000.atoms.npy", "shard_000.residues.npy"):
        assert (made / name).read_bytes() == (again / name).read_bytes()
