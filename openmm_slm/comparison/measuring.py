"""Compute all metrics of two matched ensembles; each feature is computed once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tqdm.auto import tqdm

from ..analysis.features import (
    STILL,
    TOLERANCE,
    end_to_end,
    neighbour_distances,
    radius_of_gyration,
    without_clash,
)
from ..analysis.fluctuations import (
    MODES,
    correlation,
    covariance,
    deviations,
    gaussian_w2,
    leading_modes,
    mean_structure,
    principal_modes,
    rank_correlation,
    rmsf,
    rmsip,
)
from ..analysis.histograms import js_of_features
from ..analysis.in_threads import in_threads
from ..analysis.matching import Matched
from ..analysis.pairwise import pair_metrics
from ..analysis.tica import distance_basis, fit_tica
from ..analysis.weights import Weights, means
from ..errors import StructureError
from .backbone import backbone_metrics
from .coverage import AT_MOST, Coverage, Scored, evenly

NAN = float("nan")
REDUCED = 600  # for more dimensions, the floor of RMSIP uses this many principal components


@dataclass(frozen=True, eq=False)
class Measured:
    """By metric name, the values for the samples, draws [B] and reference; profiles and notes."""

    values: dict[str, tuple[float, np.ndarray, float]]
    profiles: dict[str, np.ndarray]
    notes: dict


def measure(
    matched: Matched,
    weights: Weights,
    targets: np.ndarray | None,
    lengths,
    tica_lag: int | None,
    tica_components: int,
    rng: np.random.Generator,
    progress: bool = False,
) -> Measured:
    """Compute all metrics and profiles; see `openmm_slm.compare`."""
    frames = {"weights": weights.samples, "reference_weights": weights.reference}
    out = Measured({}, {"labels": np.array(matched.labels), **frames}, {})
    parts: dict[str, Callable[[], None]] = {
        "slow coordinates": lambda: _tica(
            out, matched, weights, lengths, tica_lag, tica_components
        ),
        "distances": lambda: _pairs(out, matched, weights),
        "sizes": lambda: _sizes(out, matched, weights),
        "fluctuations": lambda: _fluctuations(out, matched, weights),
        "TM-scores": lambda: _coverage(out, matched, weights, targets, rng),
        "backbones": lambda: _backbone(out, matched, weights),
    }
    with tqdm(parts.items(), unit="part", disable=not progress) as bar:
        for name, part in bar:
            bar.set_description(name)
            part()
    return out


def _put(out: Measured, name: str, found: np.ndarray, reference: float = NAN) -> None:
    """Store a metric; found [1 + B] holds the value and the floor."""
    found = np.asarray(found, float)
    out.values[name] = (float(found[0]), found[1:], reference)


def _tica(out, matched, weights, lengths, lag, components) -> None:
    """JS-TIC; without a lag, principal components for the figure only."""
    basis = distance_basis(matched.reference, components)
    scores = [basis.project(ca) for ca in (matched.samples, matched.reference)]
    out.notes["variance in the TICA components"] = round(basis.explained, 4)
    if lag is None:
        out.profiles["pc"], out.profiles["reference_pc"] = (s[:, :2] for s in scores)
        return
    model = fit_tica(scores[1], lag, lengths)
    tics = [np.atleast_2d(model.transform(s)) for s in scores]
    js, floor = js_of_features(*tics, weights)
    _put(out, "JS-TIC", np.append(js.mean(), floor.mean(0)))
    out.profiles["tic"], out.profiles["reference_tic"] = tics
    out.profiles["js_of_tic"] = js
    value = model.singular_values[:2]
    out.notes["TICA autocorrelations at the lag"] = [round(float(v), 4) for v in value]


def _pairs(out, matched, weights) -> None:
    """Metrics of CA-CA distances and contacts."""
    found = pair_metrics(matched, weights)
    _put(out, "JS-PwD", found.js)
    _put(out, "MAE-PwD", found.distance_error)
    _put(out, "MAE-contact", found.log_contact_error)
    _put(out, "contact difference", found.contact_error)
    out.profiles["contacts"] = found.contacts
    out.profiles["reference_contacts"] = found.reference_contacts
    out.profiles["js_of_pair"] = found.js_of_pair


def _sizes(out, matched, weights) -> None:
    """Radius of gyration, end-to-end distance, and the validity of CA traces."""
    sides = (matched.samples, matched.reference)
    _length(out, weights, [radius_of_gyration(ca) for ca in sides], "Rg", "rg")
    _length(out, weights, [end_to_end(ca, matched.chain) for ca in sides], "end-to-end", "end")
    value, floor, reference = out.values["Rg"]
    error = np.abs(np.append(value, floor) - reference)
    _put(out, "MAE-Rg", error)
    no_clash = [without_clash(ca) for ca in sides]
    _mean(out, weights, "val-clash", no_clash)
    steps = [neighbour_distances(ca, matched.position) for ca in sides]
    if steps[1].size:
        longest = steps[1].max() + TOLERANCE
        _mean(out, weights, "val-bond", [(s < longest).all(1) for s in steps])


def _length(out, weights, features, name, key) -> None:
    """JS distance and mean of a length."""
    samples, reference = (f.reshape(len(f), -1) for f in features)
    if (np.ptp(reference, axis=0) < STILL).any():
        raise StructureError(
            f"{name} is {10 * reference[0, 0]:.2f} Angstrom in every frame of the reference, a "
            "distribution without width; give frames that differ"
        )
    js, floor = js_of_features(samples, reference, weights)
    _put(out, f"JS-{name}", np.append(js.mean(), floor.mean(0)))
    _mean(out, weights, name, (samples.mean(1), reference.mean(1)))
    out.profiles[key], out.profiles[f"reference_{key}"] = features


def _mean(out, weights, name, values) -> None:
    """Weighted mean over frames of a value per frame."""
    ours, theirs = (np.asarray(v, float)[:, None] for v in values)
    reference = float(means(theirs, weights.reference[:, None])[0, 0])
    value = means(ours, weights.samples[:, None])[:, 0]
    _put(out, name, np.append(value, means(theirs, weights.draws)[:, 0]), reference)


def _fluctuations(out, matched, weights) -> None:
    """RMSF and principal components of CA."""
    own = mean_structure(matched.samples, weights.samples)
    truth = mean_structure(matched.reference, weights.reference)
    reference = deviations(matched.reference, truth)
    own = rmsf(deviations(matched.samples, own), weights.samples[:, None])[0]
    of_reference = rmsf(reference, np.column_stack([weights.reference, weights.draws]))
    _put(out, "RMSF r", [correlation(x, of_reference[0]) for x in (own, *of_reference[1:])])
    error = [np.abs(x - of_reference[0]).mean() for x in (own, *of_reference[1:])]
    _put(out, "RMSF difference", error)
    out.profiles["rmsf"], out.profiles["reference_rmsf"] = own, of_reference[0]

    samples = deviations(matched.samples, truth)
    spread = covariance(reference, weights.reference)
    modes = leading_modes(spread)[1]
    overlap = rmsip(principal_modes(samples, weights.samples), modes)
    reduced, modes_reduced = reference, modes
    if reference.shape[1] > REDUCED:
        basis = leading_modes(spread, REDUCED)[1]
        reduced, modes_reduced = reference @ basis, basis.T @ modes

    def of_draw(draw: np.ndarray) -> float:
        return rmsip(principal_modes(reduced, draw), modes_reduced)

    _put(out, "RMSIP", [overlap, *in_threads(of_draw, weights.draws.T)])

    x, y = samples @ modes, reference @ modes
    size = np.sqrt(len(matched.sequence))
    truth = _gaussian(y, weights.reference)
    drawn = [_gaussian(y, draw) for draw in weights.draws.T]
    found = [gaussian_w2(*g, *truth) / size for g in (_gaussian(x, weights.samples), *drawn)]
    _put(out, "PCA-W2", found)
    out.notes["principal components of RMSIP and PCA-W2"] = min(MODES, modes.shape[1])


def _gaussian(x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance."""
    return means(x, weights[:, None])[0], covariance(x, weights)


