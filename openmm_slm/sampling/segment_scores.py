"""Rank resampled segments: which of them are likely to be close to the true structure."""

from __future__ import annotations

import numpy as np

from ..library.fragments import Fragments
from ..protein.protein import Protein
from ..protein.residue_potential import residue_energy
from .segment_fragments import Segment

# The first two values were chosen on 18 loops of validation chains, where doubling or halving one
# changes the mean RMSD of the first-ranked sample by less than its error. The others were chosen on
# 30 such loops with another potential.

#: Weight of the energy per residue.
ENERGY = 4.0
#: Cost per nm that the projection moved an atom.
MOVED = 4.0
#: Cost of each pair of clashing atoms. With 0, samples are as good and fewer are valid.
CLASHED = 2.0
#: Cost per unit of the logarithm of the expected RMSD. Of segments of training chains that were
#: left out, 16 to 32 rank samples best, and of 30 validation loops, 24 better than 0.
EXPECTED = 24.0
_WIDTH = 0.2  # nm, of the kernel that compares a sample with fragments
_TRUST = 0.6  # exponent of the weight of a fragment, per nat of its fit
_START, _SURE = 3.0, 10.0  # nats: cost of a frame that starts from a fragment; largest fit


def segment_costs(
    backbone: np.ndarray,
    protein: Protein,
    segment: Segment,
    moved: np.ndarray,
    clashes: np.ndarray,
    expected: np.ndarray,
    used: np.ndarray | None = None,
) -> np.ndarray:
    """Costs of samples of one segment, float64 [F]; lower is better.

    The cost is 24 times the expected logarithm of the RMSD
    (`openmm_slm.language.segment_network`), plus 4 times the energy per residue (kT) of the
    segment, with itself and with the rest of the protein (`openmm_slm.protein.residue_potential`),
    4 per nm that the projection moved an atom (a segment that does not fit is stretched), and 2 per
    clash.

    With fragments, -ln of the density of fragments at the sample is added. The density is a mean of
    Gaussians of the RMSD, with weights exp(0.6 fit). A sample that starts from a fragment costs 3
    more, minus 0.6 of its fit: only a fragment of a similar sequence is better than the samples of
    the language model.

    Parameters
    ----------
    backbone : ndarray [F, L, 4, 3]
        nm.
    protein : Protein
    segment : Segment
    moved : ndarray [F]
        How far the projection moved atoms, nm.
    clashes : ndarray [F]
        Pairs of clashing atoms.
    expected : ndarray [F]
        Expected ln(RMSD + 0.03 nm) (`openmm_slm.language.segment_ranker`).
    used : ndarray, int [F], optional
        Fragment from which each sample starts; -1 for none.
    """
    rows = segment.rows
    cost = ENERGY * residue_energy(backbone, protein, rows) / len(rows) + MOVED * moved
    cost += CLASHED * clashes + EXPECTED * expected
    if not segment.fragments:
        return cost
    cost -= _log_density(backbone[:, rows, :3], segment.fragments)
    if used is not None:
        fit = np.minimum(segment.fragments.fit[used], _SURE)
        cost += np.where(used >= 0, _START - _TRUST * fit, 0.0)
    return cost


def _log_density(x: np.ndarray, fragments: Fragments) -> np.ndarray:
    """ln of the density of fragments [F] at segments [F, K, 3, 3]; 0 where all are identical."""
    a = x.reshape(len(x), -1).astype(np.float64)
    b = fragments.backbone.reshape(len(fragments), -1).astype(np.float64)
    square = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    weight = _TRUST * fragments.fit
    exponent = weight - square / (3 * x.shape[1]) / _WIDTH**2
    return _log_sum(exponent) - _log_sum(weight)


def _log_sum(values: np.ndarray) -> np.ndarray:
    """ln of the sum of exp over the last axis."""
    top = values.max(-1, keepdims=True)
    return np.log(np.exp(values - top).sum(-1)) + top[..., 0]
