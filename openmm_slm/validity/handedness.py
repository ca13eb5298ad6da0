"""Wrong chirality: D residues, and inverted CB of isoleucine and threonine."""

from __future__ import annotations

import numpy as np

from ..protein.geometry import chirality


def wrong_hands(atoms: np.ndarray, sequence: str) -> tuple[np.ndarray, np.ndarray]:
    """Find residues whose CA or CB is inverted or planar.

    Parameters
    ----------
    atoms : ndarray [F, L, S, 3]
        nm, in atom14 order with at least the first seven slots; NaN where absent.
    sequence : str
        L letters; residues X are skipped.

    Returns
    -------
    at_ca, at_cb : ndarray, bool [F, L]
    """
    letters = np.array(list(sequence), "<U1")
    n, ca, c, _, cb, one, two = (atoms[:, :, slot].astype(np.float64) for slot in range(7))
    with np.errstate(invalid="ignore"):
        at_ca = (chirality(n, ca, c, cb) <= 0) & (letters != "X")
        # Neighbours of CB: CA, then CG1 or OG1, then CG2. Ile and Thr have the same chirality.
        at_cb = (chirality(ca, cb, one, two) <= 0) & np.isin(letters, ("I", "T"))
    return at_ca, at_cb
