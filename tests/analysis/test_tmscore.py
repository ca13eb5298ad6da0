"""TM-scores: the maximum is found, and is that of the original program."""

from __future__ import annotations

import numpy as np
import pytest
from builders import ideal_backbone

from openmm_slm.analysis.tmscore import tm_d0, tm_matrix, tm_scores, tm_self
from openmm_slm.protein.superposition import (
    best_rotations,
    rmsd,
    rmsd_matrix,
    superpose,
    superposed,
)


def chain(length: int, seed: int) -> np.ndarray:
    """CA [L, 3] (nm) of helices and strands that follow each other at random."""
    rng = np.random.default_rng(seed)
    centres = np.array([[-63, -42], [-115, 135], [-75, 145]])[rng.integers(3, size=length // 6 + 1)]
    phi, psi = (np.repeat(centres, 6, 0)[:length] + 8 * rng.normal(size=(length, 2))).T
    return ideal_backbone(np.radians(phi), np.radians(psi), np.full(length, np.pi))[:, 1]


def hinged(x: np.ndarray, at: int, degrees: float, noise: float, seed: int) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(seed)
    turn = Rotation.from_rotvec(np.radians(degrees) * np.array([0.6, 0, 0.8])).as_matrix()
    out = x.copy()
    out[at:] = (x[at:] - x[at]) @ turn.T + x[at]
    return out + noise * rng.normal(size=x.shape)


def pairs_of(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Near, hinged and unrelated pairs."""
    x = [chain(length, seed) for seed in range(6)]
    noisy = [hinged(x[0], 2, 0, noise, 7) for noise in (0.01, 0.2, 0.8)]
    bent = [hinged(x[1], at, degrees, 0.1, 8) for at, degrees in ((length // 2, 70), (9, 120))]
    left = [x[0]] * 3 + [x[1]] * 2 + x[:5]
    return np.array(left), np.array(noisy + bent + x[1:])


def exhaustive(x: np.ndarray, y: np.ndarray, d0: float) -> float:
    """Every fragment of L, L/2, ..., 4 residues as a start, each followed to its maximum by plain
    superpositions: of residues that are near (Zhang & Skolnick) and with the tangent's weights."""
    length, best = len(x), 0.0
    for size in {max(4, length >> k) for k in range(8)}:
        for start in range(length - size + 1):
            chosen = np.isin(np.arange(length), np.arange(start, start + size))
            best = max(best, followed(superpose(x, y, chosen)[0], y, d0))
            for turn in range(15):
                moved = superpose(x, y, chosen)[0]
                d = np.linalg.norm(moved - y, axis=1)
                reach = np.clip(d0, 0.45, 0.8) + (0.1 if turn else -0.1)
                near = d < max(reach, np.sort(d)[2] + 1e-9)
                if (near == chosen).all():
                    break
                chosen = near
            best = max(best, followed(moved, y, d0))
    return best


def followed(moved: np.ndarray, y: np.ndarray, d0: float) -> float:
    """The score's maximum above a superposition."""
    before = 0.0
    for _ in range(100):
        share = 1 / (1 + ((moved - y) ** 2).sum(1) / d0**2)
        if share.mean() < before + 1e-6:
            break
        before, w = share.mean(), share**2 / (share**2).sum()
        a, b = moved - w @ moved, y - w @ y
        u, _, vt = np.linalg.svd((a * w[:, None]).T @ b)
        u[:, 2] *= np.sign(np.linalg.det(u @ vt))
        moved = a @ u @ vt + w @ y
    return before


@pytest.mark.parametrize("length", [24, 48])
def test_within_0005_of_an_exhaustive_search(length):
    x, y = pairs_of(length)
    found = tm_scores(x, y)
    best = [exhaustive(a, b, tm_d0(length)) for a, b in zip(x.astype(float), y, strict=True)]
    assert found.min() < 0.35 and found.max() > 0.9  # hard and easy ones
    assert np.abs(found - best).max() < 0.005, found - best


def test_agrees_with_tm_align_where_its_alignment_is_the_identity():
    tmtools = pytest.importorskip("tmtools")
    same = 0
    for length in (60, 100):
        one = chain(length, 3)
        y = [hinged(one, 20, angle, noise, 5) for angle in (0, 15) for noise in (0.03, 0.08, 0.15)]
        x, y, sequence = np.array([one] * 6), np.array(y), "A" * length
        for a, b, mine in zip(x, y, tm_scores(x, y), strict=True):
            found = tmtools.tm_align(10.0 * a.astype(float), 10.0 * b, sequence, sequence)
            if "-" not in found.seqxA + found.seqyA:
                same += 1
                assert mine == pytest.approx(found.tm_norm_chain1, abs=0.02)
    assert same >= 8


def test_d0_is_the_published_one():
    assert tm_d0(100) == pytest.approx(0.1 * (1.24 * 85 ** (1 / 3) - 1.8))
    assert tm_d0(10) == 0.05


def test_a_congruent_pair_scores_1_and_a_mirror_image_does_not():
    x = chain(40, 0)
    mirrored = x * [1, 1, -1]
    found = tm_scores(np.array([x, x]), np.array([x[:, [1, 2, 0]] + 3, mirrored]))
    assert found[0] == pytest.approx(1, abs=1e-6)
    assert found[1] < 0.8


def test_missing_residues_count_in_the_norm():
    x = chain(60, 1)
    assert tm_scores(x[None, :45], x[None, :45], 60)[0] == pytest.approx(0.75, abs=1e-6)


def test_matrix_and_self_scores_are_those_of_pairs():
    x = np.array([chain(30, seed) for seed in range(4)])
    matrix, own = tm_matrix(x[:3], x), tm_self(x)
    assert matrix.shape == (3, 4)
    assert np.allclose(matrix[0, 1], tm_scores(x[:1], x[1:2]), atol=1e-6)
    assert np.allclose(own, own.T) and np.allclose(np.diag(own), 1)
    assert np.allclose(matrix[:3, :3], own[:3, :3], atol=2e-3)
    assert tm_matrix(x[:0], x).shape == (0, 4)


@pytest.mark.parametrize("points", [2, 3, 4, 30])
def test_rotations_equal_those_of_the_singular_value_decomposition(points):
    rng = np.random.default_rng(points)
    x, y = rng.normal(size=(2, 300, points, 3))
    off = np.sqrt(((superposed(x, y) - y) ** 2).sum(-1).mean(-1))
    assert np.allclose(off, rmsd(x, y), atol=1e-9)
    if points > 2:
        assert np.allclose(rmsd_matrix(x[:5], y[:7]), rmsd(x[:5, None], y[None, :7]), atol=1e-7)


def test_rotations_of_mirror_images_lines_and_nothing_are_proper():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 12, 3))
    for y in (x * [1, 1, -1], x * [1, 1, 0], x * [1, 0, 0], x * 0):
        rotation = best_rotations(np.swapaxes(x, 1, 2) @ y)
        assert np.allclose(np.linalg.det(rotation), 1)
        assert np.allclose(rotation @ np.swapaxes(rotation, 1, 2), np.eye(3), atol=1e-9)
