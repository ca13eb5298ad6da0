"""Monte Carlo of chains, tails and linkers."""

from __future__ import annotations

import numpy as np
import pytest
from builders import regular

from openmm_slm.disorder.bead_energy import BeadEnergy, Compactness
from openmm_slm.disorder.moving_parts import MovingParts
from openmm_slm.disorder.window_moves import WindowMoves, difference
from openmm_slm.disorder.wished_size import WishedSize, radius_of_gyration
from openmm_slm.protein.chain_building import backbone_of
from openmm_slm.protein.geometry import backbone_torsions

RNG = np.random.default_rng(3)
FREE = Compactness(0.0, 0.0)


def pool(length: int, members: int = 24) -> np.ndarray:
    """Torsions of extended and of helical residues, at random."""
    helical = RNG.random((members, length)) < 0.3
    phi = np.where(helical, -1.1, -1.6) + RNG.normal(0, 0.2, (members, length))
    psi = np.where(helical, -0.8, 2.3) + RNG.normal(0, 0.2, (members, length))
    return np.stack([phi, psi, np.full((members, length), np.pi)], 1)


def moves(text: str, ca=None, sequence=None, compactness=FREE, bias=None, torsions=None):
    disordered = np.array(list(text)) == "d"
    parts = MovingParts.of(disordered, ca, np.arange(len(text)) > 0)
    energy = BeadEnergy(sequence or "S" * len(text), np.arange(len(text)), parts.body, compactness)
    return WindowMoves(parts, pool(len(text)) if torsions is None else torsions, energy, bias)


def nothing(frames: int, length: int) -> np.ndarray:
    return np.full((frames, length, 3, 3), np.nan)


def built(made) -> np.ndarray:
    return backbone_of(*made, np.arange(made[1].shape[1]) == 0)


def test_a_frame_depends_on_its_number_and_the_seed_alone():
    chain = moves("d" * 30)
    many = chain.run(np.arange(6), nothing(6, 30), 60, 1)[1]
    some = chain.run(np.array([4, 2]), nothing(2, 30), 60, 1)[1]
    assert np.array_equal(some, many[[4, 2]])
    assert not np.allclose(many[0], chain.run(np.arange(1), nothing(1, 30), 60, 2)[1][0])


def test_torsions_are_those_of_the_pool_and_geometry_stays_ideal():
    torsions = pool(25)
    x = built(moves("d" * 25, torsions=torsions).run(np.arange(8), nothing(8, 25), 400, 1))
    phi, psi, omega = backbone_torsions(x)
    for row in range(1, 24):  # each residue has the pair of one member
        pair = np.stack([phi[:, row], psi[:, row]], 1)[:, None] - torsions[:, :2, row]
        assert np.abs(np.angle(np.exp(1j * pair))).max(-1).min(1).max() < 1e-6
    assert np.allclose(np.linalg.norm(x[:, 1:, 0] - x[:, :-1, 2], axis=-1), 0.133, atol=1e-6)


def test_a_chain_without_interactions_is_sampled_uniformly_from_the_pool():
    """With two pool members that differ at one residue, half of the frames has each."""
    torsions = np.empty((2, 3, 12))
    torsions[:] = np.array([-1.6, 2.3, np.pi])[:, None]  # extended: nothing can overlap
    torsions[1, 1, 5] += 0.5
    x = built(moves("d" * 12, torsions=torsions).run(np.arange(400), nothing(400, 12), 30, 1))
    psi = backbone_torsions(x)[1][:, 5]
    share = (np.abs(np.angle(np.exp(1j * (psi - torsions[0, 1, 5])))) < 0.1).mean()
    assert share == pytest.approx(0.5, abs=0.1)


def test_no_two_residues_overlap_after_sampling():
    ca = moves("d" * 60).run(np.arange(16), nothing(16, 60), 500, 1)[1]
    apart = np.linalg.norm(ca[:, :, None] - ca[:, None], axis=-1)
    i, j = np.triu_indices(60, 3)
    assert np.quantile(apart[:, i, j].min(1), 0.1) > 0.35


def test_attraction_makes_chains_compact_and_like_charges_swell_them():
    def size(sequence: str, compactness: Compactness) -> float:
        chain = moves("d" * 50, sequence=sequence, compactness=compactness, torsions=POOL)
        ca = chain.run(np.arange(32), nothing(32, 50), 400, 1)[1]
        return radius_of_gyration(ca).mean()

    plain, sticky = size("S" * 50, FREE), size("F" * 50, Compactness(1.0, 0.0))
    assert sticky < 0.8 * plain
    assert size("E" * 50, FREE) > 1.1 * size("EK" * 25, FREE)


POOL = pool(50)


def test_the_change_of_a_move_is_the_difference_of_the_energies():
    chain = moves("dd" + "o" * 10 + "d" * 8, _fold(20), sequence="ACDEFGHIKLMNPQRSTVWY")
    start = chain.run(np.arange(5), _frames(20, 5), 3, 1)
    torsions = chain.pool[:5]
    for first, end in ((0, 2), (13, 16), (18, 20)):
        after = chain._moved(start, torsions, first, end)
        rows, columns, inside = chain._changed(first, end)
        sites = (chain.energy.sites(*x) for x in (start, after))
        before, now = (chain.energy.pairs(x, rows, columns) for x in sites)
        change = difference(now, before, inside)
        assert np.allclose(change, chain.energy(*after) - chain.energy(*start), atol=2e-2)


def _fold(length: int) -> np.ndarray:
    return regular(length, -60, -45)[:, 1]


def _frames(length: int, frames: int) -> np.ndarray:
    return np.broadcast_to(regular(length, -60, -45), (frames, length, 4, 3)).copy()


@pytest.mark.parametrize("text", ["o" * 20 + "d" * 10, "d" * 10 + "o" * 20])
def test_the_fold_is_held_and_the_tail_bonded_to_it(text):
    fold = _frames(30, 4)
    x = built(moves(text, _fold(30)).run(np.arange(4), fold, 100, 1))
    held = np.array(list(text)) == "o"
    assert np.abs(x[:, held, :3] - fold[:, held, :3]).max() < 1e-3  # ideal against given bonds
    assert np.allclose(x[:, held, 1], fold[:, held, 1], atol=1e-9)
    assert np.allclose(np.linalg.norm(x[:, 1:, 0] - x[:, :-1, 2], axis=-1), 0.133, atol=2e-3)


def test_domains_of_a_linker_stay_rigid_and_change_their_distance():
    text = "o" * 15 + "d" * 12 + "o" * 15
    fold = _frames(42, 12)
    fold[:, 27:] += 5.0
    ca = moves(text, fold[0, :, 1]).run(np.arange(12), fold, 150, 1)[1]
    for rows in (slice(0, 15), slice(27, 42)):
        inside = np.linalg.norm(ca[:, rows, None] - ca[:, None, rows], axis=-1)
        given = np.linalg.norm(fold[:, rows, None, 1] - fold[:, None, rows, 1], axis=-1)
        assert np.allclose(inside, given, atol=1e-6)
    apart = np.linalg.norm(ca[:, :15].mean(1) - ca[:, 27:].mean(1), axis=-1)
    assert apart.std() > 0.1


def test_a_wished_size_is_reached():
    for wish in (1.3, 2.2):
        chain = moves("d" * 50, bias=WishedSize(wish), torsions=POOL)
        ca = chain.run(np.arange(8), nothing(8, 50), 500, 1)[1]
        assert radius_of_gyration(ca) == pytest.approx(np.full(8, wish), rel=0.12)
