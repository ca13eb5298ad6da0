"""Choice of the residues to resample, for templates and for training."""

from __future__ import annotations

import numpy as np

#: Number of residues on each side of a gap whose tokens are predicted too. Encoded without the
#: absent residues, they have other tokens, and the decoder builds the gap in a wrong place: a gap
#: of 8-12 residues with its true tokens is decoded with 2.6 A RMSD, and with 0.35 A if the tokens
#: of a rim of 2 are true as well. A wider rim changes nothing.
RIM = 2

#: Level (nm) of segments that the model sampled: about the root mean square of their deviations.
SAMPLED_LEVEL = 0.4


def masked_residues(
    rng: np.random.Generator,
    ca: np.ndarray,
    share: float,
    chains: np.ndarray,
    weight: np.ndarray | None = None,
) -> np.ndarray:
    """Random mask, bool [L], of residues to resample: chain segments and spatial patches.

    Parameters
    ----------
    rng : numpy Generator
    ca : ndarray [L, 3]
        CA positions; NaN where unknown. Unknown residues are always masked.
    share : float
        Fraction of the known residues to mask, in (0, 1].
    chains : ndarray, int [L]
        Chain number of each residue.
    weight : ndarray [L], optional
        Relative probability that a residue is the centre of a segment or patch; default uniform.
    """
    known = np.isfinite(ca).all(-1)
    out, wanted = ~known, round(share * known.sum())
    weight = np.ones(len(ca)) if weight is None else weight
    if share >= 1:
        return np.ones(len(ca), bool)
    wanted = max(1, wanted)
    while (missing := wanted - int((out & known).sum())) > 0:
        free = np.flatnonzero(known & ~out)
        centre = int(rng.choice(free, p=weight[free] / weight[free].sum()))
        size = min(missing, int(rng.integers(4, 16)))
        if rng.random() < 0.5:  # segment of the chain
            away = np.where(chains == chains[centre], np.abs(np.arange(len(ca)) - centre), 10**6)
        else:  # spatial patch
            away = np.linalg.norm(ca - ca[centre], axis=-1)
        away = np.where(known & ~out, away, np.inf)
        out[np.argsort(away, kind="stable")[:size]] = True
    return out


def with_rim(absent: np.ndarray, chains: np.ndarray, rim: int = RIM) -> np.ndarray:
    """Absent residues and their `rim` neighbours along the chain; bool [L]."""
    out = absent.copy()
    for step in range(1, rim + 1):
        same = chains[step:] == chains[:-step]
        out[step:] |= absent[:-step] & same
        out[:-step] |= absent[step:] & same
    return out
