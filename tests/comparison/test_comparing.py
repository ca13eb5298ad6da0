"""Metrics of an ensemble against a reference equal independent evaluations of their definitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from builders import ideal_backbone

import openmm_slm
from openmm_slm.analysis.histograms import counts, digitise
from openmm_slm.analysis.tica import distance_basis, fit_tica
from openmm_slm.protein.superposition import rmsd, superpose
from openmm_slm.protein.trajectory import backbone_trajectory

pytest.importorskip("pandas")
pytest.importorskip("deeptime")
SEQUENCE = "GSDKIEAPLWTRHNVFQYMC"
GB3 = Path(__file__).parents[3] / "shared" / "benchmarks" / "md_gb3"


def wandering(frames: int, seed: int, width: float = 6.0, psi: float = -45.0):
    """A helix whose torsions wander (degrees), as a Trajectory of N, CA, C and O."""
    rng = np.random.default_rng(seed)
    length = len(SEQUENCE)
    torsions, off = [], np.zeros((2, length))
    for _ in range(frames):
        off = 0.9 * off + np.sqrt(1 - 0.81) * width * rng.normal(size=off.shape)
        torsions.append(np.radians(off + [[-65.0], [psi]]))
    x = [ideal_backbone(phi, psi, np.full(length, np.pi)) for phi, psi in torsions]
    return backbone_trajectory(np.array(x), SEQUENCE)


@pytest.fixture(scope="module")
def samples():
    return wandering(30, 1, width=7, psi=-43)


@pytest.fixture(scope="module")
def reference():
    return wandering(40, 2)


@pytest.fixture(scope="module")
def comparison(samples, reference):
    return openmm_slm.compare(samples, reference, lengths=(22, 18), tica_lag=3, tica_components=6)


def ca(traj):
    return traj.xyz[:, traj.topology.select("name CA")].astype(float)


def apart(traj, step):
    x = ca(traj)
    i, j = np.triu_indices(x.shape[1], step)
    return np.linalg.norm(x[:, i] - x[:, j], axis=-1)


def rg(traj):
    x = ca(traj)
    return np.sqrt(((x - x.mean(1, keepdims=True)) ** 2).sum(-1).mean(-1))


def js(found, expected):
    """SciPy's distance of two columns of numbers, by the definition."""
    from scipy.spatial.distance import jensenshannon

    edges = np.linspace(expected.min(), expected.max(), 51)
    p, q = (np.histogram(x, edges)[0] + 1e-6 for x in (found, expected))
    return jensenshannon(p, q)


def value(comparison, name):
    return comparison.table.loc[name, "value"]


def test_distributions_of_distances(comparison, samples, reference):
    ours, theirs = apart(samples, 3), apart(reference, 3)
    each = [js(a, b) for a, b in zip(ours.T, theirs.T, strict=True)]
    assert np.allclose(comparison.profiles["js_of_pair"], each, atol=1e-6)
    assert value(comparison, "JS-PwD") == pytest.approx(np.mean(each), abs=1e-6)
    mae = np.abs(ours.mean(0) - theirs.mean(0)).mean()
    assert value(comparison, "MAE-PwD") == pytest.approx(10 * mae, abs=1e-6)
    p, q = (ours < 0.8).mean(0), (theirs < 0.8).mean(0)
    assert value(comparison, "contact difference") == pytest.approx(np.abs(p - q).mean(), abs=1e-6)
    log = np.abs(np.log(p + 0.01) - np.log(q + 0.01)).mean()
    assert value(comparison, "MAE-contact") == pytest.approx(log, abs=1e-6)


def test_sizes(comparison, samples, reference):
    a, b = rg(samples), rg(reference)
    assert value(comparison, "JS-Rg") == pytest.approx(js(a, b), abs=1e-6)
    assert value(comparison, "Rg") == pytest.approx(10 * a.mean(), abs=1e-6)
    assert comparison.table.loc["Rg", "reference"] == pytest.approx(10 * b.mean(), abs=1e-6)
    assert value(comparison, "MAE-Rg") == pytest.approx(10 * abs(a.mean() - b.mean()), abs=1e-6)
    ends = [np.linalg.norm(ca(t)[:, -1] - ca(t)[:, 0], axis=1) for t in (samples, reference)]
    assert value(comparison, "JS-end-to-end") == pytest.approx(js(*ends), abs=1e-6)
    assert value(comparison, "end-to-end") == pytest.approx(10 * ends[0].mean(), abs=1e-6)


