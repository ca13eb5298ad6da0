"""The one definition of a *valid* frame, as columns of a report (NumPy only).

A backbone frame is valid when it is finite; every C-N is within 0.015 nm of 0.133 nm, every N-CA
and CA-C within 0.01 nm of ideal; every omega is within 30 degrees of 180 (before proline also of
0); and no two CA two or more residues apart are closer than 0.3 nm. Ramachandran classes are no
part of it. N, CA, C and O have no handedness of their own: chirality is judged where there is a CB.
"""

from __future__ import annotations

import numpy as np

from .geometry import backbone_torsions, closest_ca, peptide_bond_lengths

C_N, N_CA, CA_C = 0.133, 0.1459, 0.1525
CLOSEST_CA = 0.3  # nm
Report = dict[str, np.ndarray]


def backbone_report(backbone: np.ndarray, sequence: str, chain_break: np.ndarray) -> Report:
    """Judge backbone frames.

    Parameters
    ----------
    backbone : ndarray, float32 [F, L, 4, 3]
        N, CA, C, O; nm.
    sequence : str
        L letters, chains concatenated.
    chain_break : ndarray, bool [L]
        True where residue i is not bonded to residue i - 1.

    Returns
    -------
    dict of ndarray [F]
        ``valid`` (bool), ``finite``, ``c_n_deviation_nm`` and ``bond_deviation_nm`` (largest, C-N
        and within residues), ``broken_bonds`` (C-N off by over 0.015 nm), ``cis``,
        ``twisted_omega``, ``wrong_omega`` (counts; wrong: twisted, or cis not before proline),
        ``closest_ca_nm`` (two or more apart).
    """
    frames, length = backbone.shape[:2]
    finite = np.isfinite(backbone).all((1, 2, 3))
    x = np.where(finite[:, None, None, None], backbone, 0.0)
    bonded = ~np.asarray(chain_break)[1:]
    peptide = peptide_bond_lengths(x, chain_break)[:, 1:][:, bonded]
    inner = np.concatenate(
        [
            np.linalg.norm(x[:, :, 0] - x[:, :, 1], axis=-1) - N_CA,
            np.linalg.norm(x[:, :, 2] - x[:, :, 1], axis=-1) - CA_C,
        ],
        1,
    )
    with np.errstate(invalid="ignore"):
        omega = np.abs(backbone_torsions(x, chain_break)[2][:, 1:][:, bonded])
    cis = omega < np.radians(30)
    twisted = ~cis & (omega < np.radians(150))
    before_proline = np.array([letter == "P" for letter in sequence[1:]], bool)[bonded]
    c_n = np.abs(peptide - C_N)
    closest = closest_ca(x[:, :, 1])

    def largest(values: np.ndarray) -> np.ndarray:
        return values.max(1) if values.shape[1] else np.zeros(frames)

    report = {
        "finite": finite,
        "c_n_deviation_nm": largest(c_n),
        "bond_deviation_nm": largest(np.abs(inner)),
        "broken_bonds": (c_n > 0.015).sum(1),
        "cis": cis.sum(1),
        "twisted_omega": twisted.sum(1),
        "wrong_omega": (twisted | (cis & ~before_proline)).sum(1),
        "closest_ca_nm": closest,
    }
    valid = (
        finite
        & (report["c_n_deviation_nm"] <= 0.015)
        & (report["bond_deviation_nm"] <= 0.01)
        & (report["wrong_omega"] == 0)
        & (closest >= CLOSEST_CA)
    )
    return {"valid": valid, **report}
