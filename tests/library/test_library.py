"""A library keeps its chains; a search finds relatives and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from small_library import mutated, random_sequence, write_library_shards, write_small_library

from openmm_slm.data.shards import ShardDataset
from openmm_slm.errors import StructureError
from openmm_slm.library.building import build_library
from openmm_slm.library.domains import best_cover, cover_query, uncovered
from openmm_slm.library.hits import LibraryHit
from openmm_slm.library.registry import load_library, verify_library
from openmm_slm.protein.sequence import encode_sequence
from openmm_slm.protein.sequence_search import substitution_frequencies
from openmm_slm.protein.superposition import rmsd

RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("small")


@pytest.fixture(scope="module")
def sequences(folder):
    return write_small_library(folder)


@pytest.fixture(scope="module")
def library(folder, sequences):
    return load_library(folder / "library")


def test_backbones_and_residue_numbers_come_back(folder, library, sequences):
    dataset = ShardDataset(folder / "shards")
    assert len(library) == len(library.chains) == len(sequences)
    for number in (0, 3, 63, 64, 89):  # across blocks
        native = dataset[number].backbone
        native[np.isnan(native).any((1, 2))] = np.nan
        np.testing.assert_array_equal(np.isnan(library.backbone(number)), np.isnan(native))
        away = np.sqrt(((library.backbone(number) - native) ** 2).sum(-1))
        assert np.nanmax(away) <= 0.01
        np.testing.assert_array_equal(
            library.residue_numbers(number), dataset.residue_numbers(number)
        )
        assert library.sequence(number) == sequences[library.chains[number].id]
    assert library.chains[9] == ("chain9", "009X", "A", "test", "family9", library.chains[9].length)


def test_profiles_come_back_nearly(library, sequences):
    """Of the columns here, one per amino acid, the codebook loses nothing but a smoothing."""
    profile = library.profile(4)
    assert profile.shape == (len(sequences["chain4"]), 20)
    np.testing.assert_allclose(profile.sum(1), 1, atol=1e-3)
    expected = substitution_frequencies()[encode_sequence(sequences["chain4"])]
    assert np.abs(profile - expected).max() < 0.02


def test_search_finds_a_mutated_chain_with_an_insertion(library, sequences):
    native = sequences["chain12"]
    query = mutated(RNG, native, 0.4)
    query = query[:25] + "GSGS" + query[25:]
    best, *others = library.search(query)
    assert (best.id, best.pdb, best.chain) == ("chain12", "012X", "A")
    assert best.e_value < 1e-4 and 0.5 < best.identity < 0.8 and best.coverage > 0.8
    ours, theirs = best.places
    assert (np.diff(ours) > 0).all() and (np.diff(theirs) > 0).all()
    assert np.mean(np.where(ours < 25, ours, ours - 4) == theirs) > 0.9
    assert all(hit.e_value > 1e-3 for hit in others)


def test_what_is_unrelated_has_no_hit(library, sequences):
    for query in (sequences["chain12"][::-1], "".join(RNG.permutation(list(sequences["chain7"])))):
        assert all(hit.e_value > 0.01 and hit.probability < 0.5 for hit in library.search(query))
    for repeat in ("A" * 60, "GS" * 40, "PQQ" * 30):
        assert all(hit.e_value > 0.01 for hit in library.search(repeat))


def test_splits_names_and_identity_leave_chains_out(library, sequences):
    query = sequences["chain9"]  # of the split test
    assert library.search(query)[0].id == "chain9"
    assert library.search(query)[0].identity == 1

    def found(**options):
        return {hit.id for hit in library.search(query, **options)}

    assert "chain9" not in found(splits=["train"])
    assert "chain9" in found(splits=["test", "train"])
    assert "chain9" not in found(exclude=["009x"]) | found(exclude=["chain9"])
    assert "chain9" not in found(most_identical=0.9)
    assert len(library.search(query, limit=1)) == 1


def test_a_profile_finds_what_it_describes(library, sequences):
    query = "".join(RNG.permutation(list(sequences["chain20"])))
    profile = library.profile(20)
    hit = library.search(query, profile)[0]
    assert hit.id == "chain20" and hit.coverage > 0.9 and hit.identity < 0.3


def test_a_query_is_threaded_on_its_hit(library, sequences):
    query = mutated(RNG, sequences["chain30"], 0.3)
    threaded = library.threaded(query, library.search(query, limit=1))
    known = np.isfinite(threaded[0, :, 1]).all(-1)
    assert threaded.shape == (1, len(query), 14, 3) and known.mean() > 0.8
    assert rmsd(threaded[0, known, 1], library.backbone(30)[known, 1]) < 1e-3


def test_two_domains_are_covered_by_two_hits(library, sequences):
    linker = random_sequence(RNG, 40)
    first, second = (mutated(RNG, sequences[name], 0.2) for name in ("chain40", "chain41"))
    query = first + linker + second
    best = [group[0] for group in cover_query(library, query)]
    assert [hit.id for hit in best] == ["chain40", "chain41"]
    assert best[0].span[1] <= len(first) + 10 and best[1].span[0] >= len(first + linker) - 10
    assert all(hit.stretch_probability > 0.9 > 0.5 > hit.probability for hit in best)
    assert cover_query(library, query, exclude=["chain40", "chain41"]) == []


def hit(first: int, end: int, bits: float) -> LibraryHit:
    places = np.arange(first, end) + np.zeros((2, 1), int)
    return LibraryHit(0, "x", "", "", places, 1.0, 1.0, bits, 0.0, 1.0, 1.0)


def test_the_cover_has_the_closest_hits_and_no_overlap():
    hits = [hit(0, 100, 50), hit(0, 48, 30), hit(45, 100, 30), hit(90, 200, 20)]
    assert best_cover(hits) == [hits[1], hits[2], hits[3]]
    assert best_cover(hits[:1] + hits[3:]) == [hits[0], hits[3]]
    assert best_cover([]) == []
    assert uncovered([(10, 20), (15, 40)], 0, 50) == [(0, 10), (40, 50)]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("ACDEF:ACDEF", "the sequence has 2"),
        ("ACDEF1" * 5, "'1' at position 6"),
        ("A" * 2001, "up to 2000"),
    ],
)
def test_queries_that_cannot_be_searched_are_named(library, query, told):
    with pytest.raises(StructureError, match=told):
        library.search(query)


def test_odd_queries(library, sequences):
    assert library.search("ACDEFGHIKL") == []  # too short to tell
    query = sequences["chain5"]
    unknown = "".join("X" if k % 5 == 0 else c for k, c in enumerate(query))
    assert library.search(unknown)[0].id == "chain5"
    with pytest.raises(StructureError, match="profile has the shape"):
        library.search(query, np.ones((3, 20)))
    with pytest.raises(StructureError, match="no chains of split 'val'"):
        library.search(query, splits="val")


@pytest.mark.parametrize("name", ["letters.npy", "index.csv.xz", "backbones_000.bin"])
def test_a_damaged_file_is_named(folder, sequences, tmp_path, name):
    for path in (folder / "library").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(bytes(data))
    with pytest.raises(StructureError, match=f"{name}: damaged"):
        verify_library(tmp_path)
    with pytest.raises(StructureError, match=f"{name}: damaged"):
        damaged = load_library(tmp_path)
        damaged.search(sequences["chain0"])
        damaged.backbone(0)
    (tmp_path / name).unlink()
    with pytest.raises(StructureError, match=f"{name}: missing"):
        verify_library(tmp_path)


def test_what_is_no_library_is_named(tmp_path):
    with pytest.raises(StructureError, match="neither a directory nor one of"):
        load_library("nosuch")
    with pytest.raises(StructureError, match="not a structure library"):
        load_library(tmp_path)
    (tmp_path / "library.json").write_text('{"format": 99, "kind": "library"}')
    with pytest.raises(StructureError, match="library format is 99, this version reads 1"):
        load_library(tmp_path)


def test_one_chain_per_value_of_a_column(tmp_path):
    write_library_shards(tmp_path, chains=20)
    other = tmp_path / "other"
    write_small_library(other)
    counts = build_library(
        tmp_path / "shards", tmp_path / "out", codebook=other / "library", one_per="cluster90"
    )
    # Ten pairs; in one of every five the chains are of different splits.
    assert counts["chains"] == 12 and counts["profiles"] == 0
    with pytest.raises(StructureError, match="no column 'family'"):
        build_library(tmp_path / "shards", tmp_path / "out", one_per="family")


def test_profiles_that_do_not_fit_are_named(tmp_path):
    write_library_shards(tmp_path, chains=3)
    np.savez(tmp_path / "bad.npz", id=["chain0"], lens=[4], q=np.zeros((4, 20), np.uint8))
    with pytest.raises(StructureError, match="the profile of chain0 has 4 columns"):
        build_library(tmp_path / "shards", tmp_path / "out", profiles=tmp_path / "bad.npz")
    (tmp_path / "bad.npz").write_text("no")
    with pytest.raises(StructureError, match="not a file of profiles"):
        build_library(tmp_path / "shards", tmp_path / "out", profiles=tmp_path / "bad.npz")
