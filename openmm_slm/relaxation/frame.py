"""Relax one frame: minimise, check, repair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .judging import FrameJudge
from .minimiser import FrameMinimiser, MinimisationError
from .relaxation_settings import RelaxationSettings
from .repair import Repairs

if TYPE_CHECKING:
    import mdtraj


@dataclass(frozen=True, eq=False)
class RelaxedFrame:
    """Result of the relaxation of one frame.

    Attributes
    ----------
    xyz : ndarray, float32 [A, 3]
        Relaxed coordinates (nm); the input if the minimisation failed.
    energy_before, energy_after : float
        Energy of the force field in kJ/mol; NaN if it could not be computed.
    repair : str
        Repair that made the frame valid; empty if none was needed, or none succeeded.
    error : str
        Why the frame was not minimised; empty if it was.
    """

    xyz: np.ndarray
    energy_before: float
    energy_after: float
    repair: str = ""
    error: str = ""


class FrameRelaxer:
    """Minimise, check and repair frames of one topology, one at a time."""

    def __init__(self, topology: mdtraj.Topology, settings: RelaxationSettings) -> None:
        self.settings = settings
        rows = settings.cis_allowed, settings.d_residues or ()
        self.judge = FrameJudge(topology, settings.disulfides, *rows)
        self.minimiser = FrameMinimiser(topology, self.judge, settings)
        self.repairs = Repairs(self.judge, self.minimiser)

    def relax(self, x: np.ndarray, number: int = 0) -> RelaxedFrame:
        """Relax frame `number`, coordinates [A, 3] (nm)."""
        error = self.minimiser.unusable(x)
        if error:
            return failed(x, float("nan"), error)
        before = self.minimiser.energy(x)
        found = None
        try:
            # Dynamics brings salt bridges together; without repairs, nothing parts them later.
            repel = bool(self.settings.anneal) or not self.settings.repair
            found = self.minimiser.minimise(x, number, repel=repel)
        except MinimisationError as failure:
            error = str(failure)
        else:
            if self.valid(found):
                return self._done(found, before)
        if self.settings.repair:
            for name, attempt in self.repairs.attempts(x, found, number):
                if self.valid(attempt):
                    return self._done(attempt, before, name)
        return failed(x, before, error) if found is None else self._done(found, before)

    def valid(self, x: np.ndarray) -> bool:
        return bool(self.judge.report(x[None])["valid"][0])

    def _done(self, x: np.ndarray, before: float, repair: str = "") -> RelaxedFrame:
        return RelaxedFrame(x, before, self.minimiser.energy(x), repair)


def failed(x: np.ndarray, energy: float, error: str) -> RelaxedFrame:
    """Result for a frame that could not be minimised: the input, with the reason."""
    return RelaxedFrame(np.asarray(x, np.float32), energy, energy, "", error)