def _coverage(out, matched, weights, targets, rng) -> None:
    """TM-score, RMSD-ens and residue flexibility."""
    n = len(matched.samples)
    rows = np.sort(rng.choice(n, AT_MOST, replace=False)) if n > AT_MOST else np.arange(n)
    own = evenly(len(matched.reference))
    reference, reference_weights = matched.reference[own], weights.reference[own]
    target_weights = reference_weights if targets is None else np.ones(len(targets))
    if not target_weights.any():
        target_weights = np.ones_like(target_weights)
    targets = reference if targets is None else targets

    scored = Scored.of(matched.samples[rows], targets)
    found = scored.coverage(np.arange(len(rows)), weights.samples[rows], target_weights)
    truth = Scored.of(reference, targets[:1])
    truth = truth.coverage(np.arange(len(own)), reference_weights, np.ones(1))
    floor: list[Coverage] = []
    size = max(2, min(AT_MOST, weights.n_drawn, len(rows)))
    n_draws = weights.draws.shape[1]
    if n_draws:
        # Half of a pool of independent draws is again a set of independent draws.
        pool = rng.choice(
            len(weights.reference), 2 * size, p=weights.reference / len(weights.reference)
        )
        distinct, row = np.unique(pool, return_inverse=True)
        of_pool = Scored.of(matched.reference[distinct], targets)
        for _ in range(n_draws):
            drawn = row[rng.choice(len(pool), size, replace=False)]
            floor.append(of_pool.coverage(drawn, np.ones(size), target_weights))

    def put(name, of_one, own=NAN):
        drawn = np.array([of_one(c) for c in floor])
        _put(out, name, [of_one(found), *_widened(drawn)], own)

    put("TM-ens", lambda c: c.tm_ens)
    put("RMSD-ens", lambda c: c.rmsd_ens)
    put("TM-div", lambda c: c.tm_div, truth.tm_div)
    put("ResFlex r", lambda c: correlation(c.flexibility, truth.flexibility))
    put("ResFlex rho", lambda c: rank_correlation(c.flexibility, truth.flexibility))
    out.profiles["flexibility"] = found.flexibility
    out.profiles["reference_flexibility"] = truth.flexibility
    out.profiles["best_rmsd_of_target"] = found.best_rmsd
    out.notes["frames in TM-score, RMSD-ens and ResFlex"] = [len(rows), len(own)]
    out.notes["target conformations"] = len(targets)


