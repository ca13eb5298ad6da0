"""Wrong chirality: D residues, and inverted CB of isoleucine and threonine."""

from __future__ import annotations

import numpy as np

from ..protein.geometry import chirality


def wrong_hands(
    atoms: np.ndarray, sequence: str, d_residues: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Find residues whose CA or CB is inverted or planar.

    Parameters
    ----------
    atoms : ndarray [F, L, S, 3]
        nm, in atom14 order with at least the first seven slots; NaN where absent.
    sequence : str
        L letters; residues X are skipped.
    d_residues : ndarray, bool [L], optional
        D amino acids: inverted if they are L. Their CB may have either hand.

    Returns
    -------
    at_ca, at_cb : ndarray, bool [F, L]
    """
    letters = np.array(list(sequence), "<U1")
    as_d = np.zeros(len(letters), bool) if d_residues is None else d_residues
    n, ca, c, _, cb, one, two = (atoms[:, :, slot].astype(np.float64) for slot in range(7))
    with np.errstate(invalid="ignore"):
        hand = chirality(n, ca, c, cb)
        at_ca = np.where(as_d, hand >= 0, hand <= 0) & (letters != "X")
        # Neighbours of CB: CA, then CG1 or OG1, then CG2. Ile and Thr have the same chirality.
        at_cb = (chirality(ca, cb, one, two) <= 0) & np.isin(letters, ("I", "T")) & ~as_d
    return at_ca, at_cb
