"""The result of sampling in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..files.report_table import Report

if TYPE_CHECKING:
    import MDAnalysis
    import mdtraj
    import py3Dmol


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Sampled conformations with their tokens, log-probabilities and report.

    Attributes
    ----------
    trajectory : mdtraj.Trajectory
        F frames with one topology.
    tokens : ndarray, int64 [F, L]
    log_prob : ndarray, float64 [F]
        Nats; see `TokenSamples`.
    report : dict of ndarray
        One value per frame; ``pandas.DataFrame(ens.report)`` is a table.
    seed : int
        Random seed; the same seed repeats the ensemble.
    relatives : list of dict
        Known structures that were the templates: id, PDB entry and chain, residues of the sequence,
        identity, coverage, probability of this fold; empty if there were none.
    """

    trajectory: mdtraj.Trajectory
    tokens: np.ndarray
    log_prob: np.ndarray
    report: Report
    seed: int
    relatives: list[dict[str, object]] = field(default_factory=list)

    @property
    def state(self) -> np.ndarray | None:
        """Number of the state from which each frame came, int [F]; None without several states.

        States are the entries of the list `template`, from 0. On a path, it is the nearest one.
        """
        return self.report.get("state")

    @property
    def token_entropy(self) -> np.ndarray:
        """Entropy (nats) of the tokens of each residue over the frames [L]; at most log F.

        The estimate is biased low for few frames: by about (K - 1) / 2F for F frames and K likely
        tokens (Miller, 1955).
        """
        share = [np.unique(column, return_counts=True)[1] / len(column) for column in self.tokens.T]
        return np.array([-(p * np.log(p)).sum() for p in share])

    def to_mdanalysis(self) -> MDAnalysis.Universe:
        """The frames as an `MDAnalysis.Universe` in memory.

        Needs MDAnalysis (the extra ``mdanalysis``). It also opens folders:
        ``Universe("out/topology.pdb", "out/samples.xtc")``.
        """
        from ..files.mdanalysis import to_universe

        return to_universe(self.trajectory)

    def view(self, *, shown: int = 20, width: int = 640, height: int = 480) -> py3Dmol.view:
        """Interactive view of superposed frames, for notebooks.

        It shows at most `shown` frames, evenly spaced; `width` and `height` are in pixels. Needs
        py3Dmol (the extra ``view``). For other trajectories, use
        `openmm_slm.plots.viewing.view_ensemble`.
        """
        from ..plots.viewing import view_ensemble

        return view_ensemble(self, shown=shown, width=width, height=height)
