"""Kept groups beside sampled backbones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..files.report_table import Report
from ..protein.kept_groups import KeptGroups, with_kept
from ..validity.kept_contacts import kept_report
from .sampled_backbones import SampledBackbones

if TYPE_CHECKING:
    import mdtraj


class KeptPlacement:
    """Places the kept groups of a template in the frames made from it.

    Parameters
    ----------
    groups : KeptGroups
    loose : ndarray, bool [L]
        Disordered residues, which carry no group.
    rigid : ndarray, int [L], optional
        Rigid parts of the template (`BackboneSampler.rigid`); residues without one carry none.
    which : function
        Frames of the template from which frames start, by number (`StartingFrames.rows`).
    """

    def __init__(
        self,
        groups: KeptGroups,
        loose: np.ndarray,
        rigid: np.ndarray | None,
        which: Callable[[np.ndarray], np.ndarray],
    ) -> None:
        steady = ~loose if rigid is None else ~loose & (rigid >= 0)
        self.groups, self._steady, self._rigid, self._which = groups, steady, rigid, which
        #: int [K]: rigid part to which each kept atom belongs; or None.
        self.part = groups.parts(rigid, steady)

    def bound(self, frames: np.ndarray, drawn: SampledBackbones) -> SampledBackbones:
        """Sampled frames whose side chains that bind a group are those of the template."""
        atom14 = self.groups.with_side_chains(drawn.atom14, self._which(frames), self._steady)
        return replace(drawn, atom14=atom14)

    def positions(self, frames: np.ndarray, drawn: SampledBackbones) -> np.ndarray:
        """Kept atoms beside sampled frames, float32 [F, K, 3]."""
        return self.groups.placed(drawn.atom14, self._which(frames), self._steady)

    def beside(
        self, made: mdtraj.Trajectory, report: Report, drawn: SampledBackbones, xyz: np.ndarray
    ) -> tuple[mdtraj.Trajectory, Report]:
        """Frames of backbones and their report, with the kept atoms at `xyz` [F, K, 3]."""
        found = kept_report(
            drawn.atom14[:, :, :4], self.groups.sequence,
            self.groups.obstacles(xyz, self.part), self._rigid,
        )  # fmt: skip
        report = {**report, **found, "valid": report["valid"] & (found["kept_clashes"] == 0)}
        return with_kept(made, self.groups, xyz), report
