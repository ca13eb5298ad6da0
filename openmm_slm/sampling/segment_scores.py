"""Rank resampled segments: which of them are likely to be close to the true structure."""

from __future__ import annotations

import numpy as np

from ..protein.contact_potential import contact_energy

#: kT per nm that the projection moved an atom. The value is of little influence: 0 to 20 choose
#: equally good samples of 34 coil loops of validation chains.
MOVED = 10.0


def segment_scores(
    backbone: np.ndarray, sequence: str, sampled: np.ndarray, moved: np.ndarray
) -> np.ndarray:
    """Scores of resampled segments, float64 [F]; higher is better.

    The score is minus the energy per residue (kT) of the segments in the contact potential
    (`openmm_slm.protein.contact_potential`), with each other and with the rest of the protein, and
    minus 10 kT per nm that the projection moved an atom: a segment that does not fit is stretched.
    The log-probability of the tokens and the predicted lDDT tell nothing more on validation loops.

    Parameters
    ----------
    backbone : ndarray [F, L, 4, 3]
        nm.
    sequence : str
        L letters.
    sampled : ndarray, bool [L]
    moved : ndarray [F]
        How far the projection moved atoms, nm.
    """
    rows = np.flatnonzero(sampled)
    return -contact_energy(backbone, sequence, rows) / len(rows) - MOVED * moved
