"""``openmm-slm library`` and ``benchmark search`` on a small library."""

from __future__ import annotations

import re

import numpy as np
import pytest
from click.testing import CliRunner
from small_library import mutated, write_library_shards, write_profiles

from openmm_slm.cli.main import main
from openmm_slm.data.shards import ShardDataset, ShardWriter


def run(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(main, [*map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Chains of which the last of ten is in the split test: a mutant of the one before it."""
    folder = tmp_path_factory.mktemp("library")
    write_library_shards(folder / "first", chains=40)
    dataset, rng = ShardDataset(folder / "first" / "shards"), np.random.default_rng(2)
    writer, chains = ShardWriter(folder / "shards", prefix="backbone"), {}
    for number, row in enumerate(dataset.rows):
        test = row["split"] == "test"
        entry = dataset[number - 1 if test else number]
        sequence = mutated(rng, entry.sequence, 0.5) if test else entry.sequence
        writer.add(
            row["id"], sequence, entry.backbone, entry.chain_break,
            dataset.residue_numbers(number - 1 if test else number),
            split=row["split"], cluster=row["cluster"], pdb=row["pdb"], chain="A",
        )  # fmt: skip
        chains[row["id"]] = sequence
    writer.close()
    write_profiles(folder / "profiles.npz", chains)
    card = folder / "card.md"
    card.write_text("# Of a test\n")
    out = run(
        "library", "build", folder / "shards", "-o", folder / "library", "--card", card,
        "--profiles", folder / "profiles.npz",
    )  # fmt: skip
    assert "40 chains" in out and "40 chains with a profile" in out
    return folder


def test_a_library_is_listed_described_and_verified(folder):
    assert "default" in run("library", "list")
    shown = run("library", "show", folder / "library")
    assert "splits: train 36, test 4" in shown and "# Of a test" in shown
    assert run("library", "verify", folder / "library").count("checksum right") == 6
    assert "neither a directory nor one of complexes, default" in run(
        "library", "show", "nosuch", code=2
    )
    assert "openmm-slm: " in run("library", "verify", folder, code=2)


def test_the_default_codebook_serves_structures_without_profiles(folder, tmp_path):
    run("library", "build", folder / "shards", "-o", tmp_path / "plain")
    assert "0 chains with a profile" in run("library", "show", tmp_path / "plain")


def test_the_benchmark_finds_the_fold_of_mutants_among_training_chains(folder, tmp_path):
    command = [
        "benchmark", "search", "--data", folder / "shards", "--library", folder / "library",
        "--profiles", folder / "profiles.npz", "--split", "test", "--shuffled", "3",
        "--against", "blosum62", "--against", "no-codes", "-o", tmp_path / "out",
    ]  # fmt: skip
    out = run(*command)
    for arm in ("sequence", "query profile", "no codes", "BLOSUM62"):
        line = re.search(rf"^{arm} +(\d+) +(\d+) +(\d+)", out, re.MULTILINE)
        assert [int(n) for n in line.groups()] == [4, 4, 4], out
    assert "3 shuffled sequences: 0 get a fold" in out
    again = run(*command)  # from the folder
    assert again[again.index("test: right") :].split("peak")[0] in out
    missing = run(*command[:-4], "--split", "val", code=2)
    assert "no entries of split 'val'" in missing
