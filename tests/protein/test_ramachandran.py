"""Ramachandran maps: known conformations, and how the maps are made."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from openmm_slm.errors import StructureError
from openmm_slm.protein import ramachandran
from openmm_slm.protein.ramachandran import ALLOWED, FAVOURED, OUTLIER, UNDEFINED, classify, levels


def level(phi: float, psi: float, residue: str = "A", following: str = "A") -> int:
    angles = np.radians([[0, phi, 0], [0, psi, 0]])
    return int(classify(*angles, "A" + residue + following)[1])


@pytest.mark.parametrize(
    ("phi", "psi", "residue", "following", "expected"),
    [
        (-63, -43, "A", "A", FAVOURED),  # alpha helix
        (-120, 130, "V", "A", FAVOURED),  # beta strand
        (55, 45, "N", "A", FAVOURED),  # left-handed helix
        (0, 0, "A", "A", OUTLIER),
        (60, -150, "G", "A", FAVOURED),  # only glycine is at home there
        (90, 0, "G", "A", FAVOURED),
        (90, -150, "V", "A", OUTLIER),
        (-65, 145, "P", "A", FAVOURED),
        (60, 45, "P", "A", OUTLIER),  # the ring fixes phi
        (-120, 60, "P", "A", OUTLIER),
        (-90, 0, "A", "A", FAVOURED),
        (-90, -10, "A", "P", ALLOWED),  # the next ring is in the way of the bridge region
        (-60, -45, "A", "P", FAVOURED),
    ],
)
def test_known_conformations(phi, psi, residue, following, expected):
    assert level(phi, psi, residue, following) == expected


def test_handedness_shows_in_every_class_but_glycine():
    maps = levels()
    for name, one in zip(ramachandran.CLASSES, maps, strict=True):
        mirrored = one[::-1, ::-1]
        shared = ((one == 2) & (mirrored == 2)).sum() / (one == 2).sum()
        assert (shared > 0.6) if name == "glycine" else (shared < 0.25), name


def test_angles_repeat_every_turn():
    rng = np.random.default_rng(0)
    sequence = "".join(rng.choice(list("AGPV"), 200))
    phi, psi = rng.uniform(-np.pi, np.pi, (2, 200))
    expected = classify(phi, psi, sequence)
    assert np.array_equal(classify(phi + 2 * np.pi, psi - 4 * np.pi, sequence), expected)
    assert level(180, 180) == level(-180, -180) == level(179.9, -179.9)


def test_undefined_is_no_outlier():
    phi = np.radians([[np.nan, -60, -60, -60, -60]] * 3)
    psi = np.radians([[-45, -45, -45, -45, np.nan]] * 3)
    found = classify(phi, psi, "AAXAA")
    assert found.shape == (3, 5)
    assert found[1].tolist() == [UNDEFINED, FAVOURED, UNDEFINED, FAVOURED, UNDEFINED]


def test_another_length_is_refused():
    with pytest.raises(StructureError, match="3 residues"):
        classify(np.zeros(4), np.zeros(4), "AAA")


def test_classes_as_lovell_has_them():
    """Glycine and proline are what they are before proline too."""
    assert ramachandran.residue_classes("AGPAPPX").tolist() == [0, 1, 3, 2, 3, 3, -1]


def test_the_shipped_maps_are_small_and_nested():
    assert levels().shape == (4, 72, 72) and set(np.unique(levels())) == {0, 1, 2}
    assert ramachandran._MAPS.stat().st_size < 100_000
    favoured, allowed = ((levels() >= value).mean((1, 2)) for value in (FAVOURED, ALLOWED))
    assert (favoured < allowed).all() and (allowed < 0.8).all()


# -- how they are made ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tool():
    path = Path(__file__).parents[2] / "tools" / "make_ramachandran.py"
    spec = importlib.util.spec_from_file_location("make_ramachandran", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_smoothing_is_periodic_and_keeps_the_total(tool):
    counts = np.zeros((72, 72))
    counts[0, 0] = 1
    density = tool.smooth(counts, 5.0)
    assert density.sum() == pytest.approx(1)
    assert density[71, 0] == pytest.approx(density[1, 0])
    assert density[71, 71] == pytest.approx(density[1, 1])
    ratio = density[1, 0] / density[0, 0]
    assert ratio == pytest.approx(np.exp(-0.5))  # one square is one standard deviation


def test_levels_are_the_smallest_regions_that_hold_the_shares(tool):
    counts = np.random.default_rng(1).multinomial(100_000, np.ones(72 * 72) / 72**2)
    counts = counts.reshape(72, 72) ** 3
    found = tool.to_levels(counts, counts)
    for value, share in tool.SHARES.items():
        region = found >= value
        assert counts[region].sum() >= share * counts.sum()
        assert counts[region].sum() - counts[region].min() < share * counts.sum()
        assert counts[region].min() >= counts[~region].max()


def test_a_shard_directory_is_counted_one_chain_a_cluster(tool, tmp_path):
    from builders import helix

    from openmm_slm.data.shards import ShardWriter

    writer = ShardWriter(tmp_path, atoms=4, prefix="backbone")
    broken = np.arange(10) == 0
    gap = np.isin(np.arange(10), [0, 5])
    for name, cluster, breaks, split in (
        ("a", "1", broken, "train"),
        ("b", "1", broken, "train"),
        ("c", "2", gap, "train"),
        ("d", "3", broken, "test"),
    ):
        writer.add(
            name, "AAAGAAPAAA", helix(10), breaks, np.arange(10), split=split, cluster=cluster
        )
    writer.close()
    counts, chains = tool.count(str(tmp_path))
    assert chains == 2
    # 8 residues of a have phi and psi; of c, two fewer, one of them (5) before the proline.
    assert counts.sum((1, 2)).tolist() == [5 + 4, 2, 1, 2]
    row, column = (ramachandran.grid_cell(np.radians(a), 72) for a in (-60.0, -45.0))
    assert counts[:, row - 1 : row + 1, column - 1 : column + 1].sum() == counts.sum()
