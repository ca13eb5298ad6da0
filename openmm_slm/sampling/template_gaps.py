"""Residues that a template lacks between residues that it has, without `resample`.

They start as resampled segments do (the first step of `openmm_slm.sampling.segment_sampling`), and
move along with the residues on either side of them.
"""

from __future__ import annotations

import numpy as np

from ..language.masking import with_rim
from ..library.fragments import LONGEST
from ..protein.superposition import superpose
from .segment_fragments import Segment
from .segment_sampling import SegmentSampler


class TemplateGaps:
    """Gaps of a template, of at most 20 residues, between two residues on either side.

    Parameters
    ----------
    segments : SegmentSampler
        Of all residues that the template lacks.
    chain : ndarray, int [L]
    left_out : ndarray, bool [L]
        Residues that other means build.
    """

    def __init__(self, segments: SegmentSampler, chain: np.ndarray, left_out: np.ndarray) -> None:
        self._segments, self._chain, self._left_out = segments, chain, left_out

    def of(self, row: int) -> list[Segment]:
        """Gaps of a frame of the template."""
        return [each for each in self._segments.segments(row) if self.is_gap(each)]

    def is_gap(self, segment: Segment) -> bool:
        short = segment.inside and len(segment.rows) <= LONGEST
        return short and not self._left_out[segment.rows].any()

    def filled(
        self, frames: np.ndarray, which: np.ndarray, start: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Frames whose gaps have a place.

        Parameters
        ----------
        frames, which : ndarray, int [F]
            Their numbers, and the frames of the template that they are of.
        start : ndarray [F, L, 4, 3]
            Displaced frames of the template, NaN in the gaps.

        Returns
        -------
        start : ndarray [F, L, 4, 3]
        level : ndarray [F, L]
            Level (nm) of the residues of the gaps; 0 for all others.
        rim : ndarray, bool [F, L]
            Residues next to gaps, whose tokens do not fit to them.
        """
        start, level = start.copy(), np.zeros(start.shape[:2])
        for row in np.unique(which):
            mine, gaps = np.flatnonzero(which == row), self.of(int(row))
            if not gaps:
                continue
            made, used = self._segments.first(frames[mine], int(row))
            levels = self._segments.levels(used, int(row))
            for gap in gaps:
                ends = (len(mine), -1, 3)
                here = start[mine][:, gap.anchors, :3].reshape(ends)
                there = made[:, gap.anchors, :3].reshape(ends)
                _, rotation, shift = superpose(there, here)
                moved = made[:, gap.rows].reshape(ends) @ np.swapaxes(rotation, -1, -2)
                moved = moved + shift[:, None]
                start[np.ix_(mine, gap.rows)] = moved.reshape(len(mine), len(gap.rows), 4, 3)
                level[np.ix_(mine, gap.rows)] = levels[:, gap.rows]
        rim = np.stack([with_rim(row > 0, self._chain) for row in level]) & (level == 0)
        return start, level, rim
