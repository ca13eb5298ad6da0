"""Rank resampled segments: which of them are likely to be close to the true structure."""

from __future__ import annotations

import numpy as np

from ..language.segment_ranker import SEEN, SegmentRanker
from ..library.fragments import LONGEST
from ..protein.protein import Protein
from ..protein.residue_potential import residue_energy
from .segment_clashes import segment_clashes
from .segment_fragments import Segment
from .segment_surroundings import distances_to, nearest
from .template import Template

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
#: Cost per unit of the logarithm of the density of tries. Of segments of training chains that were
#: left out, 8 to 16 rank samples better than 0, and so they do on 24 validation loops.
CONSENSUS = 8.0
_AROUND = 0.3  # nm, width of the kernel that compares a sample with tries
_WIDTH = 0.2  # nm, of the kernel that compares a sample with fragments
_TRUST = 0.6  # exponent of the weight of a fragment, per nat of its fit
_START, _SURE = 3.0, 10.0  # nats: cost of a frame that starts from a fragment; largest fit
#: Gain per nat of a positive fit. Of fragments in loops of validation chains, those with a fit of 4
#: or more have a median RMSD of 0.7 Å, those from -4 to 0 of 2 Å.
_SIMILAR = 3.0


class SegmentCosts:
    """Costs of samples of the segments of a template (`segment_costs`).

    Parameters
    ----------
    template : Template
    protein : Protein
    letters : ndarray, int [L]
        Amino acid numbers.
    sampled : ndarray, bool [T, L]
        Residues that are sampled, for each frame of the template.
    ranker : SegmentRanker
    """

    def __init__(
        self,
        template: Template,
        protein: Protein,
        letters: np.ndarray,
        sampled: np.ndarray,
        ranker: SegmentRanker,
    ) -> None:
        self._template, self._protein, self._letters = template, protein, letters
        self._sampled, self._ranker = sampled, ranker

    def __call__(
        self,
        backbone: np.ndarray,
        row: int,
        segment: Segment,
        moved: np.ndarray,
        tries: np.ndarray | None,
        used: np.ndarray | None = None,
    ) -> np.ndarray:
        """Costs [F] of samples [F, L, 4, 3] of a segment of a frame of the template."""
        mine, index = segment.rows, self._protein.residue_index
        atom14 = self._template.atom14[row]
        clashes = segment_clashes(backbone, self._protein, mine, atom14)
        expected = np.zeros(len(backbone))
        if segment.inside and len(mine) <= LONGEST:  # others were not among those it learned from
            near = self._surroundings(row, segment)
            expected = self._ranker.expected(
                backbone[:, near],
                self._letters[near],
                index[near],
                np.flatnonzero(np.isin(near, mine)),
                np.stack([moved, clashes], -1),
                np.where(self._sampled[row][near, None, None], np.nan, atom14[near, 4:]),
            )
        return segment_costs(
            backbone, self._protein, segment, moved, clashes, expected, used, tries
        )

    def _surroundings(self, row: int, segment: Segment) -> np.ndarray:
        """Rows of a segment and of the residues near it that the ranker sees."""
        x, rows = self._template.backbone[row], segment.rows
        absent = np.isin(np.arange(len(self._letters)), rows) | ~np.isfinite(x).all((1, 2))
        far = distances_to(rows, x, absent, self._protein.residue_index)
        far[segment.anchors.clip(0, len(far) - 1)] = -1  # neighbours in the chain
        far[rows] = -2
        return nearest(far, len(rows) + SEEN)


def segment_costs(
    backbone: np.ndarray,
    protein: Protein,
    segment: Segment,
    moved: np.ndarray,
    clashes: np.ndarray,
    expected: np.ndarray,
    used: np.ndarray | None = None,
    tries: np.ndarray | None = None,
) -> np.ndarray:
    """Costs of samples of one segment, float64 [F]; lower is better.

    The cost is 24 times the expected logarithm of the RMSD
    (`openmm_slm.language.segment_network`), plus 4 times the energy per residue (kT) of the
    segment, with itself and with the rest of the protein (`openmm_slm.protein.residue_potential`),
    4 per nm that the projection moved an atom (a segment that does not fit is stretched), and 2 per
    clash. Minus 8 times ln of the density of tries at the sample is added: samples that the
    language model makes often are better. A fragment counts as exp(0.6 fit) tries.

    With fragments, -ln of the density of fragments at the sample is added. Densities are means of
    Gaussians of the RMSD, of width 0.3 and 0.2 nm; fragments have weights exp(0.6 fit). A sample
    that starts from a fragment costs 3 more, minus 0.6 of its fit, and minus 3 for every nat of a
    positive fit: only a fragment of a similar sequence is better than the samples of the language
    model.

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
    tries : ndarray [P, K, 4, 3], optional
        Tries of the segment.
    """
    rows = segment.rows
    cost = ENERGY * residue_energy(backbone, protein, rows) / len(rows) + MOVED * moved
    cost += CLASHED * clashes + EXPECTED * expected
    x, fragments = backbone[:, rows, :3], segment.fragments
    around, weight = ([], []) if tries is None else ([tries[:, :, :3]], [np.zeros(len(tries))])
    if fragments:
        trust = _TRUST * np.minimum(fragments.fit, _SURE)
        around, weight = [*around, fragments.backbone], [*weight, trust]
        cost -= _log_density(x, fragments.backbone, _WIDTH, _TRUST * fragments.fit)
        if used is not None:
            similar = _SIMILAR * np.clip(fragments.fit[used], 0, _SURE)
            cost += np.where(used >= 0, _START - trust[used] - similar, 0.0)
    if tries is not None:
        cost -= CONSENSUS * _log_density(x, np.concatenate(around), _AROUND, np.concatenate(weight))
    return cost


def _log_density(
    x: np.ndarray, others: np.ndarray, width: float, log_weight: np.ndarray
) -> np.ndarray:
    """ln of the density [F] of others [M, K, 3, 3] at segments [F, K, 3, 3]; at most 0."""
    a, b = (y.reshape(len(y), -1).astype(np.float64) for y in (x, others))
    square = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    exponent = log_weight - square / (3 * x.shape[1]) / width**2
    return _log_sum(exponent) - _log_sum(log_weight)


def _log_sum(values: np.ndarray) -> np.ndarray:
    """ln of the sum of exp over the last axis."""
    top = values.max(-1, keepdims=True)
    return np.log(np.exp(values - top).sum(-1)) + top[..., 0]