def test_validity_counts_neighbours_and_the_longest_bond_of_the_reference():
    frames, reference = wandering(4, 5, width=3), wandering(20, 6, width=3)
    atoms = frames.topology.select("name CA")
    x = ca(frames)
    direction = (x[0, 7] - x[0, 6]) / np.linalg.norm(x[0, 7] - x[0, 6])
    frames.xyz[0, atoms[7]] = x[0, 6] + 0.29 * direction  # neighbours at 2.9 Angstrom: a clash
    frames.xyz[1, atoms[-1]] += 0.2 * (x[1, -1] - x[1, -2])  # stretched by a fifth
    table = openmm_slm.compare(frames, reference, n_bootstrap=0, tica_lag=None).table
    assert table.loc["val-clash", "value"] == 0.75
    longest = np.linalg.norm(np.diff(ca(reference), axis=1), axis=-1).max() + 1e-7
    short = (np.linalg.norm(np.diff(ca(frames), axis=1), axis=-1) < longest).all(1)
    assert not short[1] and table.loc["val-bond", "value"] == short.mean()
    assert (table.loc[["val-clash", "val-bond"], "reference"] == 1).all()


def test_rmsd_to_each_target_is_that_of_mdtraj(comparison, samples, reference):
    import mdtraj

    atoms = samples.topology.select("name CA")
    each = [
        mdtraj.rmsd(samples, reference, frame, atom_indices=atoms, precentered=False).min()
        for frame in range(reference.n_frames)
    ]
    assert np.allclose(comparison.profiles["best_rmsd_of_target"], each, atol=2e-5)  # float32
    exact = rmsd(ca(samples)[:, None], ca(reference)[None]).min(0).mean()
    assert value(comparison, "RMSD-ens") == pytest.approx(10 * exact, abs=1e-6)


def test_residue_flexibility(comparison, samples):
    from scipy.stats import pearsonr, spearmanr

    x = ca(samples)
    pairs = zip(*np.triu_indices(len(x), 1), strict=True)
    squares = [((superpose(x[i], x[j])[0] - x[j]) ** 2).sum(-1) for i, j in pairs]
    flexibility = np.sqrt(np.mean(squares, 0))
    assert np.allclose(comparison.profiles["flexibility"], flexibility, atol=1e-6)
    truth = comparison.profiles["reference_flexibility"]
    assert value(comparison, "ResFlex r") == pytest.approx(
        pearsonr(flexibility, truth)[0], abs=1e-6
    )
    assert value(comparison, "ResFlex rho") == pytest.approx(
        spearmanr(flexibility, truth)[0], abs=1e-6
    )


def test_flexibility_of_two_conformations_is_their_distance(reference):
    from openmm_slm.comparison.coverage import residue_flexibility

    x = ca(reference)[[0, 30]]
    distance = np.linalg.norm(superpose(x[0], x[1])[0] - x[1], axis=1)
    assert np.allclose(residue_flexibility(x), distance, atol=1e-6)


def aligned(x, target):
    return superpose(x, target)[0]


def mean_of(x):
    mean = x[0]
    for _ in range(200):
        mean = aligned(x, mean).mean(0)
    return mean


def test_motion_about_the_mean(comparison, samples, reference):
    from scipy.linalg import sqrtm

    x, y = ca(samples), ca(reference)
    each = [np.sqrt(((aligned(a, mean_of(a)) - mean_of(a)) ** 2).sum(-1).mean(0)) for a in (x, y)]
    assert np.allclose(comparison.profiles["rmsf"], each[0], atol=1e-6)
    assert np.allclose(comparison.profiles["reference_rmsf"], each[1], atol=1e-6)
    assert value(comparison, "RMSF r") == pytest.approx(np.corrcoef(*each)[0, 1], abs=1e-6)

    flat = [aligned(a, mean_of(y)).reshape(len(a), -1) for a in (x, y)]
    modes = []
    for a in flat:
        modes.append(np.linalg.svd(a - a.mean(0), full_matrices=False)[2][:10])
    overlap = np.sqrt(((modes[0] @ modes[1].T) ** 2).sum() / 10)
    assert value(comparison, "RMSIP") == pytest.approx(overlap, abs=1e-5)

    p, q = (a @ modes[1].T for a in flat)
    a, b = (np.cov(z.T, bias=True) for z in (p, q))
    square = ((p.mean(0) - q.mean(0)) ** 2).sum() + np.trace(
        a + b - 2 * sqrtm(sqrtm(b) @ a @ sqrtm(b)).real
    )
    w2 = 10 * np.sqrt(square / len(SEQUENCE))
    assert value(comparison, "PCA-W2") == pytest.approx(w2, abs=1e-5)


def test_gaussian_distance_of_points_on_a_line_is_exact():
    """In one dimension W2^2 = (difference of means)^2 + (difference of widths)^2."""
    from openmm_slm.analysis.fluctuations import gaussian_w2

    found = gaussian_w2(np.zeros(1), np.array([[4.0]]), np.array([3.0]), np.array([[36.0]]))
    assert found == pytest.approx(5.0, abs=1e-12)


