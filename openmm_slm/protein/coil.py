"""Coil: residues of a known structure that are like those of a disordered chain (NumPy, nm)."""

from __future__ import annotations

import numpy as np

from ..errors import require
from .geometry import unit_vector

_N_H = 0.101
_BOND = -0.5  # kcal/mol: hydrogen bond of DSSP (Kabsch and Sander, Biopolymers 1983)
_HELIX = 4  # residues between the partners of a helix's hydrogen bonds; closer ones are turns
_NEAR, _LOCAL = 1.0, 4  # nm between the CA of contacts, and residues apart that make none
#: Largest number of contacts of a coil residue. A buried residue has about 18.
CONTACTS = 6
#: Residues of the shortest stretch of coil.
SHORTEST = 4


def coil(
    backbone: np.ndarray, index: np.ndarray, contacts: int = CONTACTS, shortest: int = SHORTEST
) -> np.ndarray:
    """Find stretches without helix, sheet and neighbours in space; bool [L].

    Parameters
    ----------
    backbone : ndarray [L, 4, 3]
        N, CA, C, O in nm; NaN where absent.
    index : ndarray, int [L]
        Residue index; it jumps by more than 1 at chain breaks.
    contacts : int
        Largest number of CA within 1 nm, other than those of residues up to 4 apart.
    shortest : int
        Residues of the shortest stretch.
    """
    backbone, index = np.asarray(backbone, np.float64), np.asarray(index)
    present = np.isfinite(backbone).all((1, 2))
    rows = np.flatnonzero(present)
    found = np.zeros(len(present), bool)
    if not len(rows):
        return found
    tree = require("scipy.spatial").cKDTree
    pairs = rows[tree(backbone[rows, 1]).query_pairs(_NEAR, output_type="ndarray")]
    apart = np.abs(index[pairs[:, 0]] - index[pairs[:, 1]])
    near = np.bincount(pairs[apart > _LOCAL].ravel(), minlength=len(present))
    found = present & (near <= contacts) & ~_bonded(backbone, index, pairs[apart >= _HELIX])
    return _long_enough(found, index, shortest)


def _bonded(backbone: np.ndarray, index: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Residues in hydrogen bonds of the pairs int [P, 2]; inside a helix, all between; bool [L]."""
    n, _, c, o = backbone.swapaxes(0, 1)
    hydrogen = np.full_like(n, np.nan)
    follows = np.diff(index) == 1
    hydrogen[1:][follows] = (n[1:] + _N_H * unit_vector(c[:-1] - o[:-1]))[follows]
    donor, acceptor = np.concatenate([pairs, pairs[:, ::-1]]).T

    def inverse(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return 1 / np.linalg.norm(a[donor] - b[acceptor], axis=-1)

    with np.errstate(invalid="ignore", divide="ignore"):
        energy = inverse(n, o) + inverse(hydrogen, c) - inverse(hydrogen, o) - inverse(n, c)
        made = 2.7888 * energy < _BOND  # kcal/mol, distances in nm
    out = np.zeros(len(index), bool)
    out[donor[made]] = out[acceptor[made]] = True
    for i, j in zip(donor[made], acceptor[made], strict=True):
        if index[i] - index[j] == _HELIX:
            out[j : i + 1] = True
    return out


def _long_enough(inside: np.ndarray, index: np.ndarray, shortest: int) -> np.ndarray:
    """Remove runs of fewer than `shortest` residues."""
    edges = np.flatnonzero((np.diff(inside) != 0) | (np.diff(index) != 1)) + 1
    run = np.repeat(np.arange(len(edges) + 1), np.diff([0, *edges, len(inside)]))
    return inside & (np.bincount(run)[run] >= shortest)
