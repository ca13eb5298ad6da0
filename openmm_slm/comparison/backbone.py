"""Metrics that need N, CA, C and O: secondary structure, Ramachandran plots, J-couplings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..analysis.histograms import counts, js_distance
from ..analysis.matching import Matched
from ..analysis.weights import Weights, means
from ..errors import require
from ..protein.geometry import backbone_torsions
from ..protein.trajectory import backbone_trajectory

STATES = ("H", "E", "C")  # helix, strand, coil
RAMACHANDRAN_BINS = 18  # per angle; bins of 20 degrees
COUPLINGS = ("HN_HA", "HN_C", "HN_CB")
BLOCK = 1000  # frames per MDTraj call


@dataclass(frozen=True, eq=False)
class BackboneResult:
    """Results for Q residues; arrays [1 + B] hold the samples, then B draws.

    Attributes
    ----------
    dssp_error : ndarray [1 + B]
        Half the summed |difference of shares| of helix, strand and coil, averaged over residues.
    dssp, reference_dssp : ndarray [Q, 3]
        Shares of helix, strand, coil.
    js : ndarray [1 + B]
        JS distance of (phi, psi), averaged over residues with both angles.
    js_rows, js_of_residue : ndarray [T]
        Rows of these residues, and the JS distance of each.
    torsions, reference_torsions : ndarray, float32 [N or M, Q, 2]
        phi, psi (radians); NaN where undefined.
    couplings : dict of (ndarray [1 + B], ndarray [T], ndarray [T], ndarray [T])
        By name: root mean square difference of ensemble means (Hz), rows of residues, ensemble
        means of the samples and of the reference (Hz).
    """

    dssp_error: np.ndarray
    dssp: np.ndarray
    reference_dssp: np.ndarray
    js: np.ndarray
    js_rows: np.ndarray
    js_of_residue: np.ndarray
    torsions: np.ndarray
    reference_torsions: np.ndarray
    couplings: dict


def backbone_metrics(matched: Matched, weights: Weights) -> BackboneResult | None:
    """Compare backbones; None if fewer than 3 residues have N, CA, C and O in both ensembles."""
    if len(matched.backbone_rows) < 3:
        return None
    position = matched.position[matched.backbone_rows]
    chain_break = np.diff(position, prepend=-2) != 1
    letters = [matched.sequence[row] for row in matched.backbone_rows]
    # Each segment becomes a chain, so that nothing is computed across missing residues.
    sequence = "".join(
        ":" * bool(new and k) + letter
        for k, (letter, new) in enumerate(zip(letters, chain_break, strict=True))
    )
    sides = (matched.samples_backbone, matched.reference_backbone)
    of_samples = weights.samples[:, None]
    of_reference = np.column_stack([weights.reference, weights.draws])

    dssp = [_secondary_structure(x, sequence) for x in sides]
    shares, truth = _means_of(dssp, of_samples, of_reference)
    error = np.abs(_differences(shares, truth)).sum(1) / 2 / len(letters)

    torsions = [_torsions(x, chain_break) for x in sides]
    rows = np.flatnonzero(np.isfinite(torsions[0]).all((0, 2)))
    bins = [_ramachandran_bin(t[:, rows]) for t in torsions]
    found = counts(bins[0], of_samples, RAMACHANDRAN_BINS**2)
    expected = counts(bins[1], of_reference, RAMACHANDRAN_BINS**2)
    js = js_distance(np.concatenate([found, expected[..., 1:]], 2), expected[..., :1])

    couplings = {}
    for name in COUPLINGS:
        residues, values = _couplings(sides, sequence, name)
        if len(residues):
            j, j_ref = _means_of(values, of_samples, of_reference)
            rmsd = np.sqrt((_differences(j, j_ref) ** 2).mean(1))
            couplings[name] = rmsd, residues, j[0], j_ref[0]
    return BackboneResult(
        error, shares[0].reshape(-1, 3), truth[0].reshape(-1, 3), js.mean(0),
        rows, js[:, 0], *torsions, couplings,
    )  # fmt: skip


def _means_of(values, of_samples, of_reference):
    return means(values[0], of_samples), means(values[1], of_reference)


def _differences(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Differences [1 + B, F] of the samples and the draws from the reference, theirs[0]."""
    return np.concatenate([ours, theirs[1:]]) - theirs[0]


def _pieces(backbone: np.ndarray, sequence: str):
    """Yield trajectories of at most `BLOCK` frames."""
    for start in range(0, len(backbone), BLOCK):
        yield backbone_trajectory(backbone[start : start + BLOCK], sequence)


def _secondary_structure(backbone: np.ndarray, sequence: str) -> np.ndarray:
    """One-hot states [F, Q * 3] from MDTraj's simplified DSSP (Kabsch & Sander, 1983)."""
    md = require("mdtraj")
    found = np.concatenate([md.compute_dssp(piece) for piece in _pieces(backbone, sequence)])
    hot = np.stack([found == state for state in STATES], -1)
    return hot.reshape(len(hot), -1).astype(np.float32)


def _torsions(backbone: np.ndarray, chain_break: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        phi, psi, _ = backbone_torsions(backbone, chain_break)
    return np.stack([phi, psi], -1).astype(np.float32)


def _ramachandran_bin(torsions: np.ndarray) -> np.ndarray:
    """Bin number [F, T] of phi, psi [F, T, 2] in a grid over -180 to 180 degrees."""
    cell = np.floor((torsions + np.pi) / (2 * np.pi / RAMACHANDRAN_BINS)).astype(np.int32)
    cell = np.clip(cell, 0, RAMACHANDRAN_BINS - 1)
    return cell[..., 0] * RAMACHANDRAN_BINS + cell[..., 1]


def _couplings(sides, sequence: str, name: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Rows [T] of residues, and 3J [F, T] (Hz) of both ensembles from MDTraj's Karplus curves."""
    md = require("mdtraj")
    compute = getattr(md, f"compute_J3_{name}")
    values, rows = [], np.empty(0, int)
    for backbone in sides:
        parts = []
        for piece in _pieces(backbone, sequence):
            atoms, j = compute(piece)
            parts.append(j)
            # phi is C of the previous residue, N, CA, C; proline has no amide hydrogen.
            rows = np.asarray(atoms)[:, 1] // 4
        values.append(np.concatenate(parts))
    letters = np.array(list(sequence.replace(":", "")))[rows]
    kept = (letters != "P") & ((letters != "G") if name in ("HN_CB", "HN_HA") else True)
    return rows[kept], [v[:, kept] for v in values]
