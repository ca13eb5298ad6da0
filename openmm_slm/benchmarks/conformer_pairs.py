"""Scores of samples against two conformers of one protein (as in EigenFold and ESMDiff).

Rows of conformers and samples are residues of the sampled sequence; NaN where absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from ..analysis.tmscore import tm_scores
from ..errors import StructureError
from ..protein.superposition import superpose

_GAP = 1e-3  # breaks ties: of alignments with as many matches, the one with the fewest gaps

_STILL = 1e-5  # nm; a smaller spread of flexibilities is rounding


def align_to(sequence: str, part: str) -> np.ndarray:
    """Positions in `sequence` of the letters of `part`, int [len(part)]; -1 for one with none.

    A global alignment with the score 1 for a match and 0 for a mismatch or a gap. Of equally good
    ones, that with the fewest gaps is taken, so that a point mutation is a mismatch.
    """
    if part == sequence:
        return np.arange(len(part))
    rows, columns = len(part), len(sequence)
    same = np.frombuffer(part.encode(), np.uint8)[:, None] == np.frombuffer(
        sequence.encode(), np.uint8
    )
    # Best scores that end in a pair, in a letter of `part` alone, in one of `sequence` alone.
    best = np.full((3, rows + 1, columns + 1), -np.inf)
    best[0, 0, 0] = 0
    best[1, 1:, 0] = best[2, 0, 1:] = -_GAP
    origin = np.zeros((3, rows + 1, columns + 1), np.int8)
    origin[1, 2:, 0], origin[2, 0, 2:] = 1, 2
    opened = np.array([[0, _GAP, _GAP], [_GAP, 0, _GAP], [_GAP, _GAP, 0]])
    for i in range(1, rows + 1):
        before = best[:, i - 1, :-1]
        origin[0, i, 1:] = before.argmax(0)
        best[0, i, 1:] = before.max(0) + same[i - 1]
        above = best[:, i - 1, 1:] - opened[1][:, None]
        origin[1, i, 1:] = above.argmax(0)
        best[1, i, 1:] = above.max(0)
        for j in range(1, columns + 1):
            left = best[:, i, j - 1] - opened[2]
            k = int(left.argmax())
            origin[2, i, j], best[2, i, j] = k, left[k]
    where = np.full(rows, -1)
    i, j, state = rows, columns, int(best[:, rows, columns].argmax())
    while i or j:
        previous = int(origin[state, i, j])
        if state == 0:
            where[i - 1] = j - 1
        i, j, state = i - (state != 2), j - (state != 1), previous
    return where


def on_sequence(ca: np.ndarray, part: str, sequence: str) -> np.ndarray:
    """CA [..., len(part), 3] on the rows of `sequence`: [..., L, 3], NaN where there is none."""
    where = align_to(sequence, part)
    out = np.full((*ca.shape[:-2], len(sequence), 3), np.nan)
    out[..., where[where >= 0], :] = ca[..., where >= 0, :]
    return out


def distances_after_fit(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distance of each residue [..., L] between CA sets [..., L, 3] superposed on common ones."""
    return np.linalg.norm(superpose(a, b)[0] - b, axis=-1)


def flexibility(samples: np.ndarray) -> np.ndarray:
    """Root mean square over pairs of samples [K, L, 3] of `distances_after_fit`: [L]."""
    first, second = np.triu_indices(len(samples), 1)
    square = distances_after_fit(samples[first], samples[second]) ** 2
    return np.sqrt(square.mean(0))


def present(samples: np.ndarray) -> np.ndarray:
    """Residues, bool [L], that all of samples [K, L, 3] have."""
    return np.isfinite(samples).all((0, 2))


def tm_to(target: np.ndarray, samples: np.ndarray, norm_length: int | None = None) -> np.ndarray:
    """TM-scores [K] of samples [K, L, 3] and one target [L, 3] (nm) over common residues.

    Normalised by `norm_length`, by default the residues that the samples have, which is what
    ``TMscore -seq target sample`` prints.
    """
    common = present(target[None]) & present(samples)
    norm_length = norm_length or int(present(samples).sum())
    here = samples[:, common]
    return tm_scores(here, np.broadcast_to(target[common], here.shape), norm_length)


def score_pair(first: np.ndarray, second: np.ndarray, samples: np.ndarray) -> dict[str, float]:
    """Figures of one target.

    Parameters
    ----------
    first, second : ndarray [L, 3]
        CA of the conformers (nm), NaN where absent.
    samples : ndarray [K, L, 3]
        Likewise; the same residues in all.

    Returns
    -------
    dict
        ``tm_first``, ``tm_second``: largest TM-score of a sample with each conformer (see `tm_to`);
        ``tm_pair``, that of the conformers, mean of both directions; ``tm_samples``, mean over
        pairs of samples; ``gain``, how much closer a sample comes to the second conformer than the
        first is (TM-scores normalised by L, so that absent residues count for neither).
        Of the true flexibility g (distance between the conformers) and the predicted f
        (`flexibility`), over residues that have both: ``r`` their Pearson correlation, and
        ``residues``, ``g``, ``f``, ``gg``, ``ff``, ``gf``: number and sums (nm, nm^2), from which
        `pooled_correlation` takes that of all targets.
    """
    length = len(first)
    both = (present(first[None]) & present(second[None]) & present(samples)).sum()
    if both < 4 or len(samples) < 2:
        raise StructureError(
            f"{both} residues of {length} are in both conformers and the samples, {len(samples)} "
            "samples; at least 4 and 2 are needed"
        )
    one, two = np.triu_indices(len(samples), 1)
    here = samples[:, present(samples)]
    g, f = distances_after_fit(first, second), flexibility(samples)
    kept = np.isfinite(g) & np.isfinite(f)
    g, f = g[kept], f[kept]
    closer = tm_to(second, samples, length).max() - tm_to(second, first[None], length)[0]
    row = {
        "tm_first": tm_to(first, samples).max(),
        "tm_second": tm_to(second, samples).max(),
        "tm_pair": (tm_to(second, first[None])[0] + tm_to(first, second[None])[0]) / 2,
        "tm_samples": tm_scores(here[one], here[two]).mean(),
        "gain": closer,
        "residues": len(g),
        "g": g.sum(),
        "f": f.sum(),
        "gg": g @ g,
        "ff": f @ f,
        "gf": g @ f,
    }
    row = {name: float(value) for name, value in row.items()}
    return {**row, "r": pooled_correlation([row])}


def pooled_correlation(rows: Iterable[Mapping[str, float]]) -> float:
    """Pearson correlation of (g, f) over the residues of all `rows`; NaN if one is constant."""
    names = ("residues", "g", "f", "gg", "ff", "gf")
    n, g, f, gg, ff, gf = (sum(row[name] for row in rows) for name in names)
    spread_g, spread_f = n * gg - g * g, n * ff - f * f
    if min(spread_g, spread_f) <= (n * _STILL) ** 2:
        return float("nan")
    return float((n * gf - g * f) / np.sqrt(spread_g * spread_f))
