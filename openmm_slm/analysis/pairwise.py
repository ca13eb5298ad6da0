"""Distances and contacts of all residue pairs, computed in blocks of pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import StructureError
from .features import STILL, by_residue, distances, pair_blocks, pairs
from .histograms import js_of_features
from .in_threads import in_threads
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
    sides = [by_residue(ca) for ca in (matched.samples, matched.reference)]
    sums = np.zeros((4, 1 + weights.draws.shape[1]))
    js_of_pair, contacts, reference_contacts = [], [], []
    of_samples = weights.samples[:, None]
    of_reference = np.column_stack([weights.reference, weights.draws])

    def of_block(part: slice) -> tuple:
        d, d_ref = (distances(x, i[part], j[part]).T for x in sides)
        _check_varies(d_ref, i[part], j[part], matched)
        js, floor = js_of_features(d, d_ref, weights)
        errors = [np.append(js.sum(), floor.sum(0))]
        (mean, mean_ref), (p, p_ref) = [
            (means(f(d), of_samples), means(f(d_ref), of_reference))
            for f in (lambda x: x, lambda x: (x < CONTACT).astype(np.float64))
        ]
        for a, b in ((mean, mean_ref), (_log(p), _log(p_ref)), (p, p_ref)):
            errors.append(np.abs(np.concatenate([a, b[1:]]) - b[0]).sum(1))
        return errors, js, p[0], p_ref[0]

    blocks = pair_blocks(sum(x.shape[2] for x in sides), len(i))
    for errors, *each in in_threads(of_block, blocks):
        sums += errors
        for collected, found in zip((js_of_pair, contacts, reference_contacts), each, strict=True):
            collected.append(found)
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
