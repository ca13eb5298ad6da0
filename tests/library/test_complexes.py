"""Complexes of a library that have all chains of a query."""

from __future__ import annotations

import numpy as np
import pytest
from builders import helix
from small_library import mutated, random_sequence

from openmm_slm.data.shards import ShardWriter
from openmm_slm.errors import StructureError
from openmm_slm.library.building import build_library
from openmm_slm.library.complexes import find_complexes
from openmm_slm.library.library import Library
from openmm_slm.protein.superposition import rmsd
from openmm_slm.sampling.known_structures import (
    find_known_structures,
    thread_on_complexes,
)

RNG = np.random.default_rng(5)
FIRST, SECOND, LONE = (random_sequence(RNG, 60) for _ in range(3))


def _pair(apart: float) -> np.ndarray:
    """Two helices of 60 residues side by side; nm."""
    chain = helix(60)
    return np.concatenate([chain, chain + np.array([apart, 0, 0])])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("complexes")
    writer = ShardWriter(folder / "shards", prefix="backbone")
    breaks, numbers = np.arange(120) % 60 == 0, np.tile(np.arange(1, 61), 2)
    for name, sequence, apart in (
        ("hetero", f"{FIRST}:{SECOND}", 1.0),
        ("homo", f"{LONE}:{LONE}", 1.0),
        ("apart", f"{SECOND}:{LONE}", 9.0),
    ):
        writer.add(name, sequence, _pair(apart), breaks, numbers, split="train", cluster=name,
                   pdb=name.upper(), chain="AB")  # fmt: skip
    writer.add("alone", LONE, helix(60), breaks[:60], numbers[:60], split="train", cluster="lone",
               pdb="LONE", chain="A")  # fmt: skip
    writer.close()
    return folder


@pytest.fixture(scope="module")
def library(written) -> Library:
    counts = build_library(written / "shards", written / "library", complexes=True)
    assert counts["chains"] == 6  # whole complexes, with the repeats of a homodimer
    return Library(written / "library")


def test_relatives_of_both_chains_are_arranged_as_in_the_complex_in_any_order(library):
    query = mutated(RNG, SECOND, 0.3), mutated(RNG, FIRST, 0.3)
    (found,) = find_complexes(library, query)
    assert (found.id, found.pdb) == ("hetero", "HETERO")
    known = thread_on_complexes(":".join(query), [library])
    ca, there = known.template.atom14[:, :, 1], known.template.known[0]
    swapped = np.roll(_pair(1.0)[:, 1], 60, 0).astype(np.float32)
    assert there.mean() > 0.8
    assert rmsd(ca[:, there], swapped[None, there])[0] < 0.02
    assert [record["of_chain"] for record in known.records] == [1, 2]
    assert [record["chain"] for record in known.records] == ["B", "A"]
    assert known.template.names == ("HETERO",)


def test_a_homodimer_uses_two_chains_and_a_chain_that_is_missing_gives_nothing(library):
    (found,) = find_complexes(library, (LONE, LONE))
    assert found.id == "homo" and found.hits[0].number != found.hits[1].number
    assert not find_complexes(library, (LONE, LONE, LONE))
    assert thread_on_complexes(f"{FIRST}:{random_sequence(RNG, 60)}", [library]) is None


def test_chains_that_do_not_touch_are_no_complex(library):
    assert not find_complexes(library, (SECOND, LONE))


def test_a_folder_without_complexes_is_refused(written, tmp_path):
    writer = ShardWriter(tmp_path / "shards", prefix="backbone")
    writer.add("alone", LONE, helix(60), np.arange(60) == 0, np.arange(1, 61), split="train",
               cluster="lone")  # fmt: skip
    writer.close()
    with pytest.raises(StructureError, match="no complexes of 20 to 2000"):
        build_library(tmp_path / "shards", tmp_path / "library", complexes=True)


ALPHA = (
    "VLSPADKTNVKAAWGKVGAHAGEYGAEALERMFLSFPTTKTYFPHFDLSHGSAQVKGHGKKVADALTNAVAHVDDMPNALSALSDLHAHKL"
    "RVDPVNFKLLSHCLLVTLAAHLPAEFTPAVHASLDKFLASVSTVLTSKYR"
)
BETA = (
    "VHLTPEEKSAVTALWGKVNVDEVGGEALGRLLVVYPWTQRFFESFGDLSTPDAVMGNPKVKAHGKKVLGAFSDGLAHLDNLKGTFATLSEL"
    "HCDKLHVDPENFRLLGNVLVCVLAHHFGKEFTPPVQAAYQKVVAGVANALAHKYH"
)


def test_the_package_knows_the_dimer_of_haemoglobin():
    template, identity = find_known_structures(f"{ALPHA}:{BETA}", "auto")
    assert template.known.mean() > 0.95
    ca = template.atom14[0, :, 1]
    near = np.linalg.norm(ca[: len(ALPHA), None] - ca[None, len(ALPHA) :], axis=-1) < 0.8
    assert 10 < near.sum() < 200  # an interface, without overlap
    assert {record["of_chain"] for record in identity["relatives"]} == {1, 2}
