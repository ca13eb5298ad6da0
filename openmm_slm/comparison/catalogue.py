"""The metrics in the order of the table: name, unit, better direction and definition.

Lengths are computed in nm and reported in Angstrom. If `better` is "reference", the best value is
that of the reference.
"""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    name: str
    unit: str
    better: str
    definition: str
    scale: float = 1.0


A = "Å"
METRICS = (
    Metric(
        "JS-PwD", "", "lower",
        "Jensen-Shannon distance of CA-CA distances, mean over pairs at least 3 residues apart",
    ),
    Metric(
        "JS-TIC", "", "lower",
        "Jensen-Shannon distance along the reference's first two TICA coordinates, mean of both",
    ),
    Metric("JS-Rg", "", "lower", "Jensen-Shannon distance of the radius of gyration (CA)"),
    Metric(
        "val-clash", "", "higher", "Share of frames without two CA (neighbours too) under 3.0 Å"
    ),
    Metric(
        "val-bond", "", "higher",
        "Share of frames with no CA-CA distance of neighbours beyond the largest in the reference",
    ),
    Metric(
        "TM-ens", "", "higher",
        "Best TM-score of up to 100 samples to each target conformation, mean over targets",
    ),
    Metric(
        "RMSD-ens", A, "lower",
        "Smallest CA RMSD of up to 100 samples to each target conformation, mean over targets", 10,
    ),
    Metric("TM-div", "", "reference", "Mean TM-score of pairs of up to 100 samples"),
    Metric(
        "ResFlex r", "", "higher",
        "Pearson's r of residue flexibility: root mean square distance over pairs of frames",
    ),
    Metric("ResFlex rho", "", "higher", "Spearman's rho of residue flexibility"),
    Metric("MAE-PwD", A, "lower", "Mean absolute difference of mean CA-CA distances", 10),
    Metric("MAE-Rg", A, "lower", "Absolute difference of mean radii of gyration", 10),
    Metric(
        "MAE-contact", "", "lower",
        "Mean absolute difference of ln(p + 0.01), p: share of frames with CA within 8 Å",
    ),
    Metric(
        "contact difference", "", "lower", "Mean absolute difference of p as in MAE-contact"
    ),
    Metric("Rg", A, "reference", "Mean radius of gyration (CA)", 10),
    Metric("end-to-end", A, "reference", "Mean distance of the first and last CA of a chain", 10),
    Metric("JS-end-to-end", "", "lower", "Jensen-Shannon distance of the end-to-end distance"),
    Metric("RMSF r", "", "higher", "Pearson's r of CA RMSF, each about its own mean structure"),
    Metric("RMSF difference", A, "lower", "Mean absolute difference of RMSF", 10),
    Metric(
        "RMSIP", "", "higher", "Overlap of the spaces of the 10 leading principal components (CA)"
    ),
    Metric(
        "PCA-W2", A, "lower",
        "2-Wasserstein distance of the Gaussians with the ensembles' means and covariances along "
        "the reference's 10 leading principal components (CA), over sqrt(residues)", 10,
    ),
    Metric(
        "DSSP difference", "", "lower",
        "Half the summed differences of helix, strand and coil shares, mean over residues",
    ),
    Metric(
        "JS-phi/psi", "", "lower",
        "Jensen-Shannon distance of (phi, psi) in bins of 20 x 20 degrees, mean over residues",
    ),
    Metric("3J(HN,HA)", "Hz", "lower", "Root mean square difference of mean couplings"),
    Metric("3J(HN,C)", "Hz", "lower", "Root mean square difference of mean couplings"),
    Metric("3J(HN,CB)", "Hz", "lower", "Root mean square difference of mean couplings"),
)  # fmt: skip
BY_NAME = {metric.name: metric for metric in METRICS}
