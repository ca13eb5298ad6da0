"""Distances and contacts of all residue pairs, computed in blocks of pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import StructureError
from .features import STILL, pair_blocks, pair_distances, pairs
from .histograms import js_of_features
from .matching import Matched
from .weights import Weights, means

CONTACT = 0.8  # nm
LOG_OFFSET = 0.01


@dataclass(frozen=True, eq=False)
class PairResult:
    """Results for the P pairs at least 3 residues apart, with B draws from the reference.

    Attributes
    ----------
    js, distance_error, log_contact_error, contact_error : ndarray [1 + B]
        Means over pairs, for the samples and then for each draw: JS distance, |difference of mean
        distances| (nm), |difference of ln(p + 0.01)| and |difference of p|, where p is the share
        of frames with the contact.
    js_of_pair : ndarray [P]
        JS distance of each pair.
    contacts, reference_contacts : ndarray [L, L]
        Share of frames with CA within 0.8 nm; NaN for pairs less than 3 residues apart.
    """

    js: np.ndarray
    distance_error: np.ndarray
    log_contact_error: np.ndarray
    contact_error: np.ndarray
    js_of_pair: np.ndarray
    contacts: np.ndarray
    reference_contacts: np.ndarray


def pair_metrics(matched: Matched, weights: Weights) -> PairResult:
    """Compare the distributions of CA-CA distances."""
    i, j = pairs(matched.position, 3)
    if not len(i):
        raise StructureError(
            f"no two residues of {matched.sequence} are at least 3 apart; give longer chains"
        )
    sums = np.zeros((4, 1 + weights.draws.shape[1]))
    js_of_pair, contacts, reference_contacts = [], [], []
    of_samples = weights.samples[:, None]
    of_reference = np.column_stack([weights.reference, weights.draws])
    for part in pair_blocks(max(len(matched.samples), len(matched.reference)), len(i)):
        d, d_ref = (
            pair_distances(ca, i[part], j[part]) for ca in (matched.samples, matched.reference)
        )
        _check_varies(d_ref, i[part], j[part], matched)
        js, floor = js_of_features(d, d_ref, weights)
        sums[0] += np.append(js.sum(), floor.sum(0))
        js_of_pair.append(js)
        both = [
            (means(f(d), of_samples), means(f(d_ref), of_reference))
            for f in (lambda x: x, lambda x: (x < CONTACT).astype(np.float64))
        ]
        (mean, mean_ref), (p, p_ref) = both
        contacts.append(p[0])
        reference_contacts.append(p_ref[0])
        for row, (a, b) in enumerate(((mean, mean_ref), (_log(p), _log(p_ref)), (p, p_ref)), 1):
            error = np.abs(np.concatenate([a, b[1:]]) - b[0])
            sums[row] += error.sum(1)
    maps = []
    for shares in (contacts, reference_contacts):
        square = np.full((len(matched.position),) * 2, np.nan)
        square[i, j] = square[j, i] = np.concatenate(shares)
        maps.append(square)
    return PairResult(*(sums / len(i)), np.concatenate(js_of_pair), *maps)


def _log(p: np.ndarray) -> np.ndarray:
    return np.log(p + LOG_OFFSET)


def _check_varies(d: np.ndarray, i: np.ndarray, j: np.ndarray, matched: Matched) -> None:
    still = np.flatnonzero(np.ptp(d, axis=0) < STILL)
    if len(still):
        a, b = (matched.labels[rows[still[0]]] for rows in (i, j))
        raise StructureError(
            f"the distance {a}-{b} is {10 * d[0, still[0]]:.2f} Angstrom in every frame of the "
            "reference, a distribution without width; give frames that differ, or slice fixed "
            "residues out of both trajectories"
        )
