"""Minimise several frames at once, as distant copies in one System.

A small System does not use a GPU fully.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from ..errors import SLMError, require
from .frame import FrameRelaxer, RelaxedFrame
from .judging import FrameJudge
from .minimiser import ROUGH, FrameMinimiser, MinimisationError


class TiledRelaxer:
    """Minimise frames K at a time; frames that are still invalid are relaxed again one by one.

    Parameters
    ----------
    alone : FrameRelaxer
        Relaxes single frames.
    copies : int
        K.

    Raises
    ------
    SLMError
        The settings include annealing: velocities of a frame would depend on the other frames.
    """

    def __init__(self, alone: FrameRelaxer, copies: int) -> None:
        if alone.settings.anneal:
            raise SLMError(f"copies is {copies}, but anneal needs copies=1; change one of them")
        self.alone, self.copies = alone, copies
        md, one = require("mdtraj"), alone.judge
        topology, many = one.topology, md.Topology()
        for _ in range(copies):
            many = many.join(topology)
        may_be_cis = np.flatnonzero(np.tile(one.protein.cis_allowed, copies)).tolist()
        as_d = np.flatnonzero(np.tile(one.protein.d_residues, copies)).tolist()
        settings = replace(alone.settings, cis_allowed=may_be_cis, d_residues=as_d, disulfides=None)
        judge = FrameJudge(many, None, may_be_cis, as_d)
        self.minimiser = FrameMinimiser(many, judge, settings)

    def relax(
        self, xyz: np.ndarray, first: int, done: Callable[[], object] = lambda: None
    ) -> list[RelaxedFrame]:
        """Relax frames [F, A, 3], numbered from `first`; `done` is called after each frame."""
        energy = np.full(len(xyz), np.nan)
        usable = [i for i, x in enumerate(xyz) if not self.alone.minimiser.unusable(x)]
        for i in usable:
            energy[i] = self.alone.minimiser.energy(xyz[i])
        calm = energy < ROUGH * xyz.shape[1]
        out: dict[int, RelaxedFrame] = {}
        # Only frames of high energy need their atoms separated first: group frames by that.
        for group in ([i for i in usable if calm[i]], [i for i in usable if not calm[i]]):
            for start in range(0, len(group), self.copies):
                frames = group[start : start + self.copies]
                for i, x in zip(frames, self._together(xyz[frames]), strict=False):
                    if self.alone.valid(x):
                        after = self.alone.minimiser.energy(x)
                        out[i] = RelaxedFrame(x, float(energy[i]), after)
                        done()
        for i in sorted(set(range(len(xyz))) - out.keys()):
            out[i] = self.alone.relax(xyz[i], first + i)
            done()
        return [out[i] for i in range(len(xyz))]

    def _together(self, xyz: np.ndarray) -> Iterable[np.ndarray]:
        """Minimise up to K frames together; returns no frames if that failed."""
        centre = xyz.mean(1, keepdims=True)
        apart = np.ptp(xyz, axis=1).max() + 2 * self.alone.settings.cutoff + 1.0
        side = int(np.ceil(self.copies ** (1 / 3)))
        sites = apart * np.stack(np.unravel_index(np.arange(self.copies), (side,) * 3), -1)
        sites = sites[:, None] - sites.mean(0)
        filled = np.resize(xyz - centre, (self.copies, *xyz.shape[1:]))  # repeats frames
        try:
            # On a GPU, the repulsion costs less than repairs of single frames.
            found = self.minimiser.minimise((filled + sites).reshape(-1, 3), repel=True)
        except MinimisationError:
            return []
        found = found.reshape(filled.shape) - sites
        return (found[: len(xyz)] + centre).astype(np.float32)
