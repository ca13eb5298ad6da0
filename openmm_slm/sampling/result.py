"""What sampling in memory returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..files.report_table import Report

if TYPE_CHECKING:
    import mdtraj
    import py3Dmol


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Sampled conformations and what is known about each.

    Attributes
    ----------
    trajectory : mdtraj.Trajectory
        F frames, one topology.
    tokens : ndarray, int64 [F, L]
    log_prob : ndarray, float64 [F]
        Nats; see `TokenSamples`.
    report : dict of ndarray
        One value per frame; ``pandas.DataFrame(ens.report)`` makes a table.
    seed : int
        Repeats the ensemble.
    """

    trajectory: mdtraj.Trajectory
    tokens: np.ndarray
    log_prob: np.ndarray
    report: Report
    seed: int

    @property
    def token_entropy(self) -> np.ndarray:
        """Entropy (nats) of the tokens of each residue over the frames [L]; at most log F.

        Of few frames it is too small: that of F draws falls short by about (K - 1) / 2 F, where K
        tokens are likely (Miller, 1955).
        """
        share = [np.unique(column, return_counts=True)[1] / len(column) for column in self.tokens.T]
        return np.array([-(p * np.log(p)).sum() for p in share])

    def view(self, *, shown: int = 20, width: int = 640, height: int = 480) -> py3Dmol.view:
        """Superposed frames to turn with the mouse, in a notebook.

        At most `shown` of them, evenly spaced; `width` and `height` are pixels. Needs py3Dmol (the
        extra ``view``); for any Trajectory, `openmm_slm.plots.viewing.view_ensemble`.
        """
        from ..plots.viewing import view_ensemble

        return view_ensemble(self, shown=shown, width=width, height=height)
