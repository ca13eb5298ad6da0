"""The reasons why frames are invalid, from a report (`openmm_slm.validity.report`)."""

from __future__ import annotations

import numpy as np

from .criteria import BOND_TOLERANCE, CLASH, CLOSEST_CA, PEPTIDE_TOLERANCE

LIMITS = {
    "c_n_deviation_nm": ("C-N", PEPTIDE_TOLERANCE),
    "bond_deviation_nm": ("N-CA or CA-C", BOND_TOLERANCE),
}
COUNTS = {
    "wrong_omega": "cis or twisted peptides",
    "d_residues": "D residues",
    "wrong_cb": "CB of the wrong hand",
    "clashes": f"heavy-atom pairs under {CLASH} nm",
    "pierced_rings": "pierced rings",
    "threaded_loops": "closed loops that disordered residues pass through",
    "kept_clashes": "contacts with kept groups that are too close",
}


def failures(report: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Frames that fail each criterion.

    Parameters
    ----------
    report : dict of ndarray [F]
        From `openmm_slm.geometry_report`, `relax` or an `Ensemble`.

    Returns
    -------
    dict of ndarray, bool [F]
        Keyed by reason, for the criteria that the report covers. Valid frames fail none. Frames
        that are not finite fail no other criterion.
    """
    finite = np.asarray(report["finite"], bool)
    found = {"coordinates are not finite": ~finite}
    for column, (what, limit) in LIMITS.items():
        found[f"{what} off by over {limit} nm"] = finite & (report[column] > limit)
    for column, what in COUNTS.items():
        if column in report:
            found[what] = finite & (report[column] > 0)
    if "d_residues" not in report:
        found[f"CA pairs under {CLOSEST_CA} nm"] = finite & (report["closest_ca_nm"] < CLOSEST_CA)
    return found


def fault_text(report: dict[str, np.ndarray], frame: int) -> str:
    """Reasons with numbers why an all-atom frame is invalid; empty for valid frames."""
    if report["valid"][frame]:
        return ""
    if not report["finite"][frame]:
        return "coordinates are not finite"
    found = [
        f"{what} off by {report[column][frame]:.3f} nm"
        for column, (what, limit) in LIMITS.items()
        if report[column][frame] > limit
    ]
    for column, what in COUNTS.items():
        if column in report and (count := int(report[column][frame])):
            found.append(f"{what}: {count}")
    return "; ".join(found)
