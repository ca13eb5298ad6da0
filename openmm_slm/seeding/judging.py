"""Validity criteria for frames of a simulation.

`openmm_slm.validity.report` is for minimised frames. At 300 K bonds vibrate and peptides bend, some
of them beyond its limits. The criteria here are those that dynamics cannot repair: coordinates are
finite, chains are unbroken, residues are L (D amino acids of the input: D), CB of Ile and Thr has
the right chirality, no ring is pierced, and peptides are cis only where they were before (by
default, only before proline).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from ..files.report_table import Report
from ..protein.geometry import backbone_torsions
from ..relaxation.judging import FrameJudge

if TYPE_CHECKING:
    import mdtraj

_COUNTS = {
    "broken_bonds": "broken peptide bonds",
    "d_residues": "D residues",
    "wrong_cb": "CB of the wrong hand",
    "pierced_rings": "pierced rings",
}


class SeedJudge:
    """Find the faults of frames of one topology; only the protein is checked."""

    def __init__(self, topology: mdtraj.Topology, d_residues: Iterable[int] = ()) -> None:
        self.judge = FrameJudge(topology, d_residues=d_residues)
        self._proline = np.array(list(self.judge.protein.sequence)) == "P"

    def cis(self, xyz: np.ndarray) -> np.ndarray:
        """Whether the peptide before each residue is cis: bool [F, L] for frames [F, A, 3]."""
        backbone = self.judge.atom14(xyz)[:, :, :4].astype(np.float64)
        omega = backbone_torsions(backbone, self.judge.protein.chain_break)[2]
        with np.errstate(invalid="ignore"):
            return np.abs(omega) < np.pi / 2

    def faults(self, xyz: np.ndarray, cis: np.ndarray | None = None) -> list[str]:
        """Faults of each of the frames [F, A, 3] (nm) as text; empty if the frame is valid.

        `cis` [L] marks the peptides that must be cis; all others must be trans. By default none
        may be cis, except before proline.
        """
        report = self.judge.report(xyz)
        flipped = self.cis(xyz)
        flipped = flipped & ~self._proline if cis is None else flipped != cis
        return [self._text(report, flipped[frame], frame) for frame in range(len(xyz))]

    def _text(self, report: Report, flipped: np.ndarray, frame: int) -> str:
        if not report["finite"][frame]:
            return "coordinates are not finite"
        counts = ((what, int(report[column][frame])) for column, what in _COUNTS.items())
        found = [f"{what}: {count}" for what, count in counts if count]
        names = [self.judge.residues[row] for row in np.flatnonzero(flipped)]
        found += [f"the peptide before {name} flipped (cis/trans)" for name in map(str, names)]
        return "; ".join(found)


def judge_md(trajectory: mdtraj.Trajectory, d_residues: Iterable[int] = ()) -> Report:
    """Report with ``valid`` and ``error`` [F] for frames of a simulation; solvent is ignored.

    `d_residues` are the rows of D amino acids.
    """
    errors = SeedJudge(trajectory.topology, d_residues).faults(trajectory.xyz)
    return {
        "valid": np.array([not error for error in errors], bool),
        "error": np.array(errors, dtype=object),
    }