def _widened(halves: np.ndarray) -> np.ndarray:
    """Rescale the spread of statistics of halves of one pool to that of independent sets.

    Drawing n of N values without replacement reduces the variance of their mean by the factor
    1 - n/N (Cochran, Sampling Techniques, 1977, section 2.6), here 1/2.
    """
    if not len(halves):
        return halves
    middle = np.median(halves)
    return middle + np.sqrt(2) * (halves - middle)


def _backbone(out, matched, weights) -> None:
    """Metrics that need N, CA, C and O, if enough residues have them."""
    found = backbone_metrics(matched, weights)
    if found is None:
        return
    _put(out, "DSSP difference", found.dssp_error)
    if len(found.js_rows):
        _put(out, "JS-phi/psi", found.js)
    names = {"HN_HA": "3J(HN,HA)", "HN_C": "3J(HN,C)", "HN_CB": "3J(HN,CB)"}
    for name, (error, rows, ours, theirs) in found.couplings.items():
        _put(out, names[name], error)
        key = f"j_{name.lower()}"
        out.profiles[f"{key}_rows"] = matched.backbone_rows[rows]
        out.profiles[key], out.profiles[f"reference_{key}"] = ours, theirs
    out.profiles.update(
        backbone_rows=matched.backbone_rows,
        dssp=found.dssp,
        reference_dssp=found.reference_dssp,
        torsions=found.torsions,
        reference_torsions=found.reference_torsions,
        torsion_rows=matched.backbone_rows[found.js_rows],
        js_of_residue=found.js_of_residue,
    )
