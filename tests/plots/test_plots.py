"""What the pictures show is what MDTraj computes; the viewer holds what is seen."""

from __future__ import annotations

import sys

import mdtraj as md
import numpy as np
import pytest
from builders import helix
from helices import SEQUENCE, ensemble

import openmm_slm
from openmm_slm import plots
from openmm_slm.analysis.fluctuations import mean_structure
from openmm_slm.errors import SLMError, StructureError
from openmm_slm.plots.drawing import free_energy
from openmm_slm.plots.superposition import evenly_spaced, superposed_view
from openmm_slm.protein.trajectory import backbone_trajectory
from openmm_slm.validity.reasons import failures

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def traj():
    return ensemble(frames=30)


def ca(traj):
    return traj.atom_slice(traj.topology.select("name CA"))


def curve(ax, number=0):
    """What a line shows, without the breaks between chains."""
    y = ax.lines[number].get_ydata()
    return y[np.isfinite(y)]


def drawn(ax):
    """Whether it can be drawn at all."""
    ax.figure.canvas.draw()
    return ax


def test_rmsf_is_that_of_mdtraj_about_the_mean_structure(traj):
    few = ca(traj)
    mean = md.Trajectory(mean_structure(few.xyz, np.ones(few.n_frames)), few.topology)
    expected = md.rmsf(few, mean, 0)
    ax = drawn(plots.plot_rmsf(traj))
    np.testing.assert_allclose(curve(ax), expected, atol=1e-4)
    assert ax.get_ylabel() == "RMSF of CA (nm)"
    other = ensemble(frames=9, seed=3)
    both = drawn(plots.plot_rmsf(traj, other))
    np.testing.assert_allclose(curve(both), expected, atol=1e-4)
    np.testing.assert_allclose(curve(both, 1), curve(plots.plot_rmsf(other)), atol=1e-6)


def test_the_larger_of_two_fluctuations_is_in_the_picture(traj):
    stiff = md.join([traj[0]] * 2)
    for pair in ((traj, stiff), (stiff, traj)):
        ax = drawn(plots.plot_rmsf(*pair))
        largest = max(curve(ax, number).max() for number in (0, 1))
        assert ax.get_ylim()[0] == 0 and ax.get_ylim()[1] > largest


def test_rmsf_knows_no_rotation_of_frames(traj):
    turned = traj.slice(range(traj.n_frames), copy=True)
    turned.xyz[::2] = turned.xyz[::2][..., [1, 2, 0]] + 3.0  # a proper rotation
    for plot in (plots.plot_rmsf, plots.plot_ensemble):
        drawn(plot(turned))
    np.testing.assert_allclose(
        curve(plots.plot_rmsf(turned)), curve(plots.plot_rmsf(traj)), atol=1e-4
    )


def test_ramachandran_points_are_those_of_mdtraj(traj):
    points = drawn(plots.plot_ramachandran(traj)).collections[0].get_offsets()
    phi, psi = (np.degrees(f(traj)[1]) for f in (md.compute_phi, md.compute_psi))
    expected = np.stack([phi[:, :-1].ravel(), psi[:, 1:].ravel()], 1)  # residues 2 to L - 1
    np.testing.assert_allclose(np.asarray(points), expected, atol=0.01)


def test_many_torsions_are_shown_as_their_density(monkeypatch, traj):
    monkeypatch.setattr("openmm_slm.plots.drawing.MOST_POINTS", 100)
    ax = drawn(plots.plot_ramachandran(traj))
    shades = ax.collections[0].get_array()
    assert shades.max() == 0  # ln of the share of the fullest bin
    row, column = np.unravel_index(np.argmax(shades.filled(-99)), shades.shape)
    assert -75 < 3 * column - 180 < -50 and -60 < 3 * row - 180 < -30  # phi across, psi upwards


def test_contact_map_is_symmetric_and_counts_frames(traj):
    shares = drawn(plots.plot_contact_map(traj)).images[0].get_array().filled(np.nan)
    np.testing.assert_array_equal(shares, shares.T)
    i, j = np.triu_indices(len(shares), 3)
    distances = md.compute_distances(ca(traj), np.stack([i, j], 1), periodic=False)
    np.testing.assert_allclose(shares[i, j], (distances < 0.8).mean(0))
    near = np.abs(np.subtract.outer(np.arange(len(shares)), np.arange(len(shares)))) < 3
    np.testing.assert_array_equal(np.isnan(shares), near)


