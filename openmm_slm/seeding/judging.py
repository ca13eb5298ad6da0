"""What must hold of a frame in the midst of a simulation.

`openmm_slm.validity.report` judges frames at rest. At 300 K bonds vibrate and peptides bend, some
past its limits; what dynamics does not mend, and must not have spoiled, is this: finite
coordinates, chains that hold together, L residues, CB of Ile and Thr of their hand, no pierced
ring, and peptides that are cis where they were before, or before proline, alone.
"""

from __future__ import annotations

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
    """Judges frames of one topology, of the protein alone."""

    def __init__(self, topology: mdtraj.Topology) -> None:
        self.judge = FrameJudge(topology)
        self._proline = np.array(list(self.judge.protein.sequence)) == "P"

    def cis(self, xyz: np.ndarray) -> np.ndarray:
        """bool [F, L] of frames [F, A, 3]: the peptide before a residue is nearer to cis."""
        backbone = self.judge.atom14(xyz)[:, :, :4].astype(np.float64)
        omega = backbone_torsions(backbone, self.judge.protein.chain_break)[2]
        with np.errstate(invalid="ignore"):
            return np.abs(omega) < np.pi / 2

    def faults(self, xyz: np.ndarray, cis: np.ndarray | None = None) -> list[str]:
        """What is wrong with each of the frames [F, A, 3] (nm), in words; empty if nothing is.

        `cis` [L]: peptides that have to be cis; default, none, prolines free.
        """
        report = self.judge.report(xyz)
        turned = self.cis(xyz)
        turned = turned & ~self._proline if cis is None else turned != cis
        return [self._words(report, turned[frame], frame) for frame in range(len(xyz))]

    def _words(self, report: Report, turned: np.ndarray, frame: int) -> str:
        if not report["finite"][frame]:
            return "coordinates are not finite"
        counts = ((what, int(report[column][frame])) for column, what in _COUNTS.items())
        found = [f"{what}: {count}" for what, count in counts if count]
        names = [self.judge.residues[row] for row in np.flatnonzero(turned)]
        found += [f"the peptide before {name} turned" for name in map(str, names)]
        return "; ".join(found)


def judge_md(trajectory: mdtraj.Trajectory) -> Report:
    """``valid`` and ``error`` [F] of frames of a simulation; solvent does not matter."""
    errors = SeedJudge(trajectory.topology).faults(trajectory.xyz)
    return {
        "valid": np.array([not error for error in errors], bool),
        "error": np.array(errors, dtype=object),
    }
