"""Disorder predicted from the sequence: a linear score of the composition around each residue.

Windows of 41 residues have five features: mean of the TOP-IDP scale (Campen et al., Protein and
Peptide Letters 2008), mean hydropathy (Kyte and Doolittle, J. Mol. Biol. 1982; 0 to 1), mean net
charge, entropy of the composition, and share of hydrophobic residues. The weights are a logistic
regression (`python tools/fit_disorder.py`) of 22 disordered proteins with measured radii of
gyration against 400 training chains of known structure.
"""

from __future__ import annotations

import numpy as np

from ..protein.sequence import AMINO_ACIDS

_TOP_IDP = {
    "W": -0.884, "F": -0.697, "Y": -0.510, "I": -0.486, "M": -0.397, "L": -0.326, "V": -0.121,
    "N": 0.007, "C": 0.02, "T": 0.059, "A": 0.06, "G": 0.166, "R": 0.18, "D": 0.192, "H": 0.303,
    "Q": 0.318, "S": 0.341, "K": 0.586, "E": 0.736, "P": 0.987,
}  # fmt: skip
_HYDROPATHY = {
    "A": 1.8, "R": -4.5, "N": -3.5, "D": -3.5, "C": 2.5, "Q": -3.5, "E": -3.5, "G": -0.4,
    "H": -3.2, "I": 4.5, "L": 3.8, "K": -3.9, "M": 1.9, "F": 2.8, "P": -1.6, "S": -0.8,
    "T": -0.7, "W": -0.9, "Y": -1.3, "V": 4.2,
}  # fmt: skip
_CHARGE = {"D": -1, "E": -1, "K": 1, "R": 1}
_WINDOW = 41
_MEAN = np.array([0.081, 0.469, 0.060, 2.571, 0.323])
_SPREAD = np.array([0.066, 0.051, 0.050, 0.146, 0.069])
_WEIGHTS, _OFFSET = np.array([1.10, -0.21, 0.22, -0.50, -0.83]), -1.97
#: Score from which a residue counts as disordered.
THRESHOLD = 1.0


def disorder_score(sequence: str) -> np.ndarray:
    """Score of each residue of a chain, float [L]; above `THRESHOLD`: disordered."""
    return (features(sequence) - _MEAN) / _SPREAD @ _WEIGHTS + _OFFSET


def features(sequence: str) -> np.ndarray:
    """Features [L, 5] of the windows around the residues of a chain."""
    letters = np.array(list(sequence))
    composition = _mean(letters[:, None] == np.array(list(AMINO_ACIDS)))

    def scale(values: dict[str, float]) -> np.ndarray:
        return composition @ np.array([values.get(letter, 0.0) for letter in AMINO_ACIDS])

    entropy = -(composition * np.log(composition + 1e-9)).sum(1)
    hydrophobic = composition[:, [AMINO_ACIDS.index(letter) for letter in "FWYILVM"]].sum(1)
    hydropathy = (scale(_HYDROPATHY) + 4.5) / 9
    charge = np.abs(scale(_CHARGE))
    return np.stack([scale(_TOP_IDP), hydropathy, charge, entropy, hydrophobic], 1)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean of rows [L, K] over the window around each row; shorter at the ends."""
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, 0, dtype=float)])
    rows = np.arange(len(values))
    first = np.maximum(rows - _WINDOW // 2, 0)
    end = np.minimum(rows + _WINDOW // 2 + 1, len(values))
    return (total[end] - total[first]) / (end - first)[:, None]