def test_contacts_of_the_samples_lie_above_the_diagonal(traj):
    other = traj[:3]
    shares = plots.plot_contact_map(traj, other).images[0].get_array().filled(np.nan)
    own, theirs = (
        plots.plot_contact_map(t).images[0].get_array().filled(np.nan) for t in (traj, other)
    )
    low = np.tril_indices(len(shares), -1)  # the first row is at the bottom: y > x
    np.testing.assert_allclose(shares[low], own[low])
    np.testing.assert_allclose(shares.T[low], theirs.T[low])
    assert {text.get_text() for text in drawn(plots.plot_contact_map(traj, other)).texts} >= {
        "samples", "reference"
    }  # fmt: skip


def test_entropy_of_uniform_tokens_is_the_logarithm_of_their_number(traj):
    tokens = np.tile(np.arange(30)[:, None] % 10, (1, len(SEQUENCE)))
    tokens[:, 0] = 7
    ens = openmm_slm.Ensemble(traj, tokens, np.zeros(30), {}, 0)
    shown = curve(drawn(plots.plot_token_entropy(ens)))
    np.testing.assert_allclose(shown, [0, *[np.log(10)] * (len(SEQUENCE) - 1)], atol=1e-12)
    with pytest.raises(StructureError, match="no tokens"):
        plots.plot_token_entropy(traj)


def test_tic_free_energy_is_0_where_most_samples_are(traj):
    pytest.importorskip("deeptime")
    reference = ensemble(frames=300, seed=5)
    ax = drawn(plots.plot_tic_free_energy(traj, reference, 5, components=5))
    energy = ax.collections[0].get_array()
    assert energy.min() == 0 and energy.count() <= traj.n_frames
    assert ax.get_xlabel() == "TIC 1"
    assert "free energy (kT)" in [other.get_ylabel() for other in ax.figure.axes]
    own = plots.plot_tic_free_energy(reference, reference, 5, components=5)
    shown = own.collections[0].get_array()
    # All frames of the reference are in the plane, and exp(-F) says how they are shared out.
    share = np.exp(-shown.compressed())
    counts = 300 * share / share.sum()
    np.testing.assert_allclose(counts, counts.round(), atol=1e-6)
    assert "beyond" not in own.get_title()


def test_free_energy_of_two_wells_is_the_logarithm_of_their_ratio():
    points = np.array([[0.0, 0.0]] * 3 + [[1.0, 1.0]])
    energy = free_energy(points, np.ones(4), [np.array([-0.5, 0.5, 1.5])] * 2)
    assert energy[1, 1] - energy[0, 0] == pytest.approx(np.log(3))


def report(traj):
    table = openmm_slm.geometry_report(traj)
    table["log_prob_nats"] = -np.arange(traj.n_frames, dtype=float)
    return table


def test_the_report_shows_each_frame_and_each_reason(traj):
    table = report(traj)
    ens = openmm_slm.Ensemble(traj, np.zeros((30, 16), int), table["log_prob_nats"], table, 0)
    axes = plots.plot_report(ens)
    drawn(axes[0])
    assert [ax.get_ylabel().split()[0] for ax in axes[:-1]] == ["log-probability", "radius"]
    bad, good = (marks.get_offsets() for marks in axes[0].collections)
    assert sorted(np.concatenate([good, bad]).tolist()) == [[k, -k] for k in range(30)]
    valid = np.flatnonzero(table["valid"])
    np.testing.assert_array_equal(np.asarray(good)[:, 0], valid)
    rg = np.concatenate([c.get_offsets() for c in axes[1].collections])
    order = np.argsort(rg[:, 0])
    np.testing.assert_allclose(rg[order, 1], md.compute_rg(ca(traj)), atol=1e-5)
    marks = axes[-1].collections
    assert len(marks) == sum(bad.any() for bad in failures(table).values())


@pytest.mark.parametrize("fault", [None, "nan", "stretched", "folded", "mirrored"])
def test_a_frame_is_valid_when_it_has_no_failure(fault):
    x = np.repeat(helix(12)[None], 3, 0)
    if fault == "nan":
        x[1, 4] = np.nan
    elif fault == "stretched":
        x[1, 5:] += 0.1
    elif fault == "folded":
        x[1, 6:] = x[1, :6]
    traj = backbone_trajectory(x, "ACDEFGHIKLMN")
    if fault == "mirrored":
        traj = openmm_slm.complete(traj, progress=False, device="cpu")
        traj.xyz[1] *= -1
    table = openmm_slm.geometry_report(traj)
    reasons = failures(table)
    np.testing.assert_array_equal(~np.any(list(reasons.values()), 0), table["valid"])
    assert (fault is None) == all(not reason[1] for reason in reasons.values())


def test_a_superposed_view_mirrors_nothing(traj):
    x, central = superposed_view(ca(traj).xyz)
    spread = np.var(x.mean(0), 0)
    assert spread[0] >= spread[1] >= spread[2]  # the longest axis across, the shortest in depth
    for before, after in zip(ca(traj).xyz, x, strict=True):
        volumes = [np.linalg.det(y[1:4] - y[0]) for y in (before, after)]
        assert np.isclose(*volumes, rtol=1e-3)
    mean = x.mean(0)
    assert central == np.argmin(((x - mean) ** 2).sum((1, 2)))


