"""Sampled frames before side chains are built."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..files.report_table import Report


@dataclass(frozen=True, eq=False)
class SampledBackbones:
    """Sampled frames before side chains are built.

    Attributes
    ----------
    tokens : ndarray, int64 [F, L]
    log_prob : ndarray, float64 [F]
        Log-probability of the sampled tokens, nats.
    atom14 : ndarray, float32 [F, L, 14, 3]
        nm; N, CA, C and O, and all heavy atoms of residues that are kept from the template.
    report : dict of ndarray [F]
        Columns of the report that are known so far.
    fragments : ndarray, int [F, S], optional
        Of resampled frames: library fragment from which each segment starts; -1: none.
    """

    tokens: np.ndarray
    log_prob: np.ndarray
    atom14: np.ndarray
    report: Report
    fragments: np.ndarray | None = None

    def rows(self, which: np.ndarray) -> SampledBackbones:
        """Select frames by a mask or by indices."""
        report = {name: values[which] for name, values in self.report.items()}
        fragments = None if self.fragments is None else self.fragments[which]
        return SampledBackbones(
            self.tokens[which], self.log_prob[which], self.atom14[which], report, fragments
        )

    def followed_by(self, other: SampledBackbones) -> SampledBackbones:
        """These frames followed by those of `other`."""
        report = {name: np.append(each, other.report[name]) for name, each in self.report.items()}
        fragments = None
        if self.fragments is not None and other.fragments is not None:
            fragments = np.concatenate([self.fragments, other.fragments])
        return SampledBackbones(
            np.concatenate([self.tokens, other.tokens]),
            np.concatenate([self.log_prob, other.log_prob]),
            np.concatenate([self.atom14, other.atom14]),
            report,
            fragments,
        )
