"""Path from the first state of a protein to the last: where each frame on it starts."""

from __future__ import annotations

import numpy as np

from ..errors import require
from ..protein.chain_building import residue_axes
from ..protein.elastic_network import displace
from ..protein.elastic_path import ElasticPath
from .template import Template


class StatePath:
    """Backbones and tokens on a path through the states of a template.

    CA follow an elastic network (`openmm_slm.protein.elastic_path`). Each residue turns steadily
    from its orientation in one state to that in the next. Each token changes once, at a random
    place between two states.

    Parameters
    ----------
    template : Template
        S states of one frame each (`openmm_slm.sampling.states.on_path`).
    tokens : ndarray, int [S, L]
    index : ndarray, int [L]
        Residue index: steps of 1 between bonded residues.
    n : int
        Number of frames.
    seed : int
    """

    def __init__(
        self, template: Template, tokens: np.ndarray, index: np.ndarray, n: int, seed: int
    ) -> None:
        self._known = template.known.all(0)
        self._states = template.backbone[:, self._known]
        self._tokens, self._last = tokens, n - 1
        ca = self._states[:, :, 1]
        self._paths = [
            ElasticPath(a, b, index[self._known]) for a, b in zip(ca[:-1], ca[1:], strict=True)
        ]
        rng = np.random.Generator(np.random.Philox(key=[seed, 0], counter=[0, 0, 3, 0]))
        self._change = rng.random((len(self._paths), tokens.shape[1]))

    def progress(self, frames: np.ndarray) -> np.ndarray:
        """Progress of frames: 0 in the first state, 1 in the last, k / (S - 1) in state k."""
        return np.minimum(frames / self._last, 1.0)  # more frames may be drawn than are kept

    def state(self, frames: np.ndarray) -> np.ndarray:
        """The nearest state of frames on the path, by their progress."""
        return np.rint(self.progress(frames) * len(self._paths)).astype(int)

    def starts(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tokens [F, L] and backbones [F, L, 4, 3] (NaN where a state lacks the residue)."""
        made = [self._start(float(t)) for t in self.progress(frames)]
        return np.stack([tokens for tokens, _ in made]), np.stack([x for _, x in made])

    def _start(self, progress: float) -> tuple[np.ndarray, np.ndarray]:
        place = progress * len(self._paths)
        k = min(int(place), len(self._paths) - 1)
        share = place - k
        tokens = np.where(self._change[k] < share, self._tokens[k + 1], self._tokens[k])
        backbone = np.full((len(self._known), 4, 3), np.nan, np.float32)
        ca = self._paths[k].at(share)
        ends = [displace(x, ca - x[:, 1]) for x in self._states[k : k + 2]]
        backbone[self._known] = _between(*ends, share)
        return tokens, backbone


def _between(first: np.ndarray, last: np.ndarray, share: float) -> np.ndarray:
    """Residues [L, 4, 3] of equal CA, turned from one orientation towards another."""
    rotation = require("scipy.spatial.transform").Rotation
    frames = [residue_axes(x.astype(np.float64)) for x in (first, last)]
    local = [(x - x[:, 1:2]) @ frame for x, frame in zip((first, last), frames, strict=True)]
    turn = rotation.from_matrix(frames[1] @ np.swapaxes(frames[0], -1, -2))
    now = rotation.from_rotvec(share * turn.as_rotvec()).as_matrix() @ frames[0]
    mixed = (1 - share) * local[0] + share * local[1]
    return (mixed @ np.swapaxes(now, -1, -2) + first[:, 1:2]).astype(np.float32)
