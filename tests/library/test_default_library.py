"""The library in the package: whole, small enough, quick, and right about known proteins."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from openmm_slm.library.registry import (
    load_library,
    registered_libraries,
    shipped_libraries,
    verify_library,
)

UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
SEARCH = """
from openmm_slm.library.registry import load_library
load_library().search({!r})
print(open("/proc/self/status").read())
"""


@pytest.fixture(scope="module")
def library():
    return load_library()


def test_files_are_whole_and_small_enough():
    assert {"default", "complexes"} == {*shipped_libraries()} and registered_libraries() == {}
    lines = verify_library()
    assert all("checksum right" in line for line in lines[:-1])
    sizes = [path.stat().st_size for path in shipped_libraries()["default"].iterdir()]
    assert max(sizes) <= 16 * 2**20 and sum(sizes) <= 32 * 2**20


def test_chains_have_names_splits_and_clusters(library):
    splits = Counter(chain.split for chain in library.chains)
    assert len(library) == sum(splits.values()) == 22_916
    assert min(splits[name] for name in ("train", "val", "test", "test_related")) >= 150
    assert all(chain.cluster for chain in library.chains)
    assert sum(not chain.pdb for chain in library.chains) < 50
    total = sum(chain.length for chain in library.chains)
    assert total == library.about["residues"] == len(library.files.array("codes"))


def test_backbones_are_protein(library):
    for number in (0, 10_000, 22_915):
        backbone = library.backbone(number)
        n, ca, c, o = np.moveaxis(backbone, 1, 0)
        for one, other, bond in ((n, ca, 0.146), (ca, c, 0.152), (c, o, 0.123)):
            length = np.sqrt(((one - other) ** 2).sum(-1))
            assert abs(np.nanmedian(length) - bond) < 0.003
        assert len(library.residue_numbers(number)) == len(backbone)


def test_ubiquitin_is_found_in_all_splits_and_its_relatives_in_train(library):
    found = library.search(UBIQUITIN)
    assert found[0].identity > 0.95 and found[0].probability > 0.95
    assert found[0].e_value < 1e-15
    distant = library.search(UBIQUITIN, splits=["train"], most_identical=0.7)
    assert distant and max(hit.identity for hit in distant) <= 0.7
    assert distant[0].probability > 0.9 and distant[0].id != found[0].id


def test_what_is_shuffled_has_no_fold(library):
    rng = np.random.default_rng(0)
    for _ in range(3):
        shuffled = "".join(rng.permutation(list(UBIQUITIN)))
        assert all(hit.probability < 0.5 for hit in library.search(shuffled))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory as Linux tells it")
def test_a_search_needs_little_memory():
    command = [sys.executable, "-c", SEARCH.format(UBIQUITIN * 2)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert int(re.search(r"VmHWM:\s+(\d+) kB", shown)[1]) < 200 * 1024
