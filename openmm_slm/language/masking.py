"""Which residues are sampled anew: as templates mask them, and as language models learn it."""

from __future__ import annotations

import numpy as np

#: Residues on each side of absent ones whose tokens are predicted too. Without what is absent, the
#: encoder gives them other tokens, from which the decoder leads the chain elsewhere: a stretch with
#: its true tokens is decoded 2.6 A off (0.35 A with a rim of 2; a wider one changes nothing).
RIM = 2


def masked_residues(
    rng: np.random.Generator,
    ca: np.ndarray,
    share: float,
    chains: np.ndarray,
    weight: np.ndarray | None = None,
) -> np.ndarray:
    """Residues whose tokens are sampled anew: stretches and patches, not lone ones; bool [L].

    Parameters
    ----------
    ca : ndarray [L, 3]
        NaN where unknown; those are always among them.
    share : float
        Of the known residues, in (0, 1].
    chains : ndarray, int [L]
    weight : ndarray [L], optional
        How likely a residue is to be the middle of a stretch or patch; default: all alike.
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
        if rng.random() < 0.5:  # a stretch of its chain
            away = np.where(chains == chains[centre], np.abs(np.arange(len(ca)) - centre), 10**6)
        else:  # all around it
            away = np.linalg.norm(ca - ca[centre], axis=-1)
        away = np.where(known & ~out, away, np.inf)
        out[np.argsort(away, kind="stable")[:size]] = True
    return out


def with_rim(absent: np.ndarray, chains: np.ndarray, rim: int = RIM) -> np.ndarray:
    """Absent residues, and those beside them in their chains; bool [L]."""
    out = absent.copy()
    for step in range(1, rim + 1):
        same = chains[step:] == chains[:-step]
        out[step:] |= absent[:-step] & same
        out[:-step] |= absent[step:] & same
    return out