def test_secondary_structure_torsions_and_couplings(comparison, samples, reference):
    import mdtraj
    from scipy.spatial.distance import jensenshannon

    shares = [
        np.stack([(mdtraj.compute_dssp(t) == s).mean(0) for s in "HEC"], -1)
        for t in (samples, reference)
    ]
    assert np.allclose(comparison.profiles["dssp"], shares[0])
    error = np.abs(shares[0] - shares[1]).sum(-1).mean() / 2
    assert value(comparison, "DSSP difference") == pytest.approx(error, abs=1e-6)

    edges, both = np.linspace(-np.pi, np.pi, 19), []
    for t in (samples, reference):
        phi, psi = mdtraj.compute_phi(t)[1][:, :-1], mdtraj.compute_psi(t)[1][:, 1:]
        both.append(
            [np.histogram2d(a, b, [edges, edges])[0] for a, b in zip(phi.T, psi.T, strict=True)]
        )
    each = [
        jensenshannon((p + 1e-6).ravel(), (q + 1e-6).ravel()) for p, q in zip(*both, strict=True)
    ]
    # Single precision: a torsion on the edge of a bin may fall on either side.
    assert value(comparison, "JS-phi/psi") == pytest.approx(np.mean(each), abs=1e-6)

    j, k = (mdtraj.compute_J3_HN_C(t)[1].mean(0) for t in (samples, reference))
    no_proline = [i for i, letter in enumerate(SEQUENCE[1:]) if letter != "P"]
    off = np.sqrt(((j - k)[no_proline] ** 2).mean())
    assert value(comparison, "3J(HN,C)") == pytest.approx(off, abs=1e-5)
    rows = comparison.profiles["j_hn_ha_rows"]
    assert not {SEQUENCE[row] for row in rows} & {"P", "G"}


def test_tica_is_the_generalised_eigenvalue_problem_within_each_trajectory(reference):
    """With the same PCA basis and cut-off, C(lag) v = lambda C(0) v by SciPy gives the same."""
    import scipy.linalg

    d = apart(reference, 1)
    centred = d - d.mean(0)
    u, s, vt = np.linalg.svd(centred, full_matrices=False)
    scores = centred @ vt[:6].T / s[:6] * np.sqrt(len(d))
    basis = distance_basis(ca(reference), 6)
    mine = basis.project(ca(reference))
    assert np.allclose(np.abs((mine * scores).mean(0)), 1, atol=1e-6)  # the same up to signs
    assert basis.explained == pytest.approx((s[:6] ** 2).sum() / (s**2).sum(), abs=1e-6)

    lag, parts = 3, (scores[:22], scores[22:])
    early, late = (np.concatenate([p[a] for p in parts]) for a in (slice(-lag), slice(lag, None)))
    mean = np.concatenate([early, late]).mean(0)
    a, b = early - mean, late - mean
    c0 = (a.T @ a + b.T @ b) / (2 * len(a))
    ct = (a.T @ b + b.T @ a) / (2 * len(a))
    truth, vectors = scipy.linalg.eigh(ct, c0)
    order = np.argsort(-np.abs(truth))[:2]
    model = fit_tica(mine, lag, (22, 18))
    assert np.allclose(model.singular_values[:2], truth[order], atol=1e-6)
    tics = model.transform(mine)
    expected = (scores - mean) @ vectors[:, order]
    sign = np.sign((tics * expected).sum(0))
    assert np.allclose(tics, expected * sign, atol=1e-6)
    joined = fit_tica(mine, lag).singular_values[:2]
    assert not np.allclose(joined, truth[order], atol=1e-4)


def test_js_tic_is_the_mean_over_both_coordinates(comparison):
    p = comparison.profiles
    each = [js(p["tic"][:, k], p["reference_tic"][:, k]) for k in (0, 1)]
    assert value(comparison, "JS-TIC") == pytest.approx(np.mean(each), abs=1e-6)


def test_values_beyond_the_reference_are_dropped_not_clipped():
    low, high = np.array([0.0]), np.array([1.0])
    places = digitise(np.array([[-0.1], [0.0], [0.99], [1.0], [1.1], [np.nan]]), low, high)
    assert places.ravel().tolist() == [50, 0, 49, 49, 50, 50]
    assert counts(places, np.ones((6, 1))).sum() == 3


def test_an_ensemble_against_itself(reference):
    table = openmm_slm.compare(reference, reference, tica_lag=None, n_bootstrap=0).table
    lower = table[table.better == "lower"].value
    assert (lower.abs() < 1e-6).all(), lower
    best = table.loc[["TM-ens", "ResFlex r", "ResFlex rho", "RMSF r", "RMSIP", "val-bond"], "value"]
    assert np.allclose(best, 1, atol=1e-6)
    same = table[table.better == "reference"]
    assert np.allclose(same.value, same.reference, atol=1e-6)
    assert table.floor.isna().all()