@pytest.mark.parametrize("frames", [1, 30])
@pytest.mark.parametrize("sequence", ["GA", SEQUENCE, "ACDEF:GHIKL"])
def test_any_ensemble_can_be_drawn(sequence, frames):
    traj = ensemble(sequence, frames=frames)
    for plot in (plots.plot_ensemble, plots.plot_rmsf, plots.plot_contact_map):
        drawn(plot(traj))
        drawn(plot(ca(traj)))  # CA is enough
    drawn(plots.plot_ramachandran(traj))
    drawn(plots.plot_report(report(traj))[0])


def test_chains_are_told_apart(traj):
    two = ensemble("ACDEF:GHIKL", frames=4)
    line = plots.plot_rmsf(two).lines[0]
    assert np.isnan(line.get_ydata()).sum() == 1 and np.isnan(line.get_ydata()[5])
    ax = plots.plot_rmsf(two)
    assert [text.get_text() for text in ax.texts] == ["A", "B"]
    numbers = [label.get_text() for label in ax.get_xticklabels()]
    assert numbers == ["1", "2", "3", "4", "5"] * 2
    assert np.isfinite(plots.plot_contact_map(two).images[0].get_array().filled(np.nan)[4, 5])


def test_axes_of_the_caller_are_used_and_no_window_is_opened(traj):
    from matplotlib import pyplot
    from matplotlib.figure import Figure

    open_before = pyplot.get_fignums()
    figure = Figure()
    ax = figure.add_subplot()
    for plot in (plots.plot_rmsf, plots.plot_ramachandran, plots.plot_ensemble):
        assert plot(traj, ax=ax) is ax
        assert plot(traj).figure is not figure
    assert pyplot.get_fignums() == open_before


def test_what_cannot_be_plotted_is_said():
    with pytest.raises(StructureError, match="str is not an ensemble"):
        plots.plot_rmsf("x.pdb")
    with pytest.raises(StructureError, match="not a report"):
        plots.plot_report({})
    with pytest.raises(SLMError, match="shown is 0"):
        plots.plot_ensemble(ensemble(frames=2), shown=0)
    with pytest.raises(StructureError, match="0 residues in common of 16"):
        plots.plot_rmsf(ensemble(frames=3), ensemble("WWWWWWWWWWWWWWWW", frames=3))
    with pytest.raises(StructureError, match="no frame with finite"):
        broken = ensemble(frames=2)
        broken.xyz[:] = np.nan
        plots.plot_ensemble(broken)


def test_frames_that_are_not_finite_are_left_out_and_told(traj, caplog):
    broken = traj.slice(range(traj.n_frames), copy=True)
    broken.xyz[3, 7] = np.nan
    kept = traj[[k for k in range(30) if k != 3]]
    np.testing.assert_allclose(curve(plots.plot_rmsf(broken)), curve(plots.plot_rmsf(kept)))
    assert "left out: 1 frame with coordinates that are not finite" in caplog.text


def test_the_viewer_holds_the_superposed_frames(traj):
    pytest.importorskip("py3Dmol")
    moved = traj.slice(range(traj.n_frames), copy=True)
    moved.xyz += np.arange(30, dtype=np.float32)[:, None, None]
    ens = openmm_slm.Ensemble(moved, np.zeros((30, 16), int), np.zeros(30), {}, 0)
    script = ens.view(shown=4)._make_html()
    assert script.count("MODEL  ") == 4 and '"cartoon"' in script
    lines = script.encode().decode("unicode_escape").splitlines()
    atoms = [line for line in lines if line.startswith("ATOM") and line[12:16] == " CA "]
    x = np.array([[float(line[k : k + 8]) for k in (30, 38, 46)] for line in atoms])
    x = x.reshape(4, len(SEQUENCE), 3)
    assert np.ptp(x.mean(1), axis=0).max() < 0.01  # Angstrom: they lie on each other
    one, other = (md.Trajectory(frame / 10, None) for frame in (x[0], x[3]))
    found = md.rmsd(one, other)[0]
    assert found == pytest.approx(md.rmsd(ca(traj)[0], ca(traj)[29])[0], abs=2e-3)
    assert list(evenly_spaced(30, 4)) == [0, 10, 19, 29]


def test_a_missing_viewer_is_named(traj, monkeypatch):
    monkeypatch.setitem(sys.modules, "py3Dmol", None)
    ens = openmm_slm.Ensemble(traj, np.zeros((30, 16), int), np.zeros(30), {}, 0)
    with pytest.raises(ImportError, match=r"openmm_slm\[view\]"):
        ens.view()
