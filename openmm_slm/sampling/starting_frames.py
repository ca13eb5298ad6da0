"""Frames of a template from which decoding starts, displaced along soft modes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..files.report_table import Report
from ..language.masking import masked_residues
from ..protein.elastic_network import PackedNetwork, displace
from .settings import SamplingSettings
from .state_path import StatePath
from .states import template_rows
from .template import Template

_GOLDEN = (np.sqrt(5) - 1) / 2  # its multiples modulo 1 are evenly spread


class StartingFrames:
    """Where each frame of a run starts, and the residues that are sampled again.

    Parameters
    ----------
    settings : SamplingSettings
        The seed must be set.
    template : Template
    tokens : ndarray, int [T, L]
        Tokens of the template's frames.
    chain, index : ndarray, int [L]
        Chain number and residue index.
    """

    def __init__(
        self,
        settings: SamplingSettings,
        template: Template,
        tokens: np.ndarray,
        chain: np.ndarray,
        index: np.ndarray,
    ) -> None:
        self.settings, self.template, self.tokens = settings, template, tokens
        self.chain, self.index = chain, index
        self.path = None
        if settings.path:
            self.path = StatePath(template, tokens, index, settings.n, settings.seed)
        self._network = lru_cache(maxsize=2)(self._network_of)

    def rows(self, frames: np.ndarray) -> np.ndarray:
        """Frames of the template from which these start; on a path, the nearest states."""
        return template_rows(self.template, frames) if not self.path else self.path.state(frames)

    def columns(self, frames: np.ndarray) -> Report:
        """Columns of the report: ``relative``, ``state``, ``progress``, those that apply."""
        template, rows, found = self.template, self.rows(frames), {}
        if template.names:
            found["relative"] = np.array(template.names)[rows]
        if template.state is not None:
            found["state"] = template.state[rows]
        if self.path:
            found["progress"] = self.path.progress(frames)
        return found

    def first(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tokens [F, L] and backbones [F, L, 4, 3] of frames before any displacement."""
        if self.path:
            return self.path.starts(frames)
        rows = self.rows(frames)
        return self.tokens[rows], self.template.backbone[rows]

    def displaced(self, frame: int, number: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Backbone [L, 4, 3] displaced along soft modes, and the mask of sampled residues [L].

        `x` is the backbone that the round `number` starts from.
        """
        key, counter = [self.settings.seed, frame], [0, 0, 1, number]
        rng = np.random.Generator(np.random.Philox(key=key, counter=counter))
        known = np.isfinite(x[:, :3]).all((-1, -2))
        ca, noise = np.where(known[:, None], x[:, 1], np.nan), self.settings.noise
        if known.sum() < 4:  # too few residues for soft modes
            return x, masked_residues(rng, ca, noise, self.chain)
        if number == 0:
            network, mean_square = self._network(int(self.rows(np.array([frame]))[0]))
        else:
            network = PackedNetwork(x[:, 1], self.index)
            mean_square = network.mean_square()
        weight = np.zeros(len(x))
        weight[known] = mean_square
        masked = masked_residues(rng, ca, noise, self.chain, weight)
        start = x.copy()
        if self.settings.deform:
            move = network.displacement(rng, self._amplitude(frame, number))
            start[known] = displace(x[known], move)
        return start, masked

    def _amplitude(self, frame: int, number: int) -> float:
        """Root mean square displacement (nm) of the start of a frame from the template.

        Uniform on [0, sqrt(3) deform], whose root mean square is `deform`. It follows a golden
        ratio sequence, so that even a few frames cover the interval.
        """
        key, counter = [self.settings.seed, 0], [0, 0, 2, number]
        first = np.random.Generator(np.random.Philox(key=key, counter=counter)).random()
        return self.settings.deform * np.sqrt(3) * ((first + frame * _GOLDEN) % 1)

    def _network_of(self, which: int) -> tuple[PackedNetwork, np.ndarray]:
        """Elastic network of a template frame, and its mean square displacement per residue."""
        known = self.template.known[which]
        network = PackedNetwork(self.template.backbone[which, known, 1], self.index[known])
        return network, network.mean_square()