def test_motion_of_the_whole_molecule_changes_nothing(comparison, samples, reference):
    from scipy.spatial.transform import Rotation

    moved = samples.slice(range(samples.n_frames))
    turns = Rotation.random(samples.n_frames, random_state=3).as_matrix()
    moved.xyz = (moved.xyz @ turns + 2.0).astype(np.float32)
    table = openmm_slm.compare(
        moved, reference, lengths=(22, 18), tica_lag=3, tica_components=6, n_bootstrap=0
    ).table
    # All bonds here are of one length, and rounding makes one of them the longest.
    before = comparison.table.drop("val-bond")
    assert np.allclose(table.drop("val-bond").value, before.value, atol=2e-3)


def test_whole_weights_are_repeated_frames(samples, reference):
    samples, reference = samples[:15], reference[:20]
    twice = np.r_[0:15, np.tile(np.arange(5), 2)]
    weights = np.r_[np.full(5, 3), np.ones(10)]
    options = {"tica_lag": None, "n_bootstrap": 0}
    weighted = openmm_slm.compare(samples, reference, weights=weights, **options).table
    repeated = openmm_slm.compare(samples[twice], reference, **options).table
    # Pairs of a frame with itself are in the repeated ensemble alone.
    of_pairs = ["TM-div", "ResFlex r", "ResFlex rho"]
    assert np.allclose(weighted.drop(of_pairs).value, repeated.drop(of_pairs).value, atol=1e-6)
    plain = openmm_slm.compare(samples, reference, **options).table
    assert abs(weighted.value["JS-PwD"] - plain.value["JS-PwD"]) > 1e-3


def test_reweighting_towards_the_reference_brings_the_ensembles_together(reference):
    """A mixture of two states, weighted as the reference has them."""
    other = wandering(15, 7, psi=-30)
    reference = reference[:20]
    mixed = reference[:15].join(other)
    weights = np.r_[np.ones(15), np.full(15, 1e-3)]
    before, after = (
        openmm_slm.compare(mixed, reference, weights=w, tica_lag=None, n_bootstrap=0).table.value
        for w in (None, weights)
    )
    for name in ("MAE-PwD", "MAE-Rg", "contact difference", "PCA-W2"):
        assert after[name] < 0.5 * before[name], name


def test_noise_floor_is_what_independent_draws_show():
    """Floors of 12 frames cover the values of 12 frames that were drawn by hand."""
    reference = wandering(40, 11)
    rng = np.random.default_rng(0)
    inside = []
    for seed in range(3):
        drawn = reference[rng.integers(40, size=12)]
        table = openmm_slm.compare(drawn, reference, tica_lag=None, seed=seed, n_bootstrap=30).table
        table = table[(table.floor_high - table.floor_low) > 1e-9]
        inside.append(
            (table.value >= table.floor_low - 1e-9) & (table.value <= table.floor_high + 1e-9)
        )
    assert np.mean(inside) > 0.85


def test_seed_repeats_the_floor(samples, reference):
    first, second, third = (
        openmm_slm.compare(
            samples[:10], reference[:15], tica_lag=None, n_bootstrap=3, seed=seed
        ).table
        for seed in (3, 3, 4)
    )
    assert first.equals(second)
    assert (first.value.dropna() == third.value.dropna()).all()
    assert not first.equals(third)


def test_one_conformation_many_times_is_no_ensemble_but_can_be_compared(reference):
    still = reference[np.zeros(10, int)]
    table = openmm_slm.compare(still, reference, tica_lag=None, n_bootstrap=3).table
    assert table.loc[["ResFlex r", "ResFlex rho", "RMSF r", "RMSIP"], "value"].isna().all()
    assert table.value["TM-div"] == pytest.approx(1)
    assert table.value["JS-PwD"] > 0.6


@pytest.mark.slow
@pytest.mark.skipif(not GB3.exists(), reason="needs the trajectories of GB3")
def test_floor_of_100_frames_of_a_long_simulation():
    """Published for 100 of 10,000 frames (another protein): 0.224, 0.230 and 0.226."""
    import mdtraj

    traj = mdtraj.load(GB3 / "gb3_bb_stride4.xtc", top=GB3 / "gb3_bb_stride4.pdb")
    lengths = [int(n) for n in (GB3 / "trajectory_lengths.txt").read_text().split()]
    some = traj[np.random.default_rng(1).choice(traj.n_frames, 100, replace=False)]
    table = openmm_slm.compare(some, traj, lengths=lengths, n_bootstrap=20).table
    for name in ("JS-PwD", "JS-TIC", "JS-Rg"):
        assert table.floor[name] == pytest.approx(0.225, abs=0.03), name
        assert table.value[name] == pytest.approx(0.225, abs=0.05), name
